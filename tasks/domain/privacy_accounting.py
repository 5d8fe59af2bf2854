"""What a number of releases of private data costs, composed in every way that is known.

Amounts are Decimal and every rounding is upwards: a budget that looks smaller than it is protects
nobody. Equal releases are composed by their count. The tight figure is that of privacy loss
distributions (PLD, Google's dp-accounting), which takes seconds to load and is asked only when the
cheap ones do not settle the question.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal, localcontext
from enum import StrEnum

INFINITE = Decimal("Infinity")
NOTHING_SPENT = Decimal(0)

CLOSE_ENOUGH = Decimal("0.99")
"""A claim below this share of the tight figure is too small: no discretisation explains that."""

_DIGITS = Decimal("0.000001")
_LARGEST = 1e15
_GROUPS = 64
_SAMPLED_GROUPS = 3
"""Of noise and of rate each: the distribution of one kind of sampled noise takes a second."""
_SUPPORT = 200_000
_FINEST = 1e-9
_LOUDEST = Decimal("0.2")
"""Less Gaussian noise than this costs an epsilon in the tens: its distribution is not computed."""
_LARGEST_TIGHT = Decimal(30)
"""Beyond it a single release promises nothing; it is added as it is, which costs no precision."""


class Kind(StrEnum):
    """How a release was protected. CLAIMED: it says only an epsilon (and a delta)."""

    LAPLACE = "laplace"
    GAUSSIAN = "gaussian"
    SAMPLED_GAUSSIAN = "sampled_gaussian"
    CLAIMED = "claimed"
    NONE = "none"


SMALLEST, GREATEST = Decimal("1e-9"), Decimal("1e9")
"""Between these an amount can be computed with; what is outside is none, or is rounded up."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """What one release does to the privacy of whom it is about.

    `epsilon`: of Laplace noise (sensitivity over scale), or as claimed, then with `delta`.
    `multiplier`: standard deviation over sensitivity, of Gaussian noise; `rate`: the share of the
    data that a step of DP-SGD samples.
    """

    kind: Kind
    epsilon: Decimal = NOTHING_SPENT
    delta: Decimal = NOTHING_SPENT
    multiplier: Decimal = NOTHING_SPENT
    rate: Decimal = Decimal(1)

    @property
    def is_stated(self) -> bool:
        """Whether the release says what was done, and not only what it is said to cost."""
        return self.kind is not Kind.CLAIMED


Releases = Mapping[Mechanism, int]
"""How many releases of each kind fell on the same data."""


@dataclass(frozen=True, slots=True)
class Tight:
    """The privacy loss distribution's epsilon: surely no less, and surely no more."""

    at_least: Decimal
    at_most: Decimal


def rounded_up(value: float) -> Decimal:
    """A computed figure with six digits after the point, never less than it is."""
    if not abs(value) < _LARGEST:
        return INFINITE
    return Decimal(value).quantize(_DIGITS, ROUND_CEILING)


def basic(releases: Releases) -> Decimal:
    """Epsilons added up, exactly. Infinite as soon as one release has no epsilon of its own."""
    if any(each.kind not in {Kind.LAPLACE, Kind.CLAIMED} for each in releases):
        return INFINITE
    with localcontext() as context:
        context.prec, context.rounding = 60, ROUND_CEILING
        return sum((each.epsilon * count for each, count in releases.items()), NOTHING_SPENT)


def deltas(releases: Releases) -> Decimal:
    """The deltas that the releases claim, added up."""
    return sum((each.delta * count for each, count in releases.items()), NOTHING_SPENT)


def advanced(releases: Releases, delta: Decimal) -> Decimal:
    """Dwork and others: `eps*sqrt(2k ln 1/d') + k*eps*(e^eps - 1)`, also for unequal epsilons."""
    left = float(delta - deltas(releases))
    if basic(releases) == INFINITE or left <= 0:
        return INFINITE
    try:
        squares = sum(count * float(each.epsilon) ** 2 for each, count in releases.items())
        drift = sum(
            count * float(each.epsilon) * math.expm1(float(each.epsilon))
            for each, count in releases.items()
        )
        return rounded_up(math.sqrt(2 * math.log(1 / left) * squares) + drift)
    except OverflowError:
        return INFINITE


