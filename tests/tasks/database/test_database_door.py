"""Sessions are ended through the one door: approved, fenced, once, and after a kill too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.environment import PROJECT
from tasks.domain.database_plan import PROCEDURE, plan_database_remedy
from tasks.domain.errors import Held, NotApproved, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.mending import was_verified
from tasks.domain.plan import Plan
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.work import approvals, database_remedies, door, holding, incidents, journal
from tasks.work.database_remedies import Site
from tests.tasks.database.clients import Clients, first_cause, until
from tests.tasks.database.conftest import TARGET
from tests.tasks.passing import no_evidence, steps
from tests.tasks.proposals import BEA, propose

pytestmark = pytest.mark.components


def planned(site: Site) -> Plan:
    """The plan against the surest cause that is there now, before people."""
    with incidents.durably() as connection:
        incident = incidents.open_in(
            connection, "Database: slow", "database", PROCEDURE, "person", "anna"
        )
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return propose(plan_database_remedy(incident, first_cause(site), expires_at))


def approved(site: Site) -> Plan:
    plan = planned(site)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
    return plan


@contextmanager
def opened(site: Site, plan: Plan) -> Iterator[door.Passage]:
    with door.opened(
        plan.incident,
        TARGET,
        observe=lambda: database_remedies.planned_state(site, journal.read(plan.incident)),
        evidence_holds=no_evidence,
    ) as passage:
        yield passage


def carry_out(site: Site, plan: Plan) -> None:
    with opened(site, plan) as passage:
        for each in plan.steps:
            passage.carry_out(
                each.step,
                lambda fence, step=each.step: database_remedies.carried_out(
                    site, plan, step, fence
                ),
            )


def test_an_approved_plan_ends_the_root_and_leaves_its_facts(site: Site, clients: Clients) -> None:
    root = clients.holding()
    waiter = clients.waiting()
    plan = approved(site)
    carry_out(site, plan)
    assert not clients.lives(root)
    until(lambda: not clients.waits(waiter), "the waiter goes on")
    kinds = ["step started", "step done"]
    assert steps(plan.incident) == [(kind, step) for step in (CANCEL, TERMINATE) for kind in kinds]
    carry_out(site, plan)  # once more, by another run: nothing is signalled twice
    assert len(steps(plan.incident)) == 4
    assert not was_verified(journal.read(plan.incident))


def test_without_a_yes_nobody_is_ended(site: Site, clients: Clients) -> None:
    root = clients.holding()
    clients.waiting()
    plan = planned(site)
    with pytest.raises(NotApproved):
        carry_out(site, plan)
    assert clients.lives(root)


def test_a_hold_on_the_database_keeps_its_sessions_too(site: Site, clients: Clients) -> None:
    root = clients.holding()
    clients.waiting()
    plan = approved(site)
    holding.hold_until_sealed(plan.incident, TARGET, "records were altered", "damage")
    with pytest.raises(Held):
        carry_out(site, plan)
    assert clients.lives(root)


def test_a_blocker_that_went_on_before_the_yes_makes_the_plan_stale(
    site: Site, clients: Clients
) -> None:
    root = clients.holding()
    waiter = clients.waiting()
    plan = approved(site)
    root.rollback()
    until(lambda: not clients.waits(waiter), "the waiter goes on")
    with pytest.raises(PlanStale):
        carry_out(site, plan)
    assert steps(plan.incident) == []
    assert clients.lives(root)


@pytest.mark.slow
def test_of_many_planned_sessions_those_that_are_still_idle_are_ended(
    site: Site, clients: Clients
) -> None:
    leaked = [clients.connect("bystander", autocommit=True) for _ in range(175)]
    time.sleep(0.2)
    cause = first_cause(site)
    assert cause.code == "db.connections-exhausted"
    plan = approved(site)
    assert [each.step for each in plan.steps] == [RELIEVE]
    named = {each["pid"] for each in plan.observed["sessions"]}
    busy = next(each for each in leaked if each.info.backend_pid in named)
    busy.execute("SELECT 1")
    carry_out(site, plan)
    done = journal.read(plan.incident).steps[RELIEVE]["result"]
    assert (done["signalled"], done["left"]) == (len(named) - 1, 0)
    assert len(named) == site.limits.relief_at_most
    assert clients.lives(busy)
    alive = {each.info.backend_pid for each in leaked if clients.lives(each)}
    assert alive == {each.info.backend_pid for each in leaked} - named | {busy.info.backend_pid}


@pytest.mark.parametrize("step", [CANCEL, TERMINATE])
def test_a_run_that_dies_between_the_signal_and_its_record_is_finished_by_the_next(
    site: Site, clients: Clients, step: str
) -> None:
    root = clients.connect()
    root.execute("LOCK TABLE jobs")
    clients.running(root, "SELECT pg_sleep(60)")
    waiter = clients.waiting()
    plan = approved(site)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.tasks.database.killed_signal", plan.incident, step],
        cwd=PROJECT,
        env=os.environ | {"RUNBOOK_DATABASE_CARE__CANCEL_SECONDS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert steps(plan.incident) == [("step started", step)]
    until(lambda: not clients.waits(waiter), "the waiter goes on")
    carry_out(site, plan)
    assert [each for each in steps(plan.incident) if each[0] == "step done"] == [
        ("step done", CANCEL),
        ("step done", TERMINATE),
    ]
    facts = journal.read(plan.incident).facts
    assert FactKind.STEP_FAILED not in {fact.kind for fact in facts}
    verdicts = {
        one["verdict"]
        for fact in facts
        if fact.kind is FactKind.STEP_DONE
        for one in fact.data["result"]["sessions"]
    }
    assert "signalled" not in verdicts  # the dead run's signal is the only one
    assert clients.lives(root) == (step == CANCEL)
    assert clients.lives(waiter)
