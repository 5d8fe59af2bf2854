"""The grid that noise lies on, and what repeats on it.

Answers are rounded: to whole numbers, to digits, to powers of two. Then values are equal by right,
and how often is said by the claim; and the whole grid is moved where the true answer lies beside
it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_DIGITS = 9
"""To so many digits of the scale a sample is exact: it is the difference of two floats."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Values lie at `offset` plus whole steps. A step of 0: no two values need ever be equal."""

    step: float
    offset: float = 0.0

    def place(self, value: float) -> int:
        """Which point of the grid it is."""
        return round((value - self.offset) / self.step)

    def at(self, place: float) -> float:
        """The value at a point; between two points for what lies between them."""
        return self.offset + place * self.step


CONTINUOUS, WHOLE = Grid(0.0), Grid(1.0)


def grid_of(samples: Sequence[float], scale: float) -> Grid:
    """The coarsest grid that holds every sample: the common divisor of their differences."""
    digits = _DIGITS - math.floor(math.log10(scale))
    step = max(_divisor(samples), _divisor([round(each, digits) for each in samples]))
    if not step:
        return CONTINUOUS
    return Grid(step, samples[0] - round(samples[0] / step) * step)


def _divisor(samples: Sequence[float]) -> float:
    exact = [Decimal(repr(each)) for each in samples]
    finest = min(int(each.as_tuple().exponent) for each in exact)
    whole = [int(each.scaleb(-finest)) for each in exact]
    return float(Decimal(math.gcd(*(each - whole[0] for each in whole))).scaleb(finest))


def period_of(samples: Sequence[float]) -> int:
    """After how many samples all of them come again; as many as there are when they never do.

    By the longest beginning that is an end as well (Knuth, Morris and Pratt), in linear time.
    """
    borders = [0] * len(samples)
    border = 0
    for place in range(1, len(samples)):
        while border and samples[place] != samples[border]:
            border = borders[border - 1]
        border += samples[place] == samples[border]
        borders[place] = border
    return len(samples) - border


def fewest_distinct(masses: Sequence[float], number: int, deviations: float) -> float:
    """Fewer different values than this are not had, of `number` draws with these chances.

    The variance of the count is at most the sum over the values, which hinder each other.
    """
    missed = [math.exp(number * math.log1p(-mass)) if mass < 1 else 0.0 for mass in masses]
    expected = math.fsum(1 - each for each in missed)
    spread = math.sqrt(math.fsum(each * (1 - each) for each in missed))
    return expected - deviations * spread
