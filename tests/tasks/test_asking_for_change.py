"""A person asks for other replicas or a shutdown: who may, what is recorded, who approves."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.approval import Standing, standing
from tasks.domain.change_wish import ChangeWish, Wanted
from tasks.domain.emergency_plan import Emergency, Part, Stopped, plan_emergency
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan
from tasks.domain.severity import Severity
from tasks.domain.workloads import Kind
from tasks.journal import plan_standing
from tasks.work import approvals, incidents, journal, locks, responder
from tasks.work.asking_for_change import Asked, ask_for_change
from tasks.work.people import Person, Role
from tests.tasks.proposals import BEA, propose

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

ROSA, CARL = Person("rosa", Role.RESPONDER), Person("carl", Role.APPROVER)


def orders(incident: str) -> int:
    with responder.connection() as connection:
        query = "SELECT count(*) FROM dispatches WHERE incident = %s AND deployment = %s"
        row = connection.execute(query, (incident, incidents.INCIDENT)).fetchone()
    return int(row[0]) if row else 0


def scale(replicas: int = 3, person: Person = ROSA, part: str = "workers") -> Asked:
    return ask_for_change(person, Wanted.SCALE, "a large import comes", part, replicas)


def wishes(incident: str) -> int:
    facts = journal.read(incident).facts
    return sum(fact.kind is FactKind.CHANGE_ASKED for fact in facts)


def test_a_wish_opens_an_incident_of_its_own_and_orders_the_run_that_plans_it() -> None:
    asked = scale()
    state = journal.read(asked.incident)
    assert (state.procedure, state.component, asked.joined) == ("scaling", "scale-workers", False)
    assert state.wish == ChangeWish(Wanted.SCALE, "rosa", "workers", 3)
    assert orders(asked.incident) == 1


def test_the_same_wish_again_changes_nothing_and_another_one_is_looked_at() -> None:
    first = scale()
    again = scale()
    assert (again.incident, again.joined) == (first.incident, True)
    assert (wishes(first.incident), orders(first.incident)) == (1, 1)
    other = scale(4, CARL)
    assert other.incident == first.incident
    assert journal.read(first.incident).wish == ChangeWish(Wanted.SCALE, "carl", "workers", 4)
    assert orders(first.incident) == 2


def test_nobody_who_has_asked_approves_it() -> None:
    asked = scale(person=ROSA)
    scale(5, CARL)
    assert set(journal.read(asked.incident).asked_by) == {"rosa", "carl"}


def test_a_start_joins_the_incident_of_the_shutdown_which_is_p0_and_waits_for_no_cool_down() -> (
    None
):
    stop = ask_for_change(ROSA, Wanted.SHUT_DOWN, "keys were stolen")
    state = journal.read(stop.incident)
    assert (state.procedure, state.severity, state.cooldown_minutes) == (
        "emergency", Severity.P0, 0.0,
    )  # fmt: skip
    start = ask_for_change(ROSA, Wanted.START, "new keys are in place")
    assert (start.incident, start.joined) == (stop.incident, True)
    found = journal.read(stop.incident).wish
    assert found is not None
    assert found.wanted is Wanted.START


def under_way(incident: str) -> Plan:
    """A plan that was approved and has begun; no run is ordered any more."""
    stop = "emergency.stop.workers"
    part = Stopped(Part.WORKERS, Kind.DEPLOYMENT, "celery-workers", "u1", 4)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    plan = plan_emergency(incident, Emergency(Wanted.SHUT_DOWN, (part,)), "a test", expires_at)
    propose(plan)
    for person in (BEA, CARL):
        approvals.decide(incident, plan.hash, "approved", person, "go on")
    journal.append(incident, FactKind.STEP_STARTED, {"step": stop, "target": part.target})
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp()")
    return plan


def test_a_change_under_way_is_not_given_another_direction() -> None:
    asked = ask_for_change(ROSA, Wanted.SHUT_DOWN, "keys were stolen")
    plan = under_way(asked.incident)
    with (
        locks.held(plan.steps[0].target, asked.incident, 60),
        pytest.raises(NotApproved, match="being carried out"),
    ):
        ask_for_change(ROSA, Wanted.START, "it was a mistake")
    with incidents.durably() as connection:
        incidents.enqueue_in(connection, asked.incident, incidents.RESUME, "resume:now")
    with pytest.raises(NotApproved, match="being carried out"):
        ask_for_change(ROSA, Wanted.START, "it was a mistake")


def planned_anew(incident: str) -> bool:
    """Whether the next run looks and plans, instead of going on with the old plan or ending it."""
    return plan_standing(incident, "emergency") is Standing.NONE


def test_after_a_step_that_failed_a_start_is_accepted_and_the_old_plan_is_not_gone_on_with() -> (
    None
):
    asked = ask_for_change(ROSA, Wanted.SHUT_DOWN, "keys were stolen")
    plan = under_way(asked.incident)
    failed = {"step": plan.steps[0].step, "target": plan.steps[0].target, "error": "pods are left"}
    journal.append(asked.incident, FactKind.STEP_FAILED, failed)
    before = orders(asked.incident)
    start = ask_for_change(ROSA, Wanted.START, "it stands half way")
    assert (start.incident, start.joined) == (asked.incident, True)
    assert orders(asked.incident) == before + 1
    assert standing(journal.read(asked.incident), datetime.now(UTC)) is Standing.DENIED
    assert planned_anew(asked.incident)


def test_after_its_plan_was_denied_half_way_a_start_is_accepted() -> None:
    asked = ask_for_change(ROSA, Wanted.SHUT_DOWN, "keys were stolen")
    plan = under_way(asked.incident)
    approvals.decide(asked.incident, plan.hash, "denied", BEA, "it goes wrong")
    start = ask_for_change(ROSA, Wanted.START, "it stands half way")
    assert start.joined
    assert planned_anew(asked.incident)


def test_another_wish_is_planned_though_nobody_has_decided_on_the_plan_for_the_first() -> None:
    asked = ask_for_change(ROSA, Wanted.SHUT_DOWN, "keys were stolen")
    part = Stopped(Part.WORKERS, Kind.DEPLOYMENT, "celery-workers", "u1", 4)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    emergency = Emergency(Wanted.SHUT_DOWN, (part,))
    propose(plan_emergency(asked.incident, emergency, "a test", expires_at))
    ask_for_change(ROSA, Wanted.START, "it was a mistake")
    assert planned_anew(asked.incident)


@pytest.mark.parametrize(
    ("part", "replicas"),
    [("", 3), ("database", 3), ("workers; rm -rf /", 3), ("api", 0), ("api", -1), ("api", 10**6)],
)
def test_what_is_no_wish_is_refused(part: str, replicas: int) -> None:
    before = len(journal.facts_after(-1))
    with pytest.raises(BadInput):
        ask_for_change(ROSA, Wanted.SCALE, "why", part, replicas)
    with pytest.raises(BadInput):
        ask_for_change(ROSA, Wanted.SHUT_DOWN, "why", "api", 1)
    with pytest.raises(NotPermitted):
        scale(person=Person("vera", Role.VIEWER))
    assert len(journal.facts_after(-1)) == before
