"""What releases cost together: the published vectors, and laws that hold for any releases."""

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.privacy_accounting import (
    CLOSE_ENOUGH,
    INFINITE,
    Kind,
    Mechanism,
    advanced,
    basic,
    concentrated,
    deltas,
    renyi,
    rounded_up,
    tight,
)

DELTA = Decimal("0.00001")
LAPLACE = {Mechanism(Kind.LAPLACE, Decimal("0.1")): 100}
GAUSSIAN = {Mechanism(Kind.GAUSSIAN, multiplier=Decimal(10)): 100}
TRAINING = {Mechanism(Kind.SAMPLED_GAUSSIAN, multiplier=Decimal("1.1"), rate=Decimal("0.01")): 1000}

amounts = st.decimals("0.0001", 2, places=4)
claims = st.dictionaries(
    st.builds(Mechanism, st.just(Kind.LAPLACE), amounts), st.integers(1, 50), max_size=6
)


def near(found: Decimal, expected: float) -> bool:
    """To the thousandth, and never below what is published by more than its rounding."""
    return abs(float(found) - expected) < 1e-3


def test_a_hundred_laplace_releases_of_a_tenth() -> None:
    assert basic(LAPLACE) == 10
    assert near(advanced(LAPLACE, DELTA), 5.850)
    assert near(concentrated(LAPLACE, DELTA), 5.299)
    assert near(renyi(LAPLACE, DELTA), 4.533)
    assert near(tight(LAPLACE, DELTA).at_most, 4.220)


def test_a_hundred_gaussian_releases_of_sigma_ten() -> None:
    assert basic(GAUSSIAN) == INFINITE
    assert near(concentrated(GAUSSIAN, DELTA), 5.299)
    assert near(renyi(GAUSSIAN, DELTA), 4.729)
    assert near(tight(GAUSSIAN, DELTA).at_most, 4.377)


def test_a_thousand_steps_of_dp_sgd() -> None:
    assert near(renyi(TRAINING, DELTA), 1.712)
    assert near(tight(TRAINING, DELTA).at_most, 1.515)


def test_ten_releases_of_a_tenth_are_not_less_than_one() -> None:
    assert sum([0.1] * 10) < 1  # what binary numbers would say
    assert basic({Mechanism(Kind.CLAIMED, Decimal("0.1")): 10}) == 1
    assert basic({Mechanism(Kind.CLAIMED, Decimal(repr(0.1))): 1}) * 10 == 1


def test_a_release_without_noise_costs_everything_however_many_others_there_are() -> None:
    mixed = {**LAPLACE, Mechanism(Kind.NONE): 1}
    assert basic(mixed) == INFINITE
    assert advanced(mixed, DELTA) == concentrated(mixed, DELTA) == renyi(mixed, DELTA) == INFINITE
    assert tight(mixed, DELTA).at_least == INFINITE


def test_claimed_deltas_use_up_what_is_promised() -> None:
    claimed = {Mechanism(Kind.CLAIMED, Decimal("0.1"), Decimal("0.000001")): 10}
    assert deltas(claimed) == DELTA
    assert advanced(claimed, DELTA) == concentrated(claimed, DELTA) == INFINITE
    assert renyi(claimed, DELTA) == INFINITE
    assert concentrated(claimed, 2 * DELTA) < 3


def test_nothing_released_costs_nothing() -> None:
    for releases in ({}, {Mechanism(Kind.CLAIMED): 5}):
        assert basic(releases) == 0
        assert concentrated(releases, DELTA) == 0
        assert tight(releases, DELTA).at_most == 0


def test_amounts_beyond_all_measure_end_in_a_figure_and_not_in_an_error() -> None:
    huge = {Mechanism(Kind.CLAIMED, Decimal(10) ** 9): 3, Mechanism(Kind.CLAIMED, Decimal(1)): 3}
    assert advanced(huge, DELTA) == INFINITE
    found = tight(huge, DELTA)
    assert 3 * 10**9 < found.at_least <= found.at_most <= basic(huge) + 1
    loud = {Mechanism(Kind.GAUSSIAN, multiplier=Decimal("0.001")): 5}
    assert 10**5 < tight(loud, DELTA).at_least <= tight(loud, DELTA).at_most


