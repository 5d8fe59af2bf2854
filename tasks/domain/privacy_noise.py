"""Whether noise is what it is claimed to be, from samples that a probe has drawn.

A sample is the released answer minus the true one, on a fixed synthetic data set. Every test uses
the claimed parameters: fitting them first makes a test of the shape nearly blind. Noise on a grid
is tested by cells, since tests for continuous noise always reject it.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tasks.domain.privacy_grid import WHOLE, Grid, fewest_distinct, grid_of, period_of

ALARM = 1e-3
"""Below this probability of honest noise a probe warns; the second time it pages."""

FIRST_PROBE, SECOND_PROBE = 2000, 5000
"""Samples: 2000 find a scale that is off by a tenth; 5000 fresh ones before anybody is woken."""

_FEWEST = 100
_CELLS = 24
_LEAST_EXPECTED = 20.0
_REPEATED_SHARE = 0.05
_DEVIATIONS = 6.0
_COMPARED = 16
_NEVER = 1e-9
_BEYOND = 1e6
"""So many times its scale is a value that no noise has; and no figure grows too large to square."""
_REACH = 12
_FINE = 1000
"""With so many points of a grid on the scale, noise is as good as continuous."""
_ROUNDING = 0.99


class Shape(StrEnum):
    """The noise that is claimed."""

    LAPLACE = "laplace"
    GAUSSIAN = "gaussian"
    DISCRETE_LAPLACE = "discrete_laplace"
    DISCRETE_GAUSSIAN = "discrete_gaussian"


class Verdict(StrEnum):
    """HONEST: nothing speaks against it, which proves nothing. BROKEN needs no second probe."""

    HONEST = "honest"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Probe:
    """Samples in units of the answer. `scale`: Laplace's b or the standard deviation, as claimed.

    `calibrated`: the scale that the claimed parameters ask for, where the engine states them; None
    when it does not.
    """

    shape: Shape
    scale: float
    samples: tuple[float, ...]
    calibrated: float | None = None

    @property
    def digest(self) -> str:
        """What the samples were, without saying it."""
        return hashlib.sha256(repr(self.samples).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one probe shows. `probability` is that of the worst test, None where none was made."""

    verdict: Verdict
    reason: str
    number: int
    probability: float | None = None
    observed_scale: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Figures only: no sample is ever kept."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "samples": self.number,
            "probability": None if self.probability is None else float(f"{self.probability:.3g}"),
            "scale": None if self.observed_scale is None else round(self.observed_scale, 6),
        }


def judge(probe: Probe, before: Probe | None = None) -> Judged:
    """One probe by itself. `before`: another one; the same samples again are no noise."""
    number = len(probe.samples)
    broken = _obviously_broken(probe, before)
    if broken:
        return Judged(Verdict.BROKEN, broken, number)
    if number < _FEWEST:
        return Judged(Verdict.DOUBTFUL, f"{number} samples are too few to say anything", number)
    grid = _grid(probe)
    smooth = _continuous(probe)
    tests = (
        {"scale": scale_test(smooth), "shape": shape_test(smooth)}
        if _is_fine(grid, probe.scale)
        else {"cells": _cells(probe, grid)}
    )
    worst = min(tests, key=lambda name: tests[name])
    seen = _observed_scale(probe)
    if tests[worst] >= ALARM:
        return Judged(
            Verdict.HONEST, "no violation detected", number, tests[worst], observed_scale=seen
        )
    return Judged(
        Verdict.DOUBTFUL,
        f"the test of its {worst} gives p = {tests[worst]:.2g} for {probe.shape.value} noise of "
        f"scale {probe.scale:g}; its scale looks like {seen:.3g}",
        number,
        tests[worst],
        observed_scale=seen,
    )


def scale_test(probe: Probe) -> float:
    """Two-sided; Laplace: `2 sum|x|/b ~ chi2(2n)`, Gaussian: `sum x^2/s^2 ~ chi2(n)`."""
    from scipy import stats  # noqa: PLC0415  a second, and only for probes

    number = len(probe.samples)
    if probe.shape is Shape.LAPLACE:
        law = stats.chi2(2 * number)
        statistic = 2 * math.fsum(map(abs, probe.samples)) / probe.scale
    else:
        law = stats.chi2(number)
        statistic = math.fsum((each / probe.scale) ** 2 for each in probe.samples)
    return float(min(1.0, 2 * min(law.cdf(statistic), law.sf(statistic))))


def shape_test(probe: Probe) -> float:
    """Kolmogorov and Smirnov, with the claimed parameters."""
    from scipy import stats  # noqa: PLC0415  as above

    name = "laplace" if probe.shape is Shape.LAPLACE else "norm"
    return float(stats.kstest(probe.samples, name, args=(0, probe.scale)).pvalue)


def _obviously_broken(probe: Probe, before: Probe | None) -> str:
    """What no noise ever does; empty when it is not so."""
    samples = probe.samples
    if not samples:
        return "the probe drew no sample"
    if not all(map(math.isfinite, samples)):
        return "a sample is no number"
    farthest = max(map(abs, samples))
    if farthest > _BEYOND * probe.scale:
        return f"a value of {farthest:.3g} is more than a million times its scale"
    if max(samples) == min(samples) and _chance_of_equals(probe) < _NEVER:
        return "its variance is zero: nothing hides the answer"
    if probe.calibrated is not None and probe.scale < _ROUNDING * probe.calibrated:
        return (
            f"it is claimed with scale {probe.scale:g}, and its epsilon and sensitivity ask for "
            f"{probe.calibrated:g}"
        )
    return _repetition(probe, before)


