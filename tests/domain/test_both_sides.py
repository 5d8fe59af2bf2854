"""A server seen from outside and in its pod: who is believed, and what a difference means."""

from itertools import product

import pytest

from tasks.domain.both_sides import Agreement, compared
from tasks.domain.inside import Answer, Inside
from tasks.domain.observation import Health

CASES = [
    (Health.HEALTHY, Answer.READY, Health.HEALTHY, Agreement.AGREE),
    (Health.HEALTHY, Answer.SILENT, Health.DEGRADED, Agreement.ELSEWHERE),
    (Health.HEALTHY, Answer.BUSY, Health.DEGRADED, Agreement.ELSEWHERE),
    (Health.HEALTHY, Answer.UNKNOWN, Health.HEALTHY, Agreement.UNKNOWN),
    (Health.FAILED, Answer.READY, Health.FAILED, Agreement.CUT_OFF),
    (Health.FAILED, Answer.SILENT, Health.FAILED, Agreement.AGREE),
    (Health.FAILED, Answer.BUSY, Health.FAILED, Agreement.AGREE),
    (Health.FAILED, Answer.UNKNOWN, Health.FAILED, Agreement.UNKNOWN),
    (Health.UNKNOWN, Answer.READY, Health.UNKNOWN, Agreement.UNKNOWN),
]


@pytest.mark.parametrize(("outside", "inside", "health", "agreement"), CASES)
def test_both_sides_are_compared(
    outside: Health, inside: Answer, health: Health, agreement: Agreement
) -> None:
    found = compared(outside, "outside", Inside(inside, "inside"))
    assert (found.health, found.agreement) == (health, agreement)
    assert "outside" in found.summary
    assert "inside" in found.summary


def test_the_pods_word_never_makes_well_what_is_not_well_from_outside() -> None:
    order = [Health.HEALTHY, Health.UNKNOWN, Health.DEGRADED, Health.FAILED]
    for outside, inside in product(Health, Answer):
        found = compared(outside, "", Inside(inside, "x"))
        assert order.index(found.health) >= order.index(outside)


def test_where_no_pod_is_named_nothing_is_said_of_one() -> None:
    assert compared(Health.HEALTHY, "PONG", Inside(Answer.UNKNOWN)).summary == "PONG"