def test_ten_thousand_equal_spends_are_composed_in_seconds() -> None:
    began = time.monotonic()
    found = tight({Mechanism(Kind.LAPLACE, Decimal("0.1")): 10_000}, DELTA)
    assert 89.4 < found.at_most < 89.5
    assert time.monotonic() - began < 20  # on a busy machine; a fraction of a second on an idle one


@pytest.mark.slow
def test_ten_thousand_different_spends_are_bounded_from_both_sides() -> None:
    releases = {
        Mechanism(Kind.LAPLACE, Decimal(n) / 100_000 + Decimal("0.001")): 1 for n in range(10_000)
    }
    found = tight(releases, DELTA)
    assert CLOSE_ENOUGH * found.at_least < found.at_most < basic(releases)
    assert found.at_least > found.at_most * Decimal("0.8")


@given(st.floats(0, 1e12))
def test_a_figure_is_never_rounded_down(value: float) -> None:
    found = rounded_up(value)
    assert found >= Decimal(value)
    assert found - Decimal(value) <= Decimal("0.000001")


@given(claims, amounts)
def test_another_release_never_makes_the_cost_smaller(
    releases: dict[Mechanism, int], epsilon: Decimal
) -> None:
    one = Mechanism(Kind.LAPLACE, epsilon)
    more = {**releases, one: releases.get(one, 0) + 1}
    assert basic(more) == basic(releases) + epsilon
    assert advanced(more, DELTA) >= advanced(releases, DELTA)
    assert concentrated(more, DELTA) >= concentrated(releases, DELTA)


@pytest.mark.slow
@settings(max_examples=15)
@given(claims, amounts)
def test_the_tight_cost_grows_too_and_never_exceeds_the_others(
    releases: dict[Mechanism, int], epsilon: Decimal
) -> None:
    one = Mechanism(Kind.LAPLACE, epsilon)
    more = {**releases, one: releases.get(one, 0) + 1}
    before, after = tight(releases, DELTA), tight(more, DELTA)
    assert after.at_most >= before.at_least
    for found, of in ((before, releases), (after, more)):
        assert found.at_least <= found.at_most <= basic(of)
        assert found.at_least <= concentrated(of, DELTA)


@given(claims)
def test_equal_releases_may_be_counted_or_listed(releases: dict[Mechanism, int]) -> None:
    listed = sum(
        (each.epsilon for each, count in releases.items() for _ in range(count)), Decimal(0)
    )
    assert basic(releases) == listed


def test_a_loud_release_hides_none_of_the_others() -> None:
    many = {Mechanism(Kind.LAPLACE, Decimal("0.5")): 500}
    loud = Mechanism(Kind.SAMPLED_GAUSSIAN, multiplier=Decimal("0.15"), rate=Decimal("0.01"))
    alone, together = tight(many, DELTA), tight({**many, loud: 1}, DELTA)
    assert together.at_least >= alone.at_least > 90
    assert together.at_most >= alone.at_most


def test_three_hundred_different_deltas_hide_none_of_their_epsilons() -> None:
    claimed = {
        Mechanism(Kind.CLAIMED, Decimal("0.5"), Decimal(n + 1) / 10**12): 1 for n in range(300)
    }
    same = {Mechanism(Kind.CLAIMED, Decimal("0.5")): 300}
    assert tight(claimed, DELTA).at_least >= tight(same, DELTA).at_least > 50
    assert tight(claimed, DELTA).at_most <= basic(claimed)


@pytest.mark.slow
def test_many_kinds_of_sampled_noise_are_bounded_from_both_sides() -> None:
    steps = {
        Mechanism(
            Kind.SAMPLED_GAUSSIAN,
            multiplier=1 + Decimal(n % 20) / 50,
            rate=Decimal("0.01") + Decimal(n // 20) / 10_000,
        ): 3
        for n in range(300)
    }
    dearest = {Mechanism(Kind.SAMPLED_GAUSSIAN, multiplier=Decimal(1), rate=Decimal("0.02")): 900}
    found = tight(steps, DELTA)
    assert 0 < found.at_least <= found.at_most <= tight(dearest, DELTA).at_most
    assert found.at_least > found.at_most / 2


def test_an_epsilon_is_promised_only_with_the_delta_that_is_left() -> None:
    claimed = {Mechanism(Kind.CLAIMED, Decimal("0.1"), Decimal("0.001")): 50}
    assert tight(claimed, DELTA).at_most == INFINITE