def concentrated(releases: Releases, delta: Decimal) -> Decimal:
    """By zCDP: pure epsilon is eps^2/2, Gaussian 1/(2 sigma^2); then rho + 2 sqrt(rho ln 1/d)."""
    left = float(delta - deltas(releases))
    rho = 0.0
    for each, count in releases.items():
        match each.kind:
            case Kind.LAPLACE | Kind.CLAIMED:
                rho += count * float(each.epsilon) * float(each.epsilon) / 2
            case Kind.GAUSSIAN | Kind.SAMPLED_GAUSSIAN if each.multiplier > 0:
                rho += count / (2 * float(each.multiplier) * float(each.multiplier))
            case _:
                return INFINITE
    if left <= 0:
        return INFINITE
    return rounded_up(rho + 2 * math.sqrt(rho * math.log(1 / left)))


def renyi(releases: Releases, delta: Decimal) -> Decimal:
    """By Renyi divergences; what releases claim of the delta is used up. Loads dp-accounting."""
    left = float(delta - deltas(releases))
    if any(each.kind is Kind.NONE for each in releases) or left <= 0:
        return INFINITE
    import dp_accounting  # noqa: PLC0415  seconds, and seldom needed
    from dp_accounting import rdp  # noqa: PLC0415  as above

    merged = _together(releases, up=True)
    accountant = rdp.RdpAccountant()
    for each, count in merged.items():
        event = dp_accounting.GaussianDpEvent(float(each.multiplier))
        if each.kind is Kind.SAMPLED_GAUSSIAN:
            event = dp_accounting.PoissonSampledDpEvent(float(each.rate), event)
        elif each.kind in {Kind.LAPLACE, Kind.CLAIMED}:
            if not each.epsilon:
                continue
            if each.epsilon > _LARGEST_TIGHT:
                return INFINITE
            event = dp_accounting.LaplaceDpEvent(1 / float(each.epsilon))
        accountant.compose(event, count)
    return rounded_up(float(accountant.get_epsilon(left)))


def tight(releases: Releases, delta: Decimal) -> Tight:
    """By privacy loss distributions. Loads dp-accounting.

    The figure is discretised upwards, by less than a hundredth. Of many different kinds those that
    are near each other are composed as one, once as the cheaper and once as the dearer of them.
    What is too loud to be computed is left out of the lower bound: that only lowers it.
    """
    if any(each.kind is Kind.NONE for each in releases):
        return Tight(INFINITE, INFINITE)
    parted = _parted(releases)
    large = {each: n for each, n in parted.items() if each.epsilon > _LARGEST_TIGHT}
    small = {each: n for each, n in parted.items() if each not in large and _costs(each)}
    beyond = basic(large)
    is_kept = deltas(releases) <= delta
    if not small or beyond > _LARGEST:
        return Tight(beyond, beyond if is_kept else INFINITE)
    lower, upper = _together(small, up=False), _together(small, up=True)
    quiet = {each: n for each, n in lower.items() if not _is_loud(each)}
    least = CLOSE_ENOUGH * _composed(quiet, delta) if quiet else NOTHING_SPENT
    if any(map(_is_loud, upper)):
        most = concentrated(small, delta)
    else:
        most = least / CLOSE_ENOUGH if quiet == upper else _composed(upper, delta)
        most = min(most, basic(small)) if is_kept else most
    least = min(max(least, _loss(lower)), most)
    return Tight(least + beyond, most + beyond if is_kept else INFINITE)


def _parted(releases: Releases) -> Releases:
    """Each claim's delta apart from its epsilon, which is exact, and all deltas as one.

    The worst that an (epsilon, delta) allows is to say everything with probability delta, and else
    to do what epsilon allows (Kairouz, Oh and Viswanath 2015).
    """
    parted: dict[Mechanism, int] = {}
    kept = 0.0  # the logarithm of the chance that none of them says everything
    for each, count in releases.items():
        kept += count * math.log1p(-float(each.delta)) if each.delta < 1 else -math.inf
        pure = replace(each, delta=NOTHING_SPENT)
        parted[pure] = parted.get(pure, 0) + count
    if kept:
        parted[Mechanism(Kind.CLAIMED, delta=Decimal(-math.expm1(kept)))] = 1
    return parted


def _is_loud(each: Mechanism) -> bool:
    return 0 < each.multiplier < _LOUDEST


