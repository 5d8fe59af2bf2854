"""PagerDuty as it documents itself: 202, 400, 429, and what the same key means."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from deployments.lab.pagerduty import Account, create_app
from tasks.clients import pagerduty
from tasks.clients.errors import Denied, Malformed, Throttled
from tasks.domain.severity import Severity
from tasks.sections.communication import PagerDutySettings
from tests.gateway.stack import served

KEY = "R0000000000000000000000000000001"


@pytest.fixture
def account() -> Account:
    return Account(KEY, "token", per_minute=6)


@pytest.fixture
def ours(account: Account) -> Iterator[PagerDutySettings]:
    with served(create_app(account)) as url:
        yield PagerDutySettings(
            events_url=url, api_url=url, routing_key=SecretStr(KEY), api_token=SecretStr("token")
        )


def trigger(ours: PagerDutySettings, summary: str = "the API is down") -> str:
    return pagerduty.trigger(ours, "INC-1", summary, Severity.P0, "api")


def test_a_page_is_triggered_acknowledged_and_resolved_under_its_key(
    account: Account, ours: PagerDutySettings
) -> None:
    assert trigger(ours) == pagerduty.acknowledge(ours, "INC-1") == "INC-1"
    pagerduty.resolve(ours, "INC-1")
    states = [one["state"] for one in account.alerts["INC-1"]]
    assert states == ["triggered", "acknowledged", "resolved"]
    assert account.alerts["INC-1"][0]["payload"]["severity"] == "critical"


def test_the_same_page_twice_is_one_alert(account: Account, ours: PagerDutySettings) -> None:
    trigger(ours)
    trigger(ours)
    assert [*account.alerts] == ["INC-1"]


def test_a_summary_of_megabytes_is_cut_and_taken(ours: PagerDutySettings) -> None:
    assert trigger(ours, "<" * 2_000_000) == "INC-1"


def test_an_event_that_is_malformed_is_refused_with_what_is_wrong(ours: PagerDutySettings) -> None:
    with pytest.raises(Malformed, match="summary"):
        trigger(ours, "")


def test_a_wrong_routing_key_is_named_by_its_setting_and_never_shown(
    ours: PagerDutySettings,
) -> None:
    wrong = ours.model_copy(update={"routing_key": SecretStr("not-the-key")})
    with pytest.raises(Denied, match="RUNBOOK_PAGERDUTY__ROUTING_KEY") as refused:
        trigger(wrong)
    assert "not-the-key" not in str(refused.value)


def test_too_many_events_are_throttled_and_may_be_sent_again(ours: PagerDutySettings) -> None:
    for _ in range(6):
        trigger(ours)
    with pytest.raises(Throttled):
        trigger(ours)
