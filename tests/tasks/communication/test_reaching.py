"""Who is on call now: schedule, rotation, office hours, settings, in that order."""

from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.pagerduty import Account
from tasks.domain.contacts import Contact
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work.reaching import Reached, whom
from tests.clients.loopback import answering, http
from tests.tasks.communication.conftest import setting

HANDOVER = datetime(2026, 3, 30, 7, 0, tzinfo=UTC)  # 9:00 in Vienna, the day after summer began
SECOND = timedelta(seconds=1)
ROTATION = {
    "on_call": {
        "members": ["U0ADA", "U0BOB"],
        "starts": "2026-03-23",
        "zone": "Europe/Vienna",
        "overrides": [
            {
                "who": "U0EVE",
                "begins": "2026-03-31T20:00:00+02:00",
                "ends": "2026-03-31T22:00:00+02:00",
            }
        ],
    }
}
OFFICE = {"zone": "Europe/Vienna", "holidays": ["2026-04-06"]}


def reached(role: str, at: datetime) -> tuple[str, str]:
    found = whom(role, at)
    return found.who, found.by


def test_a_shift_ends_at_its_local_hour_and_an_override_stands_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting(monkeypatch, "ROSTER__ROTATIONS", ROTATION)
    assert reached("on_call", HANDOVER - SECOND) == ("U0ADA", "rotation")
    assert reached("on_call", HANDOVER) == ("U0BOB", "rotation")
    evening = datetime(2026, 3, 31, 18, 0, tzinfo=UTC)
    assert reached("on_call", evening - SECOND)[0] == "U0BOB"
    assert reached("on_call", evening)[0] == "U0EVE"
    assert reached("on_call", evening + timedelta(hours=2))[0] == "U0BOB"


def test_before_the_first_shift_the_settings_say_who_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting(monkeypatch, "ROSTER__ROTATIONS", ROTATION)
    assert reached("on_call", datetime(2026, 3, 1, tzinfo=UTC)) == ("on-call", "settings")


@pytest.mark.parametrize(
    ("at", "who"),
    [
        (datetime(2026, 4, 2, 7, 0, tzinfo=UTC), "engineering-lead"),  # Thursday, 9:00
        (datetime(2026, 4, 2, 6, 59, 59, tzinfo=UTC), "U0DUTY"),
        (datetime(2026, 4, 2, 15, 0, tzinfo=UTC), "U0DUTY"),  # 17:00
        (datetime(2026, 4, 4, 10, 0, tzinfo=UTC), "U0DUTY"),  # Saturday
        (datetime(2026, 4, 6, 10, 0, tzinfo=UTC), "U0DUTY"),  # Easter Monday
    ],
)
def test_off_hours_somebody_else_fills_the_role(
    at: datetime, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "ROSTER__OFF_HOURS", {"engineering_lead": "U0DUTY"})
    for name, value in OFFICE.items():
        setting(monkeypatch, f"ROSTER__HOURS__{name.upper()}", value)
    assert reached("engineering_lead", at)[0] == who
    assert reached("incident_commander", at) == ("incident-commander", "settings")


def test_every_role_has_a_contact_and_a_name_that_is_none_is_told_as_it_is() -> None:
    now = datetime.now(UTC)
    assert all(whom(role, now).by == "settings" for role in Contact)
    assert whom("responders", now) == Reached("responders", "named by the journal")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROTATIONS", {"on_call": {"members": [], "starts": "2026-03-23"}}),
        ("ROTATIONS", {"on_call": {"members": ["x"], "starts": "2026-03-23", "zone": "Mars"}}),
        ("ROTATIONS", {"janitor": {"members": ["x"], "starts": "2026-03-23"}}),
        ("OFF_HOURS", {"janitor": "x"}),
        ("HOURS__OPENS", "18:00"),
    ],
)
def test_a_roster_that_cannot_be_is_refused_at_start(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, f"ROSTER__{name}", value)
    with pytest.raises(BadInput, match="RUNBOOK_ROSTER"):
        settings()


def test_pagerdutys_schedule_stands_above_the_rotation_and_names_whom_chat_knows(
    pagerduty: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "ROSTER__ROTATIONS", ROTATION)
    setting(monkeypatch, "PAGERDUTY__SCHEDULES", {"on_call": "PSCHED1"})
    pagerduty.on_calls["PSCHED1"] = [{"id": "PUSER01", "name": "Ada"}, {"id": "PB", "name": "B"}]
    assert reached("on_call", HANDOVER) == ("Ada", "PagerDuty's schedule")
    setting(monkeypatch, "PAGERDUTY__MEMBERS", {"PUSER01": "U0ADA00"})
    assert reached("on_call", HANDOVER)[0] == "U0ADA00"


@pytest.mark.parametrize("fault", ["nobody", "token", "nonsense", "down"])
def test_a_schedule_that_names_nobody_leaves_it_to_the_rotation_and_says_so(
    fault: str, pagerduty: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "ROSTER__ROTATIONS", ROTATION)
    setting(monkeypatch, "PAGERDUTY__SCHEDULES", {"on_call": "PSCHED1"})
    if fault == "token":
        setting(monkeypatch, "PAGERDUTY__API_TOKEN", "another")
    body = b'{"oncalls": [{"user": null}]}'
    with answering(lambda connection: connection.sendall(http(200, body))) as port:
        if fault == "nonsense":
            setting(monkeypatch, "PAGERDUTY__API_URL", f"http://127.0.0.1:{port}")
        if fault == "down":
            setting(monkeypatch, "PAGERDUTY__API_URL", "http://127.0.0.1:1")
        found = whom("on_call", HANDOVER)
    assert (found.who, found.by) == ("U0BOB", "rotation")
    assert found.doubt
    assert pagerduty.api_token not in found.doubt