def _loss(releases: Releases) -> Decimal:
    """The mean loss of all Gaussian noise: no epsilon for a small delta is below it."""
    loud = [each for each in releases if each.kind is Kind.GAUSSIAN]
    return sum((1 / (2 * each.multiplier * each.multiplier) for each in loud), NOTHING_SPENT)


def _costs(each: Mechanism) -> bool:
    return bool(each.epsilon or each.delta or each.multiplier)


def _together(releases: Releases, *, up: bool) -> Mapping[Mechanism, int]:
    """The same in few kinds: all Gaussian noise as one, which is exact, and the rest on a grid.

    `up`: each at least as dear as it is, with more epsilon, less noise and a larger sample; else
    at most as dear.
    """
    merged: dict[Mechanism, int] = {}
    precision = 0.0
    sampled = [each for each in releases if each.kind is Kind.SAMPLED_GAUSSIAN]
    by_epsilon = _step([each.epsilon for each in releases if each.epsilon], _GROUPS)
    by_noise = _step([each.multiplier for each in sampled], _SAMPLED_GROUPS)
    by_rate = _step([each.rate for each in sampled], _SAMPLED_GROUPS)
    few = len(sampled) <= (_SAMPLED_GROUPS + 1) ** 2
    for each, count in releases.items():
        if each.kind is Kind.GAUSSIAN:
            precision += count / float(each.multiplier) ** 2
            continue
        moved = replace(each, epsilon=_on_grid(each.epsilon, by_epsilon, up=up))
        if each.kind is Kind.SAMPLED_GAUSSIAN and not few:
            moved = replace(
                each,
                multiplier=_on_grid(each.multiplier, by_noise, up=not up),
                rate=min(_on_grid(each.rate, by_rate, up=up), Decimal(1)),
            )
        merged[moved] = merged.get(moved, 0) + count
    if precision:
        merged[Mechanism(Kind.GAUSSIAN, multiplier=Decimal(precision**-0.5))] = 1
    return merged


def _step(values: Sequence[Decimal], groups: int) -> float:
    """How far the points of a grid with so many of them lie apart, as a share; 0 without a grid."""
    if len(set(values)) <= groups:
        return 0.0
    return math.expm1((math.log(max(values)) - math.log(min(values))) / groups)


def _on_grid(value: Decimal, step: float, *, up: bool) -> Decimal:
    if not value or not step:
        return value
    place = math.log(float(value)) / math.log1p(step)
    moved = Decimal(math.exp((math.ceil(place) if up else math.floor(place)) * math.log1p(step)))
    return max(moved, value) if up else min(moved, value)


def _composed(releases: Releases, delta: Decimal) -> Decimal:
    from dp_accounting.pld import common  # noqa: PLC0415  seconds, and seldom needed
    from dp_accounting.pld import privacy_loss_distribution as pld  # noqa: PLC0415  as above

    fine = _interval(releases)
    whole = None
    for each, count in releases.items():
        match each.kind:
            case Kind.LAPLACE:
                one = pld.from_laplace_mechanism(
                    1 / float(each.epsilon), value_discretization_interval=fine
                )
            case Kind.CLAIMED:
                claim = common.DifferentialPrivacyParameters(float(each.epsilon), float(each.delta))
                one = pld.from_privacy_parameters(claim, value_discretization_interval=fine)
            case _:
                one = pld.from_gaussian_mechanism(
                    float(each.multiplier),
                    sampling_prob=float(each.rate),
                    value_discretization_interval=fine,
                )
        part = one.self_compose(count)
        whole = part if whole is None else whole.compose(part)
    return INFINITE if whole is None else rounded_up(whole.get_epsilon_for_delta(float(delta)))


def _interval(releases: Releases) -> float:
    """Fine enough for the losses that matter, coarse enough for the sum of all."""
    pure = [(float(each.epsilon), count) for each, count in releases.items() if each.epsilon]
    squares = sum(epsilon * epsilon * count for epsilon, count in pure)
    usual = math.sqrt(squares / sum(count for _, count in pure)) if pure else 5e-3
    finest = min(usual / 50, 1e-4) if any(each.multiplier for each in releases) else usual / 50
    reach = squares / 2 + 16 * math.sqrt(squares)  # of the summed loss: its mean and its tails
    return max(finest, reach / _SUPPORT, _FINEST)
