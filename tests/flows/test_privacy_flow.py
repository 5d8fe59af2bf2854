"""Alerts about privacy: at once, to the data protection officer, whatever else is broken."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.severity import Severity
from tasks.work import journal
from tests.flows.responding import Responding, alert_of

pytestmark = pytest.mark.flows

_BUDGET_EXCEEDED = {
    "alertname": "PrivacyBudgetExceeded",
    "severity": "critical",
    "category": "privacy",
    "job": "rlhf-audit-trail-app",
}


@pytest.fixture
def without_chat(responding: Responding) -> Iterator[Responding]:
    """Chat is down, and answers nobody."""
    responding.lab.chat.stop()
    yield responding
    responding.lab.chat.start()


def test_a_privacy_alert_is_p0_and_tells_the_dpo_within_the_hour(responding: Responding) -> None:
    name = responding.notify(alert_of(_BUDGET_EXCEEDED))
    responding.until_note(name, "manual")
    responding.until_idle(name)
    state = journal.read(name)
    assert (state.severity, state.stage, state.plan) == (Severity.P0, Stage.OPEN, None)
    (alert,) = state.alerts
    due = datetime.fromisoformat(state.clocks[DPO_CLOCK]["due"])
    received = datetime.fromisoformat(alert["received_at"])
    assert abs(due - received - timedelta(hours=1)) < timedelta(seconds=5)
    assert DPO_CLOCK not in state.clocks_stopped
    told = [text for text in responding.said_in_chat() if text.startswith("@dpo ")]
    assert [text for text in told if name in text] == [told[-1]]


@pytest.mark.slow  # three tries take half a minute
def test_without_chat_the_response_completes_and_says_who_was_not_told(
    without_chat: Responding,
) -> None:
    name = without_chat.notify(alert_of(_BUDGET_EXCEEDED))
    without_chat.until_note(name, "manual")
    without_chat.until_idle(name)
    failed = without_chat.facts(name, FactKind.NOTIFY_FAILED)
    assert {fact.data["audience"] for fact in failed} == {"responders", "on-call", "dpo"}
    assert not without_chat.facts(name, FactKind.NOTIFIED)
    assert [run["state"]["type"] for run in without_chat.runs(name)] == ["COMPLETED"]
