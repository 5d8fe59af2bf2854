"""The privacy engine's procedure on the whole stack: refuse first, then what people approve."""

from typing import Any

import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.privacy_api import LOCKED
from deployments.lab.privacy_engine_state import Engine
from deployments.lab.privacy_faults import noise_broken, privacy_overspend, release
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.domain.severity import Severity
from tasks.work import approvals, holding, journal
from tasks.work.people import Person, Role
from tests.flows.responding import Responding, alert_of

pytestmark = [pytest.mark.flows, pytest.mark.slow]

_ALERT = {"alertname": "PrivacyBudgetExceeded", "severity": "critical", "category": "privacy"}
_NOISE = {"alertname": "DifferentialPrivacyNoiseLow", "severity": "high", "category": "privacy"}
_SPENT = "SELECT coalesce(sum(epsilon_used), 0), count(*) FROM privacy_budgets"
_NOBODY = "anon-nobody-was-released-of"
_OFFICERS = [Person("dora the dpo", Role.PRIVACY_OFFICER), Person("otto", Role.PRIVACY_OFFICER)]


def causes(responding: Responding, incident: str, count: int = 1) -> list[dict[str, Any]]:
    return list(responding.until_fact(incident, FactKind.CAUSES_FOUND, count).data["causes"])


def approve(responding: Responding, incident: str, plan: str) -> None:
    for person in _OFFICERS:
        approvals.decide(incident, plan, "approved", person, "two of us have looked")
    responding.run_again(incident)


def spent(responding: Responding) -> tuple[float, int]:
    with responding.lab.patient.connect(DATABASE) as connection:
        row = connection.execute(_SPENT).fetchone()
    assert row is not None
    return float(row[0]), int(row[1])


def test_an_overspend_is_refused_at_once_retired_by_two_and_charged_by_the_log(
    responding: Responding,
) -> None:
    damage = privacy_overspend(responding.lab)
    assert damage.cause == "privacy.overspend"
    incident = responding.notify(alert_of(_ALERT))
    assert causes(responding, incident)[0]["code"] == damage.cause
    first = responding.plan(incident)
    # Before anybody was asked: releases are refused, by the engine and by a hold.
    assert release(responding.lab, _NOBODY, 0.1) == LOCKED
    state = journal.read(incident)
    assert state.severity is Severity.P0
    assert holding.RELEASES in {hold.scope for hold in state.held()}
    assert state.plan is not None
    assert (state.plan.approvers_needed, state.plan.steps[0].step) == (
        2,
        "privacy.resolution.reset",
    )
    assert "stays spent" in state.plan.summary
    assert Engine(responding.lab.engine_file).now().epoch == 1
    assert spent(responding)[0] < 1
    approve(responding, incident, first)
    second = responding.plan(incident, 2)
    engine = Engine(responding.lab.engine_file).now()
    assert (engine.epoch, len(engine.retired), engine.halted) == (2, 1, True)
    assert second != first
    approve(responding, incident, second)
    responding.until_fact(incident, FactKind.REPORTED)
    state = journal.read(incident)
    assert (state.stage, state.outcome) == (Stage.CLOSED, "resolved")
    done = [fact.data["step"] for fact in responding.facts(incident, FactKind.STEP_DONE)]
    assert done == ["privacy.resolution.reset", "privacy.resolution.charge"]
    assert spent(responding)[0] > 20
    assert release(responding.lab, _NOBODY, 0.1) == LOCKED  # until a person lifts the hold


def test_broken_noise_is_probed_twice_refused_at_once_and_left_to_people(
    responding: Responding,
) -> None:
    noise_broken(responding.lab)
    before = spent(responding)
    incident = responding.notify(alert_of(_NOISE))
    (cause,) = causes(responding, incident)
    assert cause["code"] == "privacy.noise-broken"
    assert {cause["evidence"][stage]["samples"] for stage in ("first", "second")} == {2000, 5000}
    responding.until_note(incident, "releases stay refused")
    responding.until_idle(incident)
    assert release(responding.lab, _NOBODY, 0.1) == LOCKED
    state = journal.read(incident)
    assert (state.stage, state.plan, state.severity) == (Stage.OPEN, None, Severity.P0)
    assert spent(responding)[1] >= before[1]


def test_without_a_fault_nothing_is_refused_and_nothing_changed(responding: Responding) -> None:
    before = responding.production()
    incident = responding.notify(alert_of(_ALERT))
    assert causes(responding, incident) == []
    responding.until_note(incident, "no violation was detected, which proves nothing")
    responding.until_idle(incident)
    assert release(responding.lab, _NOBODY, 0.1) == 200
    assert responding.facts(incident, FactKind.HOLD_SET, FactKind.PLAN_PROPOSED) == []
    assert responding.production().databases == before.databases
