"""Which state a recovery is for, when a standing plan no longer is for it, and who may say yes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.recovery_plan import (
    PROCEDURE,
    RESTORE,
    SWAP,
    has_other_target,
    is_damage,
    wanted_target,
)
from tasks.domain.recovery_target import Target, TargetKind

NOW = datetime(2026, 3, 14, 3, tzinfo=UTC)
ID = "INC-20260314-030012-a1b2"
LATEST, BEFORE = Target(), Target(TargetKind.BEFORE_DAMAGE)
AT_TWO = Target.parse("2026-03-14 02:00Z")
ALTERED = {"verdict": "tampered", "altered": [[7, 7]]}

PLAN = Plan(
    incident=ID,
    procedure=PROCEDURE,
    summary="restore it",
    steps=tuple(
        PlanStep(step, "do it", "database/rlhf_audit", "nothing") for step in (RESTORE, SWAP)
    ),
    observed={"target": str(LATEST)},
    will_be_lost="nothing",
    expires_at=NOW + timedelta(hours=1),
)

Told = tuple[FactKind, Mapping[str, Any], str]


def told(kind: FactKind, by: str = "runbook", **data: object) -> Told:
    return kind, data, by


def proposed(plan: Plan = PLAN) -> Told:
    return told(FactKind.PLAN_PROPOSED, plan=plan.as_json(), hash=plan.hash)


def wants(target: Target, by: str = "rosa") -> Told:
    return told(FactKind.TARGET_CHOSEN, by, target=target.as_json())


def begun(step: str) -> Told:
    return told(FactKind.STEP_STARTED, step=step, target="x")


def done(step: str) -> Told:
    return told(FactKind.STEP_DONE, step=step, target="x", result={})


def incident(*facts: Told) -> Incident:
    return fold(
        ID,
        [
            Fact(n, ID, NOW + timedelta(seconds=n), kind, by, d)
            for n, (kind, d, by) in enumerate(facts)
        ],
    )


@pytest.mark.parametrize(
    ("diagnosis", "damage"),
    [
        (ALTERED, True),
        ({"verdict": "tampered", "missing": [[3, 9]]}, True),
        ({"verdict": "tampered"}, False),  # of the log's own objects: the table is as signed
        ({"verdict": "tampered", "altered": [], "missing": []}, False),
        ({"verdict": "verified", "altered": [[7, 7]]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_records_that_are_proven_altered_or_missing_are_damage(
    diagnosis: Mapping[str, Any] | None, *, damage: bool
) -> None:
    assert is_damage(diagnosis) is damage


def test_what_a_person_chose_stands_above_what_was_diagnosed() -> None:
    diagnosed = told(FactKind.DIAGNOSED, **ALTERED)
    assert wanted_target(incident()) == LATEST
    assert wanted_target(incident(diagnosed)) == BEFORE
    assert wanted_target(incident(diagnosed, wants(AT_TWO))) == AT_TWO
    assert wanted_target(incident(wants(LATEST), diagnosed)) == LATEST


@pytest.mark.parametrize(
    ("facts", "other"),
    [
        ((wants(AT_TWO),), False),  # there is no plan
        ((proposed(),), False),
        ((proposed(), wants(LATEST)), False),
        ((proposed(), wants(AT_TWO)), True),
        ((proposed(), wants(AT_TWO), begun(RESTORE)), False),
        ((proposed(), wants(AT_TWO), begun(RESTORE), done(RESTORE)), False),
        (
            (proposed(), begun(RESTORE), done(RESTORE), begun(SWAP), done(SWAP), wants(AT_TWO)),
            False,
        ),
        ((proposed(replace(PLAN, procedure="audit_trail")),), True),
    ],
)
def test_a_plan_is_for_another_target_only_until_it_is_begun(
    facts: tuple[Told, ...], *, other: bool
) -> None:
    assert has_other_target(incident(*facts)) is other


def test_a_restored_database_is_not_planned_away_by_a_target_that_comes_too_late() -> None:
    short = replace(PLAN, steps=PLAN.steps[1:])
    facts = (proposed(short), begun(SWAP), done(SWAP), wants(AT_TWO))
    assert not has_other_target(incident(*facts))


def test_who_chose_the_target_does_not_approve_the_plan_for_it() -> None:
    def yes(by: str) -> Told:
        said = {"hash": PLAN.hash, "decision": "approved", "role": "approver", "reason": "r"}
        return FactKind.PLAN_DECIDED, said, by

    opened = told(FactKind.OPENED, "omar", title="t", component="c", procedure=PROCEDURE)
    state = incident(opened, wants(LATEST), proposed(), yes("rosa"), yes("omar"))
    assert (state.approvers(), state.is_approved()) == (set(), False)
    assert incident(opened, wants(LATEST), proposed(), yes("anna")).approvers() == {"anna"}