def _repetition(probe: Probe, before: Probe | None) -> str:
    """What tells of a seed that is used again, or of a source that has run dry.

    On a grid values are equal by right: only what the claim all but rules out is a repetition.
    """
    samples, number = probe.samples, len(probe.samples)
    grid = _grid(probe)
    masses = () if _is_fine(grid, probe.scale) else tuple(m for _, m in _masses(probe, grid))
    equal = math.fsum(m * m for m in masses) if masses else _equal_on(grid, probe)
    if before is not None:
        shorter = min(number, len(before.samples))
        is_same = samples[:shorter] == before.samples[:shorter]
        if shorter >= _COMPARED and is_same and equal**shorter < _NEVER:
            return "two probes gave the same noise: its seed is used again"
    period = period_of(samples)
    if number - period >= _COMPARED and number * equal ** (number - period) < _NEVER:
        return f"after {period} samples the same ones come again: noise is repeated"
    fewest = (
        fewest_distinct(masses, number, _DEVIATIONS)
        if masses
        else number - number * (number - 1) / 2 * equal
    )
    distinct = len(set(samples))
    if distinct < (1 - _REPEATED_SHARE) * fewest:
        return f"of {number} samples only {distinct} differ: noise is repeated"
    return ""


def _grid(probe: Probe) -> Grid:
    """Whole numbers where they are claimed, else what the samples lie on."""
    if probe.shape in {Shape.DISCRETE_LAPLACE, Shape.DISCRETE_GAUSSIAN}:
        return WHOLE
    return grid_of(probe.samples, probe.scale)


def _is_fine(grid: Grid, scale: float) -> bool:
    return grid.step * _FINE <= scale


def _equal_on(grid: Grid, probe: Probe) -> float:
    """How likely two values are equal on a fine grid: a step of the density's square, summed."""
    laplace = probe.shape in {Shape.LAPLACE, Shape.DISCRETE_LAPLACE}
    return grid.step / probe.scale / (4 if laplace else 2 * math.sqrt(math.pi))


def _chance_of_equals(probe: Probe) -> float:
    """How likely all samples are one value: little whole noise is nearly always nought."""
    grid = _grid(probe)
    if not grid.step or _is_fine(grid, probe.scale):
        return 0.0
    masses: dict[int, float] = dict(_masses(probe, grid))
    return masses.get(grid.place(probe.samples[0]), 0.0) ** len(probe.samples)


def _observed_scale(probe: Probe) -> float:
    number = len(probe.samples)
    if probe.shape in {Shape.LAPLACE, Shape.DISCRETE_LAPLACE}:
        return math.fsum(map(abs, probe.samples)) / number
    return math.sqrt(math.fsum(each * each for each in probe.samples) / number)


def _cells(probe: Probe, grid: Grid) -> float:
    """Chi-squared over large cells of a grid, with what the claim expects in each."""
    from scipy import stats  # noqa: PLC0415  as above

    number = len(probe.samples)
    counts = Counter(map(grid.place, probe.samples))
    target = max(_LEAST_EXPECTED, number / _CELLS)
    observed, expected = [0.0], [0.0]
    for place, mass in _masses(probe, grid):
        expected[-1] += number * mass
        observed[-1] += counts.pop(place, 0)
        if expected[-1] >= target:
            observed.append(0.0)
            expected.append(0.0)
    observed[-1] += sum(counts.values())  # further out than anything that is expected
    if expected[-1] < _LEAST_EXPECTED and len(expected) > 1:
        last_seen, last_expected = observed.pop(), expected.pop()
        observed[-1] += last_seen
        expected[-1] += last_expected
    if len(expected) < 2:  # noqa: PLR2004  one cell tells nothing
        return 1.0
    expected[-1] += number - math.fsum(expected)
    return float(stats.chisquare(observed, expected).pvalue)


def _masses(probe: Probe, grid: Grid) -> list[tuple[int, float]]:
    """What share falls on each point, by the claim; rounded noise falls where it rounds."""
    from scipy import stats  # noqa: PLC0415  as above

    reach = max(1, math.ceil(probe.scale / grid.step * _REACH))
    places = range(-reach, reach + 1)
    if probe.shape is Shape.DISCRETE_LAPLACE:
        return [
            (n, float(m))
            for n, m in zip(places, stats.dlaplace.pmf(places, 1 / probe.scale), strict=True)
        ]
    if probe.shape is Shape.DISCRETE_GAUSSIAN:
        weights = [math.exp(-n * n / (2 * probe.scale**2)) for n in places]
        whole = math.fsum(weights)
        return [(n, weight / whole) for n, weight in zip(places, weights, strict=True)]
    law = (
        stats.laplace(0, probe.scale)
        if probe.shape is Shape.LAPLACE
        else stats.norm(0, probe.scale)
    )
    edges = [float(each) for each in law.cdf([grid.at(n - 0.5) for n in range(-reach, reach + 2)])]
    return [(n, edges[i + 1] - edges[i]) for i, n in enumerate(places)]


def _continuous(probe: Probe) -> Probe:
    laplace = probe.shape in {Shape.LAPLACE, Shape.DISCRETE_LAPLACE}
    return Probe(Shape.LAPLACE if laplace else Shape.GAUSSIAN, probe.scale, probe.samples)
