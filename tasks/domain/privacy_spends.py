"""What the log proves to be released, against what the ledger of spends was charged.

The log is append-only and signed; the ledger is a table that can be restored, reset or forgotten.
Where they differ the log counts. One release that is recorded twice under one id is one release;
two that answer one request with fresh noise are two, and cost twice.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.domain.privacy_accounting import (
    GREATEST,
    NOTHING_SPENT,
    SMALLEST,
    Kind,
    Mechanism,
    Releases,
)

ROUNDING = Decimal("1.000000001")
"""How far a sum may be off, as a factor, because binary columns round."""

_DIGEST = 16

Key = tuple[str, ...]
"""What names a row of the ledger, for example session and annotator."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release as the log has it. `block`: whose data it is about. Names never leave memory.

    `epsilon` and `delta` are what it says it costs, `count` how often the mechanism ran; `request`
    is the same for what answers the same question, empty when it is not said. `is_guessed`: its
    mechanism is not known, and it is counted as it claims.
    """

    seq: int
    event: str
    key: Key
    block: str
    epsilon: Decimal
    delta: Decimal
    mechanism: Mechanism
    count: int = 1
    request: str = ""
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """One row of the ledger; `total` is its cap, where it has one."""

    key: Key
    epsilon: Decimal
    delta: Decimal
    operations: int
    total: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A row that was charged less than the log proves, or is not there: by how much."""

    key: Key
    epsilon: Decimal
    delta: Decimal
    operations: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The ledger against the log.

    `released` and `charged` are sums of epsilon over everything. `unregistered` releases have no
    row of their own. `repeated` requests were answered more than once. `lost_from`: from this
    record on nothing is charged while everything before it is, as after a restore; None when what
    is missing lies scattered. `guessed` releases name a mechanism that is not known.
    """

    releases: int
    released: Decimal
    charged: Decimal
    gaps: tuple[Gap, ...]
    overcharged: int
    unregistered: int
    repeated: int
    lost_from: int | None
    guessed: int = 0


def spelled(number: Decimal) -> Decimal | None:
    """An amount that can be computed with; None for what is none, or beyond all measure."""
    return number if number.is_finite() and 0 <= number <= GREATEST else None


def mechanism_of(
    name: str, epsilon: Decimal, delta: Decimal, multiplier: Decimal | None, rate: Decimal | None
) -> Mechanism | None:
    """What a release says of how it was made; None when it says nothing that can be counted.

    A multiplier of zero is no noise, whatever else is said. A name that is not known, or one that
    contradicts what is said beside it, is counted as what it claims: it was released all the same.
    """
    if multiplier is not None and multiplier == 0:
        return Mechanism(Kind.NONE)
    named = _folded(name)
    if named == Kind.NONE:
        return Mechanism(Kind.NONE)
    if named == Kind.LAPLACE and epsilon:
        return Mechanism(Kind.LAPLACE, _at_least(epsilon))
    claimed = Mechanism(Kind.CLAIMED, _at_least(epsilon), delta)
    if named in {"", Kind.CLAIMED}:
        return claimed
    return _gaussian(named, multiplier, rate) or (claimed if epsilon else None)


def is_guessed(name: str, mechanism: Mechanism) -> bool:
    """Whether a mechanism is named, and what was counted is only its claim."""
    return mechanism.kind is Kind.CLAIMED and _folded(name) not in {"", Kind.CLAIMED}


def _folded(name: str) -> str:
    return name.strip().casefold()


def _gaussian(name: str, multiplier: Decimal | None, rate: Decimal | None) -> Mechanism | None:
    if multiplier is None:
        return None
    if name == Kind.GAUSSIAN:
        return Mechanism(Kind.GAUSSIAN, multiplier=_at_least(multiplier))
    if name != Kind.SAMPLED_GAUSSIAN or rate is None or not 0 < rate <= 1:
        return None
    return Mechanism(Kind.SAMPLED_GAUSSIAN, multiplier=_at_least(multiplier), rate=rate)


def _at_least(number: Decimal) -> Decimal:
    return max(number, SMALLEST) if number else number


def digest(name: str | Key) -> str:
    """A name as the journal may hold it: it tells two apart, and says nothing of either."""
    whole = name if isinstance(name, str) else "\0".join(name)
    return hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:_DIGEST]


def once(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Each release once, in the order of the log, however often its event was recorded."""
    found: dict[str, Release] = {}
    for each in sorted(releases, key=lambda one: one.seq):
        found.setdefault(each.event or f"#{each.seq}", each)
    return tuple(found.values())


