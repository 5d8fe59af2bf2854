"""The privacy engine is halted without asking, and changed only through the one door."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.privacy_api import LOCKED
from deployments.lab.privacy_engine_state import Engine
from deployments.lab.privacy_faults import RELEASES, noise_broken, privacy_overspend, release
from deployments.lab.stack import Lab
from tasks.domain.causes import Cause
from tasks.domain.errors import Held, NotApproved, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.mending import serious
from tasks.domain.plan import Plan
from tasks.domain.privacy_diagnosis import diagnose
from tasks.domain.privacy_plan import CHARGE, PROCEDURE, RESET, plan_privacy_remedy
from tasks.settings import settings
from tasks.work import (
    approvals,
    door,
    holding,
    incidents,
    journal,
    privacy_engine,
    privacy_looks,
)
from tasks.work.people import Person, Role
from tasks.work.privacy_looks import Site
from tests.tasks.passing import no_evidence
from tests.tasks.proposals import propose

pytestmark = pytest.mark.components

DORA = Person("dora", Role.PRIVACY_OFFICER)
OTTO = Person("otto", Role.PRIVACY_OFFICER)
BEA = Person("bea", Role.APPROVER)
NOBODY = "anon-nobody-was-released-of"
SPENT = "SELECT session_id, annotator, epsilon_used FROM privacy_budgets"


@pytest.fixture
def site(patient: Lab) -> Site:
    assert patient.api.child is not None
    return privacy_looks.site_of(settings())


def found(site: Site) -> dict[str, Cause]:
    """What is serious: a metric is scraped now and then, and may be behind for a moment."""
    causes = serious(diagnose(privacy_looks.looked_at(site), site.limits))
    return {each.code: each for each in causes}


def opened_incident() -> str:
    with incidents.durably() as connection:
        return incidents.open_in(
            connection, "Privacy: budget", "privacy-engine", PROCEDURE, "person", "anna"
        )


def planned(incident: str, cause: Cause) -> Plan:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return propose(plan_privacy_remedy(incident, cause, expires_at))


def approved(incident: str, cause: Cause) -> Plan:
    plan = planned(incident, cause)
    for person in (DORA, OTTO)[: plan.approvers_needed]:
        approvals.decide(incident, plan.hash, "approved", person, "go on")
    return plan


@contextmanager
def through(site: Site, plan: Plan) -> Iterator[door.Passage]:
    with door.opened(
        plan.incident,
        plan.steps[0].target,
        observe=lambda: privacy_engine.planned_state(site, journal.read(plan.incident)),
        evidence_holds=no_evidence,
    ) as passage:
        yield passage


def carry_out(site: Site, plan: Plan) -> None:
    how = {RESET: privacy_engine.open_epoch, CHARGE: privacy_engine.charge}[plan.steps[0].step]
    with through(site, plan) as passage:
        passage.carry_out(plan.steps[0].step, lambda fence: how(site, plan, fence))


def charges(lab: Lab) -> dict[tuple[str, str], float]:
    with lab.patient.connect(DATABASE) as connection:
        rows = connection.execute(SPENT).fetchall()
    return {(session, annotator): float(epsilon) for session, annotator, epsilon in rows}


def test_an_overspent_block_is_retired_and_what_was_released_is_charged(
    patient: Lab, site: Site
) -> None:
    assert found(site) == {}
    before = charges(patient)
    privacy_overspend(patient)
    causes = found(site)
    assert list(causes) == [
        "privacy.overspend",
        "privacy.spend-rolled-back",
        "privacy.budget-misstated",
    ]
    incident = opened_incident()
    assert privacy_engine.halt(site, incident, causes["privacy.overspend"])
    carry_out(site, approved(incident, causes["privacy.overspend"]))
    causes = found(site)
    assert "privacy.overspend" not in causes
    plan = approved(incident, causes["privacy.spend-rolled-back"])
    carry_out(site, plan)
    assert found(site) == {}
    after = charges(patient)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + RELEASES
    carry_out(site, plan)  # by another run: nothing is charged twice
    assert charges(patient) == after


@pytest.mark.slow
def test_no_epoch_is_opened_while_releases_go_on(patient: Lab, site: Site) -> None:
    """A person may have lifted the halt before the plan was approved."""
    privacy_overspend(patient)
    plan = approved(opened_incident(), found(site)["privacy.overspend"])
    assert not privacy_engine.is_halted(site)
    carry_out(site, plan)
    assert privacy_engine.is_halted(site)


@pytest.mark.slow
def test_a_step_that_died_before_it_was_recorded_is_finished_by_the_next_run(
    patient: Lab, site: Site
) -> None:
    privacy_overspend(patient)
    incident = opened_incident()
    causes = found(site)
    for code, act in (
        ("privacy.overspend", privacy_engine.open_epoch),
        ("privacy.spend-rolled-back", privacy_engine.charge),
    ):
        plan = approved(incident, causes[code])

        def dying(fence: Any, act: Any = act, plan: Plan = plan) -> Any:
            act(site, plan, fence)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), through(site, plan) as passage:
            passage.carry_out(plan.steps[0].step, dying)
        assert journal.read(incident).done(plan.steps[0].step) is None
        after = charges(patient)
        carry_out(site, plan)
        assert journal.read(incident).done(plan.steps[0].step) is not None
        assert charges(patient) == after
    assert Engine(patient.engine_file).now().epoch == 2


@pytest.mark.slow
def test_one_yes_opens_no_epoch_and_an_engineers_counts_for_nothing(
    patient: Lab, site: Site
) -> None:
    privacy_overspend(patient)
    incident = opened_incident()
    plan = planned(incident, found(site)["privacy.overspend"])
    with pytest.raises(NotApproved, match="privacy-officer"):
        approvals.decide(incident, plan.hash, "approved", BEA, "go on")
    approvals.decide(incident, plan.hash, "approved", DORA, "go on")
    approvals.decide(incident, plan.hash, "approved", DORA, "once more")
    with pytest.raises(NotApproved):
        carry_out(site, plan)
    assert Engine(patient.engine_file).now().epoch == 1


@pytest.mark.slow
def test_an_epoch_that_somebody_else_has_opened_makes_the_plan_stale(
    patient: Lab, site: Site
) -> None:
    privacy_overspend(patient)
    incident = opened_incident()
    plan = approved(incident, found(site)["privacy.overspend"])
    Engine(patient.engine_file).open_epoch(2, [])
    with pytest.raises(PlanStale):
        carry_out(site, plan)
    assert Engine(patient.engine_file).now().retired == ()


@pytest.mark.slow
def test_a_hold_keeps_the_ledger_as_it_is_and_does_not_keep_releases_from_being_halted(
    patient: Lab, site: Site
) -> None:
    privacy_overspend(patient)
    before = charges(patient)
    causes = found(site)
    incident = opened_incident()
    holding.hold(incident, BEA, "*", "nobody touches anything", _soon())
    assert privacy_engine.halt(site, incident, causes["privacy.overspend"])
    assert release(patient, NOBODY, 0.1) == LOCKED
    plan = approved(incident, causes["privacy.spend-rolled-back"])
    with pytest.raises(Held):
        carry_out(site, plan)
    assert charges(patient) == before


def test_halted_twice_it_is_one_hold_and_lifted_by_a_person_it_is_not_set_again(
    patient: Lab, site: Site
) -> None:
    noise_broken(patient)
    (cause,) = found(site).values()
    assert cause.code == "privacy.noise-broken"
    incident = opened_incident()
    assert privacy_engine.halt(site, incident, cause)
    assert privacy_engine.halt(site, incident, cause)
    facts = journal.read(incident).facts
    kinds = [fact.kind for fact in facts]
    assert kinds.count(FactKind.HOLD_SET) == kinds.count(FactKind.CLOCK_STARTED) == 1
    assert [fact.data["holds"] for fact in facts if fact.kind is FactKind.VERIFIED] == [True]
    holding.lift(incident, DORA, holding.RELEASES, "the code is mended")
    Engine(patient.engine_file).resume()
    assert privacy_engine.halt(site, incident, cause)
    assert release(patient, NOBODY, 0.1) == 200


def test_an_engine_that_cannot_be_told_is_said_to_be_so(patient: Lab, site: Site) -> None:
    noise_broken(patient)
    (cause,) = found(site).values()
    incident = opened_incident()
    deaf = site.privacy.model_copy(update={"control_token": settings().api.token})
    assert not privacy_engine.halt(replace(site, privacy=deaf), incident, cause)
    (proof,) = [f for f in journal.read(incident).facts if f.kind is FactKind.VERIFIED]
    assert proof.data["holds"] is False
    assert "could not be told" in proof.data["summary"]
    assert privacy_engine.halt(site, incident, cause)  # the next run tries again
    assert release(patient, NOBODY, 0.1) == LOCKED


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
