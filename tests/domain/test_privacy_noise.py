"""Noise that is honest passes, noise that is not is found: with the power that is claimed."""

import math
import random
from collections.abc import Callable

import pytest

from tasks.domain.privacy_noise import (
    FIRST_PROBE,
    SECOND_PROBE,
    Probe,
    Shape,
    Verdict,
    judge,
    scale_test,
    shape_test,
)

_ROUNDS = 60


def laplace(chance: random.Random, scale: float) -> float:
    return chance.expovariate(1 / scale) - chance.expovariate(1 / scale)


def whole_laplace(chance: random.Random, scale: float) -> float:
    """The difference of two geometric numbers."""
    return float(sum(sign * math.floor(chance.expovariate(1) * scale) for sign in (1, -1)))


def whole_gaussian(chance: random.Random, scale: float) -> float:
    """By rejection from a rounded Gaussian's neighbourhood."""
    while True:
        place = round(chance.uniform(-8 * scale, 8 * scale))
        if chance.random() < math.exp(-place * place / (2 * scale * scale)):
            return float(place)


MAKERS: dict[Shape, Callable[[random.Random, float], float]] = {
    Shape.LAPLACE: laplace,
    Shape.GAUSSIAN: lambda chance, scale: chance.gauss(0, scale),
    Shape.DISCRETE_LAPLACE: whole_laplace,
    Shape.DISCRETE_GAUSSIAN: whole_gaussian,
}


def probe(
    shape: Shape, number: int, *, claimed: float, true: float | None = None, seed: int = 1
) -> Probe:
    chance = random.Random(f"{shape}-{number}-{true}-{seed}")
    scale = claimed if true is None else true
    return Probe(shape, claimed, tuple(MAKERS[shape](chance, scale) for _ in range(number)))


def found_share(shape: Shape, claimed: float, true: float, number: int = FIRST_PROBE) -> float:
    verdicts = [
        judge(probe(shape, number, claimed=claimed, true=true, seed=seed)).verdict
        for seed in range(_ROUNDS)
    ]
    return sum(each is not Verdict.HONEST for each in verdicts) / _ROUNDS


@pytest.mark.parametrize("shape", Shape)
def test_honest_noise_passes(shape: Shape) -> None:
    assert found_share(shape, 5.0, 5.0) <= 1 / _ROUNDS


@pytest.mark.parametrize(("shape", "power"), [(Shape.LAPLACE, 0.85), (Shape.GAUSSIAN, 0.97)])
def test_a_scale_that_is_a_tenth_too_small_is_found_by_the_first_probe(
    shape: Shape, power: float
) -> None:
    assert found_share(shape, 1.0, 0.9) >= power


@pytest.mark.parametrize("shape", Shape)
def test_half_of_the_noise_is_found_by_every_probe(shape: Shape) -> None:
    assert found_share(shape, 5.0, 2.5, number=500) == 1.0


def test_the_right_scale_of_the_wrong_shape_is_found_with_the_claimed_parameters() -> None:
    chance = random.Random(3)
    samples = tuple(chance.gauss(0, math.sqrt(2)) for _ in range(FIRST_PROBE))
    disguised = Probe(Shape.LAPLACE, 1.0, samples)  # the same variance as Laplace noise of scale 1
    assert shape_test(disguised) < 1e-3
    assert judge(disguised).verdict is Verdict.DOUBTFUL


def test_noise_that_is_not_about_zero_is_found() -> None:
    honest = probe(Shape.GAUSSIAN, SECOND_PROBE, claimed=1.0)
    moved = Probe(honest.shape, 1.0, tuple(each + 0.1 for each in honest.samples))
    assert judge(moved).verdict is Verdict.DOUBTFUL


def test_noise_that_was_rounded_to_whole_numbers_is_not_called_broken_for_it() -> None:
    whole = tuple(float(round(each)) for each in probe(Shape.GAUSSIAN, 2000, claimed=3.0).samples)
    rounded = Probe(Shape.GAUSSIAN, 3.0, whole)
    assert shape_test(rounded) < 1e-3  # the trap: tests for continuous noise always reject it
    assert judge(rounded).verdict is Verdict.HONEST


def test_noise_printed_with_six_digits_is_not_called_repeated() -> None:
    honest = probe(Shape.GAUSSIAN, SECOND_PROBE, claimed=1.1)
    printed = Probe(honest.shape, 1.1, tuple(round(each, 6) for each in honest.samples))
    assert judge(printed).verdict is Verdict.HONEST


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((), "no sample"),
        ((0.0,) * 500, "variance is zero"),
        ((1.7,) * 500, "variance is zero"),
        ((0.1, math.nan, 0.2) * 100, "no number"),
        ((0.1, math.inf, 0.2) * 100, "no number"),
        ((0.25, -0.5, 0.75, 1.125) * 200, "repeated"),
    ],
)
def test_what_no_noise_ever_does_needs_no_second_probe(
    samples: tuple[float, ...], words: str
) -> None:
    found = judge(Probe(Shape.LAPLACE, 1.0, samples))
    assert found.verdict is Verdict.BROKEN
    assert words in found.reason