def by_block(releases: Iterable[Release]) -> dict[str, Releases]:
    """What fell on the data of each block, equal releases counted together."""
    found: dict[str, Counter[Mechanism]] = {}
    for each in releases:
        found.setdefault(each.block, Counter())[each.mechanism] += each.count
    return dict(found)


def claimed_of(releases: Iterable[Release]) -> dict[str, Decimal]:
    """What the releases on each block say they cost together."""
    found: dict[str, Decimal] = {}
    for each in releases:
        found[each.block] = found.get(each.block, NOTHING_SPENT) + each.epsilon
    return found


def reconcile(
    releases: Sequence[Release],
    charges: Sequence[Charge],
    registered: Collection[str] | None,
    until: int | None = None,
) -> Reconciled:
    """The ledger against each release once.

    `registered`: event ids that have a row, if known; releases after record `until` need not be
    charged yet.
    """
    counted = once(releases)
    settled = [each for each in counted if until is None or each.seq <= until]
    logged = _sums(counted)
    known = {each.key: each for each in charges}
    gaps = tuple(
        gap
        for key, (epsilon, delta, operations) in _sums(settled).items()
        if (gap := _gap(key, epsilon, delta, operations, known.get(key))) is not None
    )
    nothing = (NOTHING_SPENT, NOTHING_SPENT, 0)
    overcharged = sum(
        each.epsilon > logged.get(each.key, nothing)[0] * ROUNDING for each in charges
    )
    requests = Counter(each.request for each in counted if each.request)
    return Reconciled(
        releases=len(counted),
        released=sum((each.epsilon for each in counted), NOTHING_SPENT),
        charged=sum((each.epsilon for each in charges), NOTHING_SPENT),
        gaps=gaps,
        overcharged=overcharged,
        unregistered=0
        if registered is None
        else sum(each.event not in registered for each in settled),
        repeated=sum(count > 1 for count in requests.values()),
        lost_from=_lost_from(settled, {gap.key for gap in gaps}),
        guessed=sum(each.is_guessed for each in counted),
    )


def _sums(releases: Iterable[Release]) -> Mapping[Key, tuple[Decimal, Decimal, int]]:
    found: dict[Key, tuple[Decimal, Decimal, int]] = {}
    for each in releases:
        epsilon, delta, number = found.get(each.key, (NOTHING_SPENT, NOTHING_SPENT, 0))
        found[each.key] = (epsilon + each.epsilon, delta + each.delta, number + 1)
    return found


def _gap(
    key: Key, epsilon: Decimal, delta: Decimal, operations: int, charge: Charge | None
) -> Gap | None:
    charged = charge or Charge(key, NOTHING_SPENT, NOTHING_SPENT, 0)
    if (
        epsilon <= charged.epsilon * ROUNDING
        and delta <= charged.delta * ROUNDING
        and operations <= charged.operations
    ):
        return None
    return Gap(
        key,
        max(NOTHING_SPENT, epsilon - charged.epsilon),
        max(NOTHING_SPENT, delta - charged.delta),
        max(0, operations - charged.operations),
    )


def _lost_from(releases: Sequence[Release], short: set[Key]) -> int | None:
    """Where the ledger ends, if what it lacks is exactly the newest of what the log has."""
    first = next((each.seq for each in releases if each.key in short), None)
    if first is None:
        return None
    later = [each for each in releases if each.seq >= first]
    return first if len(later) > 1 and all(each.key in short for each in later) else None
