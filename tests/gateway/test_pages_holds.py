"""Holds on the pages: what binds a plan from anywhere is seen, and leads to where it is lifted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.holds import PERSONS_LIFT
from tasks.domain.roles import Role
from tasks.work import holding
from tasks.work.people import Person
from tests.gateway import page_stories as stories
from tests.gateway.browsers import Browser, Forms

pytestmark = pytest.mark.components

LogIn = Callable[[str, str], Browser]
CARL = Person("carl", Role.APPROVER)
TARGET = "database/rlhf_audit"


def held_elsewhere(scope: str, reason: str = "look <first>") -> str:
    return holding.hold_everything(CARL, reason, datetime.now(UTC) + timedelta(hours=4), scope)


def plan_of(text: str) -> str:
    """The plan's part of the page."""
    begin = text.index('id="plan"')
    return text[begin : text.index("</section>", begin)]


@pytest.mark.parametrize("scope", ["*", TARGET])
def test_hold_of_another_incident_is_seen_above_the_decision_with_the_way_to_lift_it(
    log_in: LogIn, scope: str
) -> None:
    incident = stories.opened()
    stories.planned(incident)
    elsewhere = held_elsewhere(scope)
    plan = plan_of(log_in("bea", "approver").get(f"/i/{incident}").text)
    assert "look &lt;first&gt;" in plan
    assert f"<code><bdi>{TARGET}</bdi></code>" in plan
    assert plan.index(f'href="/i/{elsewhere}#holds"') < plan.index(f'/i/{incident}/approve"')
    assert "no step of it begins" in plan


def test_holds_that_do_not_bind_the_plan_are_not_held_against_it(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident)
    other = stories.opened(component="cache")
    data = {"scope": "bucket/evidence", "reason": "elsewhere", "needs": PERSONS_LIFT}
    stories.tell(other, FactKind.HOLD_SET, data, actor="carl")
    held_elsewhere(TARGET)
    bea = log_in("bea", "approver")
    page = f"/i/{incident}"
    assert "elsewhere" not in plan_of(bea.get(page).text)
    assert "look &lt;first&gt;" in plan_of(bea.get(page).text)
    for scope in (TARGET, "database/rlhf_audit_restored"):
        bea.send(page, f"{page}/glass", scope=scope, reason="it cannot wait")
    assert "Holds that bind" not in plan_of(bea.get(page).text)


def test_sealed_evidence_is_said_to_let_the_plan_pass(log_in: LogIn) -> None:
    incident = stories.tampered()
    stories.planned(incident)
    plan = plan_of(log_in("bea", "approver").get(f"/i/{incident}").text)
    assert "its evidence is sealed" in plan
    assert "while the sealed evidence is in its place" in plan


def test_a_closed_incidents_plan_is_bound_by_nothing_any_more(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident)
    held_elsewhere("*")
    stories.tell(incident, FactKind.CLOSED, {"outcome": "manual"})
    assert "Holds that bind" not in log_in("bea", "approver").get(f"/i/{incident}").text


def test_list_leads_from_every_hold_to_where_it_is_lifted(log_in: LogIn) -> None:
    elsewhere = held_elsewhere("*")
    incident = stories.opened()
    data = {"scope": TARGET, "reason": "only a part", "needs": PERSONS_LIFT}
    stories.tell(incident, FactKind.HOLD_SET, data, actor="carl")
    text = log_in("bea", "approver").get("/").text
    held = text[text.index('id="held"') : text.index('id="waiting"')]
    assert "Everything is held" in held
    assert "only a part" in held
    assert held.index(f'href="/i/{elsewhere}#holds"') < held.index(f'href="/i/{incident}#holds"')
    assert "Lift it" in log_in("dora", "approver").get(f"/i/{elsewhere}").text


def test_list_with_a_narrow_hold_does_not_say_that_everything_is_held(log_in: LogIn) -> None:
    held_elsewhere(TARGET)
    text = log_in("bea", "viewer").get("/").text
    assert "look &lt;first&gt;" in text
    assert "Everything is held" not in text


def test_scopes_to_choose_from_are_what_the_runbook_can_change_and_everything(
    log_in: LogIn,
) -> None:
    incident = stories.opened()
    stories.planned(incident)
    text = log_in("bea", "approver").get(f"/i/{incident}").text
    for form in ("hold-scope", "glass-scope"):
        known = text[text.index(f'<datalist id="{form}-known">') :]
        known = known[: known.index("</datalist>")]
        assert '<option value="*">everything</option>' in known
        assert '<option value="database/rlhf_audit_restored">' in known
        assert f'list="{form}-known"' in text


def test_clock_is_stopped_by_the_form_beside_it_and_by_whom_it_concerns(log_in: LogIn) -> None:
    incident = stories.tampered()
    page = f"/i/{incident}"
    assert f"{page}/stop-clock" not in Forms.on(log_in("bea", "approver").get(page).text)
    dana = log_in("dana", "privacy-officer")
    answer = dana.send(page, f"{page}/stop-clock", reason="the authority has been told")
    assert answer.status_code == 303, answer.text
    assert stories.state_of(incident).clocks_stopped == {"dpo.one-hour"}
    after = dana.get(answer.headers["Location"]).text
    assert "The clock is stopped under your name." in after
    assert f"{page}/stop-clock" not in Forms.on(after)


@pytest.mark.parametrize(
    ("procedure", "said"),
    [("api_service", "is a note in it.</p>"), ("triage", "It follows another procedure")],
)
def test_who_declares_what_is_open_already_is_told_that_they_joined_it(
    log_in: LogIn, procedure: str, said: str
) -> None:
    known = stories.opened()
    rosa = log_in("rosa", "responder")
    fields = {"title": "odd", "component": "api", "procedure": procedure, "severity": "P1"}
    answer = rosa.send("/declare", "/declare", **fields, reason="seen on the dashboard")
    assert answer.headers["Location"].startswith(f"/i/{known}?said=joined")
    text = rosa.get(answer.headers["Location"]).text
    assert "was open already" in text
    assert said in text
