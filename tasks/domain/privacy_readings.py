"""What one look at the privacy engine has shown, read from answers that nobody vouches for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from tasks.domain.alertmanager import clean
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput
from tasks.domain.privacy_accounting import INFINITE, Tight
from tasks.domain.privacy_anonymisation import Anonymity, Published
from tasks.domain.privacy_noise import Judged, Probe, Shape
from tasks.domain.privacy_spends import Reconciled, spelled

COMPONENT = "privacy-engine"

_EXCERPT = 60
_RETIRED = 100_000
_DIGEST_LENGTH = 16
_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the engine says of itself (`privacy/config`). None: it does not say.

    `retired`: digests of blocks from which nothing is released any more; `halted`: whether it
    refuses every release.
    """

    epsilon: Decimal | None = None
    delta: Decimal | None = None
    clip_norm: Decimal | None = None
    multiplier: Decimal | None = None
    halted: bool | None = None
    epoch: int = 1
    retired: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Budget:
    """The engine's own bookkeeping (`privacy/budget`), over everything."""

    total: Decimal
    consumed: Decimal
    remaining: Decimal


@dataclass(frozen=True, slots=True)
class Block:
    """What releases about the data of one block cost together.

    `cap` is what may be spent on it, `claimed` what the releases say they cost, `basic` and the
    others what they do cost. `tight` is None where the cheaper figures had settled everything.
    """

    name: str
    releases: int
    cap: Decimal
    claimed: Decimal
    basic: Decimal
    advanced: Decimal
    concentrated: Decimal
    delta: Decimal
    delta_claimed: Decimal
    stated: bool
    renyi: Decimal | None = None
    tight: Tight | None = None

    @property
    def is_delta_overspent(self) -> bool:
        """Whether the deltas that the releases claim are more than the guarantee has."""
        return self.delta_claimed > self.delta

    @property
    def at_least(self) -> Decimal:
        """What the releases surely cost."""
        return Decimal(0) if self.tight is None else self.tight.at_least

    @property
    def at_most(self) -> Decimal:
        """What they surely do not exceed; epsilons added up hold with the deltas added up."""
        added = INFINITE if self.is_delta_overspent else self.basic
        known = [added, self.concentrated, self.advanced]
        return min(known + ([self.tight.at_most] if self.tight is not None else []))

    def as_json(self) -> dict[str, Any]:
        """For the evidence: figures as text, the block by its digest."""
        return {
            "block": self.name,
            "releases": self.releases,
            "cap": shown(self.cap),
            "claimed": shown(self.claimed),
            "basic": shown(self.basic),
            "advanced": shown(self.advanced),
            "zcdp": shown(self.concentrated),
            "rdp": None if self.renyi is None else shown(self.renyi),
            "pld": None if self.tight is None else shown(self.tight.at_most),
            "delta": shown(self.delta),
            "delta_claimed": shown(self.delta_claimed),
        }


@dataclass(frozen=True, slots=True)
class Spending:
    """The ledger of spends against the log, and what each block has really cost.

    `unreadable` releases say nothing that can be counted. `blocks` are those that are still in use,
    dearest first; `unsettled` of them were not computed tightly, for there are too many.
    `late`: how many releases each retired block had after it was retired, by its digest;
    `unproven`: blocks that only the engine says are retired; `is_retirement_known`: whether the
    engine or the journal says which are.
    """

    reconciled: Reconciled
    blocks: tuple[Block, ...]
    unreadable: int = 0
    unsettled: int = 0
    late: Mapping[str, int] = field(default_factory=dict)
    unproven: int = 0
    is_retirement_known: bool = True


@dataclass(frozen=True, slots=True)
class Noise:
    """Both stages of the alarm: the second is there only where the first was doubtful."""

    first: Judged
    second: Judged | None = None


