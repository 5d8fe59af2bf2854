"""A person asks for a rollback: who may, what is recorded, which run follows, who may say yes."""

from datetime import UTC, datetime

import pytest

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import Fact, FactKind
from tasks.domain.rollback_wish import RollbackWish
from tasks.journal import plan_standing
from tasks.work import approvals, incidents, journal, locks, responder
from tasks.work.asking_for_rollback import Asked, ask_for_rollback
from tasks.work.people import Person, Role
from tests.tasks.proposals import BEA, propose
from tests.tasks.rollback.releases import TARGET, plan_of

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

ROSA = Person("rosa", Role.RESPONDER)


def ask(holder: str = "", person: Person = ROSA, workload: str = TARGET) -> Asked:
    return ask_for_rollback(person, workload, holder, "it answers 500")


def wishes(incident: str) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is FactKind.ROLLBACK_ASKED]


def orders(incident: str) -> int:
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FROM dispatches WHERE incident = %s AND deployment = %s",
            (incident, incidents.INCIDENT),
        ).fetchone()
    return int(row[0]) if row else 0


def finish_orders() -> None:
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp()")


def test_it_opens_an_incident_of_the_procedure_with_the_wish_under_the_persons_name() -> None:
    asked = ask()
    state = journal.read(asked.incident)
    assert asked == Asked(asked.incident, TARGET)
    assert (state.procedure, state.component) == ("rollback", "deployment-rlhf-audit-trail")
    assert state.rollback == RollbackWish(TARGET, "", "rosa")
    assert state.opened_by == "rosa"
    assert orders(asked.incident) == 1


def test_a_repeated_wish_changes_nothing_and_each_workload_has_its_own_incident() -> None:
    asked = ask()
    assert ask() == Asked(asked.incident, TARGET, joined=True)
    assert (len(wishes(asked.incident)), orders(asked.incident)) == (1, 1)
    assert ask(workload="statefulset/redis").incident != asked.incident


def test_another_revision_ends_the_plan_that_waits_and_whoever_named_it_may_not_approve() -> None:
    asked = ask()
    finish_orders()
    propose(plan_of(asked.incident))
    ask("rlhf-audit-trail-6bd6889ffd", BEA)
    state = journal.read(asked.incident)
    assert state.rollback == RollbackWish(TARGET, "rlhf-audit-trail-6bd6889ffd", "bea")
    assert standing(state, datetime.now(UTC)) is Standing.EXPIRED
    assert orders(asked.incident) == 2
    newer = propose(plan_of(asked.incident))
    with pytest.raises(NotApproved, match="somebody else must approve"):
        approvals.decide(asked.incident, newer.hash, "approved", BEA, "go on")


def test_a_wish_again_after_a_no_orders_a_new_plan_and_not_the_end_of_the_old_one() -> None:
    asked = ask()
    finish_orders()
    plan = propose(plan_of(asked.incident))
    assert ask().joined
    assert orders(asked.incident) == 1
    approvals.decide(asked.incident, plan.hash, "denied", BEA, "not now")
    finish_orders()
    before = orders(asked.incident)
    ask()
    assert orders(asked.incident) == before + 1
    notes = [f for f in journal.read(asked.incident).facts if f.kind is FactKind.NOTE]
    assert notes[-1].data["ended_plan"] == plan.hash


def test_nobody_changes_the_aim_of_a_rollback_that_has_begun() -> None:
    asked = ask()
    finish_orders()
    plan = propose(plan_of(asked.incident))
    approvals.decide(asked.incident, plan.hash, "approved", BEA, "go on")
    started = {"step": "recovery.rollback.undo", "target": TARGET}
    journal.append(asked.incident, FactKind.STEP_STARTED, started)
    with (
        locks.held(TARGET, asked.incident, 60),
        pytest.raises(NotApproved, match="being carried out"),
    ):
        ask("another")
    assert len(wishes(asked.incident)) == 1


def test_after_a_rollback_that_failed_half_way_another_revision_may_be_asked_for() -> None:
    asked = ask()
    finish_orders()
    plan = propose(plan_of(asked.incident))
    approvals.decide(asked.incident, plan.hash, "approved", BEA, "go on")
    started = {"step": "recovery.rollback.undo", "target": TARGET}
    journal.append(asked.incident, FactKind.STEP_STARTED, started)
    journal.append(asked.incident, FactKind.STEP_FAILED, started | {"error": "its pods are gone"})
    assert ask("another").joined
    assert len(wishes(asked.incident)) == 2
    assert plan_standing(asked.incident, "rollback") is Standing.NONE


@pytest.mark.parametrize(
    ("workload", "holder"),
    [
        ("deployment/../x", ""),
        ("daemonset/x", ""),
        ("deployment/-x", ""),
        ("deployment/", ""),
        ("deployment/a b", ""),
        (TARGET, "-x"),
        (TARGET, "x; rm"),
        (TARGET, "\x1b[31m"),
    ],
)
def test_hostile_names_open_nothing(workload: str, holder: str) -> None:
    with pytest.raises(BadInput):
        ask(holder, workload=workload)
    assert journal.open_incidents() == []


def test_a_viewer_may_not_ask() -> None:
    with pytest.raises(NotPermitted):
        ask(person=Person("vera", Role.VIEWER))
    assert journal.open_incidents() == []