def test_the_same_noise_twice_is_a_seed_that_is_used_again() -> None:
    first = probe(Shape.LAPLACE, 64, claimed=1.0)
    whole = probe(Shape.LAPLACE, 2000, claimed=1.0)
    assert judge(whole, first).verdict is Verdict.HONEST
    again = Probe(whole.shape, 1.0, first.samples + whole.samples)
    assert judge(again, first).verdict is Verdict.BROKEN


def test_a_claimed_scale_below_what_its_epsilon_asks_for_is_broken() -> None:
    honest = probe(Shape.LAPLACE, 2000, claimed=1.0)
    assert judge(Probe(honest.shape, 1.0, honest.samples, 1.0)).verdict is Verdict.HONEST
    assert judge(Probe(honest.shape, 1.0, honest.samples, 2.0)).verdict is Verdict.BROKEN


def test_a_few_samples_say_nothing() -> None:
    assert judge(probe(Shape.LAPLACE, 20, claimed=1.0)).verdict is Verdict.DOUBTFUL


def test_a_scale_test_knows_both_directions() -> None:
    assert scale_test(probe(Shape.GAUSSIAN, 2000, claimed=1.0, true=1.2)) < 1e-3
    assert scale_test(probe(Shape.GAUSSIAN, 2000, claimed=1.0, true=0.8)) < 1e-3


def test_what_is_kept_of_a_probe_are_figures_and_no_samples() -> None:
    honest = probe(Shape.LAPLACE, 2000, claimed=1.0)
    kept = judge(honest).as_json()
    assert set(kept) == {"verdict", "reason", "samples", "probability", "scale"}
    assert not any(str(each) in str(kept) for each in honest.samples)


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("far", [(1e200,), (1.7e308, 1.6e308), (-1e7,)])
def test_a_value_beyond_all_noise_is_broken_and_ends_no_look(
    shape: Shape, far: tuple[float, ...]
) -> None:
    honest = probe(shape, 2000, claimed=1.0)
    found = judge(Probe(shape, 1.0, honest.samples[: -len(far)] + far))
    assert found.verdict is Verdict.BROKEN
    assert "times its scale" in found.reason


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_noise_that_was_rounded_to_some_digits_is_not_called_repeated(digits: int) -> None:
    for seed in range(10):
        honest = probe(Shape.GAUSSIAN, FIRST_PROBE, claimed=1.0, seed=seed)
        rounded = tuple(round(each, digits) for each in honest.samples)
        found = judge(Probe(Shape.GAUSSIAN, 1.0, rounded))
        assert found.verdict is Verdict.HONEST, found.reason


@pytest.mark.parametrize("step", [0.5, 0.25, 2.0**-12])
@pytest.mark.parametrize("shape", [Shape.GAUSSIAN, Shape.LAPLACE])
def test_noise_on_any_grid_is_tested_by_the_cells_of_it(shape: Shape, step: float) -> None:
    for seed in range(5):
        honest = probe(shape, FIRST_PROBE, claimed=3.0, seed=seed)
        on_grid = tuple(round(each / step) * step for each in honest.samples)
        found = judge(Probe(shape, 3.0, on_grid))
        assert found.verdict is Verdict.HONEST, found.reason
    weak = probe(shape, FIRST_PROBE, claimed=3.0, true=1.5)
    halved = tuple(round(each / step) * step for each in weak.samples)
    assert judge(Probe(shape, 3.0, halved)).verdict is not Verdict.HONEST


def test_an_answer_that_was_rounded_leaves_noise_on_a_grid_beside_zero() -> None:
    honest = probe(Shape.GAUSSIAN, FIRST_PROBE, claimed=1.0)
    true = 17.318204
    noise = tuple(round(true + each, 1) - true for each in honest.samples)
    assert judge(Probe(Shape.GAUSSIAN, 1.0, noise)).verdict is Verdict.HONEST


def test_little_whole_noise_is_often_equal_and_not_broken_for_it() -> None:
    for seed in range(30):
        before = probe(Shape.DISCRETE_LAPLACE, 64, claimed=0.15, seed=seed)
        first = probe(Shape.DISCRETE_LAPLACE, FIRST_PROBE, claimed=0.15, seed=seed)
        assert judge(first, before).verdict is Verdict.HONEST


@pytest.mark.parametrize("shape", [Shape.GAUSSIAN, Shape.DISCRETE_GAUSSIAN])
def test_whole_noise_that_comes_round_again_is_broken(shape: Shape) -> None:
    chance = random.Random(5)
    pool = tuple(float(round(chance.gauss(0, 50))) for _ in range(500))
    assert judge(Probe(shape, 50.0, pool * 4)).verdict is Verdict.BROKEN
    cut = (pool * 5)[130:2130]  # begun anywhere, and broken off anywhere
    found = judge(Probe(shape, 50.0, cut))
    assert (found.verdict, "500 samples" in found.reason) == (Verdict.BROKEN, True)