@dataclass(frozen=True, slots=True)
class PrivacyReadings:
    """All of one look. What could not be read says why."""

    remaining: Decimal | Unread
    parameters: Parameters | Unread
    budget: Budget | Unread
    spending: Spending | Unread
    noise: Noise | Unread
    anonymity: Anonymity | Unread

    def unread(self) -> dict[str, str]:
        """Why, by the name of the part."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: part.reason for name, part in named.items() if isinstance(part, Unread)}


def shown(number: Decimal) -> str:
    """A figure for people and for the journal, which takes no infinite numbers."""
    return "infinite" if number == INFINITE else f"{number.normalize():f}"


def read_remaining(values: Sequence[float]) -> Decimal:
    """`privacy_budget_remaining`: the least of its series. BadInput for none, and for no number."""
    if not values:
        raise BadInput("Prometheus has no series privacy_budget_remaining")
    if not all(map(math.isfinite, values)):
        raise BadInput("privacy_budget_remaining is no number")
    return Decimal(repr(min(values)))


def read_parameters(said: Mapping[str, Any]) -> Parameters:
    """`privacy/config`. BadInput for a field that is there and is no such thing."""
    retired = said.get("retired", [])
    if not isinstance(retired, list) or len(retired) > _RETIRED:
        raise BadInput(f"expected retired of the engine as a list, found {type(retired).__name__}")
    halted, epoch = said.get("halted"), said.get("epoch", 1)
    if not isinstance(halted, bool | None):
        raise BadInput(f"expected halted as true or false, found {_excerpt(halted)}")
    if type(epoch) is not int or not 0 < epoch < 1 << 31:
        raise BadInput(f"expected an epoch from 1, found {_excerpt(epoch)}")
    return Parameters(
        epsilon=_optional(said, "epsilon"),
        delta=_optional(said, "delta"),
        clip_norm=_optional(said, "clip_norm"),
        multiplier=_optional(said, "noise_multiplier"),
        halted=halted,
        epoch=epoch,
        retired=frozenset(str(each)[:_DIGEST_LENGTH] for each in retired),
    )


def read_budget(said: Mapping[str, Any]) -> Budget:
    """`privacy/budget`. BadInput for what is no amount. `remaining` may be below zero."""
    return Budget(
        total=_needed(said, "total_epsilon"),
        consumed=_needed(said, "consumed_epsilon"),
        remaining=_number(said, "remaining_epsilon"),
    )


def read_probe(said: Mapping[str, Any], parameters: Parameters | None) -> Probe:
    """The answer of the probe. Samples that are no numbers are kept as such: that is a finding."""
    mechanism = said.get("mechanism")
    if not isinstance(mechanism, str) or mechanism not in set(Shape):
        known = ", ".join(Shape)
        raise BadInput(f"expected the probe's mechanism of {known}, found {_excerpt(mechanism)}")
    scale = _needed(said, "scale")
    samples = said.get("samples")
    if not isinstance(samples, list) or not 0 < len(samples) <= _SAMPLES:
        raise BadInput(f"expected up to {_SAMPLES} samples of the probe, found {_excerpt(samples)}")
    if scale <= 0:
        raise BadInput(f"expected a scale above zero of the probe, found {scale}")
    return Probe(
        Shape(mechanism),
        float(scale),
        tuple(_sample(each) for each in samples),
        _calibrated(Shape(mechanism), said, parameters),
    )


def read_published(said: Mapping[str, Any], limit: int) -> Published:
    """The answer with published records. BadInput when it is no list of objects."""
    records, total = said.get("records"), said.get("total")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise BadInput(f"expected published records as objects, found {_excerpt(records)}")
    if type(total) is not int or total < len(records):
        raise BadInput(f"expected how many records there are, found {_excerpt(total)}")
    return Published(tuple(records[:limit]), total)


def _calibrated(
    shape: Shape, said: Mapping[str, Any], parameters: Parameters | None
) -> float | None:
    """The scale that what is claimed asks for; None where it is not claimed."""
    if shape in {Shape.LAPLACE, Shape.DISCRETE_LAPLACE}:
        sensitivity, epsilon = _optional(said, "sensitivity"), _optional(said, "epsilon")
        return float(sensitivity / epsilon) if sensitivity and epsilon else None
    if parameters is None or not parameters.multiplier or not parameters.clip_norm:
        return None
    return float(parameters.multiplier * parameters.clip_norm)


def _sample(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _optional(said: Mapping[str, Any], name: str) -> Decimal | None:
    return None if said.get(name) is None else _needed(said, name)


def _needed(said: Mapping[str, Any], name: str) -> Decimal:
    found = _number(said, name)
    amount = spelled(found)
    if amount is None:
        raise BadInput(f"expected {name} from 0, found {found}")
    return amount


def _number(said: Mapping[str, Any], name: str) -> Decimal:
    found = said.get(name)
    try:
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise BadInput(f"expected {name} as a number, found {_excerpt(found)}")
        number = Decimal(repr(found))
    except (InvalidOperation, ValueError) as error:
        raise BadInput(f"expected {name} as a number, found one that is too long") from error
    if not number.is_finite() or abs(number) > Decimal(10) ** 15:
        raise BadInput(f"expected {name} as a finite number, found {_excerpt(found)}")
    return number


def _excerpt(value: object) -> str:
    return clean(ascii(value)[: 2 * _EXCERPT], _EXCERPT)
