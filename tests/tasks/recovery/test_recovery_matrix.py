"""Every step of a recovery, killed at every fence of its own, and done twice: one end state.

A step that failed and is not done, and one that is done though nobody could record it, are both
simply called again: that is what the door does.
"""

from collections.abc import Callable

import pytest

from tasks.work.carry_over import carry_bulk, losses_of
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import BACKUP, NAMES, Patient, unfenced
from tests.tasks.recovery.test_recovery_reconciling import content
from tests.tasks.recovery.test_recovery_swap import doors

pytestmark = pytest.mark.components

STEPS: dict[str, Callable[[Patient], object]] = {
    "restore": lambda patient: patient.restore(),
    "carry": lambda patient: carry_bulk(patient.site, patient.writers_head, unfenced),
    "reconcile": lambda patient: reconcile_bulk(patient.site, BACKUP, unfenced),
    "swap": lambda patient: swap(patient.site, patient.writers_head, unfenced),
}
FENCES = {"restore": 4, "carry": 1, "reconcile": 8, "swap": 7}
"""How many each step has once those before it are done: at every one it dies, after them never."""

FAST = {("carry", 1), ("reconcile", 3)}


def points() -> list[object]:
    return [
        pytest.param(step, point, marks=() if (step, point) in FAST else pytest.mark.slow)
        for step, fences in FENCES.items()
        for point in range(1, fences + 2)
    ]


def damaged(patient: Patient) -> dict[str, list[object]]:
    """Damage in the signed log and in its tail; what the other tables must hold in the end."""
    patient.hurt("DELETE FROM audit_records WHERE seq IN (7, 2750)")
    return content(patient)


def assert_recovered(patient: Patient, others: dict[str, list[object]]) -> None:
    assert doors(patient) == {NAMES.production: True, NAMES.quarantine: False}
    assert [row for row in patient.stored() if row[0] != 2750] == [
        row for row in patient.expected() if row[0] != 2750
    ]
    assert losses_of(patient.site).records == 1
    assert content(patient) == others


@pytest.mark.parametrize(("step", "point"), points())
def test_a_step_killed_at_a_fence_is_done_once_by_the_next_call(
    patient: Patient, step: str, point: int
) -> None:
    others = damaged(patient)
    names = list(STEPS)
    for name in names[: names.index(step)]:
        STEPS[name](patient)

    assert patient.killed(step, deadly=point) is (point <= FENCES[step])

    for name in names[names.index(step) :]:
        STEPS[name](patient)
    assert_recovered(patient, others)


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step == "swap" else pytest.mark.slow) for step in STEPS]
)
def test_a_step_that_was_done_but_not_recorded_is_found_done(patient: Patient, step: str) -> None:
    others = damaged(patient)
    for name, act in STEPS.items():
        act(patient)
        if name == step:
            act(patient)
    assert_recovered(patient, others)


@pytest.mark.parametrize("missing", ["carry", "reconcile"])
def test_a_swap_alone_does_what_steps_before_it_have_not_done(
    patient: Patient, missing: str
) -> None:
    others = damaged(patient)
    for name, act in STEPS.items():
        if name != missing:
            act(patient)
    assert_recovered(patient, others)
