"""Enlarging a claim: how much to ask for, the remedy in words, and what it was planned against.

A claim only ever grows, and never beyond our own bound. What was asked for cannot be taken back, so
the plan names the claim, its version and both sizes, and an act that finds it asked for already
asks no second time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.domain.causes import Remedial
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.plan import NOTHING, PlanStep
from tasks.domain.storage import Claim, EnlargeDecision, Enlarging, StorageClass, may_enlarge

STORAGE = "db.resolution.storage"
"""The runbook's line; the step that enlarges."""

_GIB = 1 << 30
_MIB = 1 << 20
_WHOLE_GIB_FROM = 10 * _GIB
_MOST = 1 << 60  # bytes; no claim is as large


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """How much more at once, at least, and how much at all; bytes and seconds.

    What grows shall have room for twice `within_seconds` at its present rate.
    """

    factor: float
    step: int
    most: int
    within_seconds: float


@dataclass(frozen=True, slots=True)
class Storage:
    """A claim that runs full, and what may be done: `wanted` bytes, if `decision` allows them.

    `refusal` is what the API server answered to the dry run; empty: it would do it. `path` is where
    the claim is mounted in its pod.
    """

    claim: Claim
    wanted: int
    decision: EnlargeDecision
    path: str = ""
    refusal: str = ""

    @property
    def may_grow(self) -> bool:
        """Whether the remedy can be offered."""
        return self.decision.verdict is Enlarging.ALLOWED and not self.refusal


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """What the claim must still look like before it is touched; `path`: where its pod has it."""

    name: str
    resource_version: str
    capacity: int
    wanted: int
    path: str = ""

    def as_json(self) -> dict[str, Any]:
        """For a remedy's arguments and a plan's `observed`."""
        return {
            "claim": self.name,
            "resource_version": self.resource_version,
            "capacity": self.capacity,
            "wanted": self.wanted,
            "path": self.path,
        }

    @classmethod
    def of(cls, observed: Mapping[str, Any]) -> "ClaimKey":
        """As the plan names it. Raises BadInput."""
        name, version = observed.get("claim"), observed.get("resource_version")
        path = observed.get("path")
        sizes = [observed.get("capacity"), observed.get("wanted")]
        if not (isinstance(name, str) and name and isinstance(version, str) and version):
            raise BadInput("expected a claim and its version in the plan, found none: plan again")
        capacity, wanted = (each if type(each) is int else 0 for each in sizes)
        if not 0 < capacity < wanted < _MOST:
            raise BadInput(f"expected a plan that enlarges {name!r}, found {sizes}: plan again")
        return cls(name, version, capacity, wanted, path if isinstance(path, str) else "")


def next_size(claim: Claim, used: int, bytes_per_second: float, policy: StoragePolicy) -> int:
    """Bytes to ask for: whole GiB (MiB of small claims), at most the policy's bound if that helps.

    What was asked for already is not asked for again: then that is the answer.
    """
    if claim.requested > claim.capacity:
        return claim.requested
    grown = used + max(0.0, bytes_per_second) * 2 * policy.within_seconds
    wanted = max(claim.capacity * policy.factor, claim.capacity + policy.step, grown)
    unit = _GIB if wanted >= _WHOLE_GIB_FROM else _MIB
    rounded = -int(-wanted // unit) * unit
    return policy.most if claim.capacity < policy.most < rounded else rounded


def storage_of(
    claim: Claim,
    storage_class: StorageClass | None,
    used: int,
    bytes_per_second: float,
    policy: StoragePolicy,
    path: str = "",
) -> Storage:
    """What may become of a claim that runs full."""
    wanted = next_size(claim, used, bytes_per_second, policy)
    return Storage(claim, wanted, may_enlarge(claim, storage_class, wanted, policy.most), path)


def storage_remedial(storage: Storage, target: str) -> Remedial | None:
    """The remedy, where it may be offered."""
    if not storage.may_grow:
        return None
    claim = storage.claim
    key = ClaimKey(claim.name, claim.resource_version, claim.capacity, storage.wanted, storage.path)
    action = (
        f"enlarge claim {claim.name} from {size(claim.capacity)} to {size(storage.wanted)}; it "
        "can never be made smaller again"
    )
    return Remedial(STORAGE, action, target, NOTHING, key.as_json())


def storage_steps(remedy: Remedial) -> tuple[PlanStep, ...]:
    """The one step."""
    return (PlanStep(STORAGE, remedy.action, remedy.target, remedy.destroys),)


def why_not(storage: Storage) -> str:
    """Why the claim is not enlarged by us; empty when it would be."""
    if storage.refusal:
        return f"the API server would refuse it: {storage.refusal}"
    return "" if storage.decision.verdict is Enlarging.ALLOWED else storage.decision.text


def waits_for_pod(incident: Incident) -> bool:
    """Whether the standing plan has enlarged a volume whose file system waits for a restart."""
    done = incident.done(STORAGE)
    return done is not None and done["result"].get("pending") is True


def size(count: int) -> str:
    """Bytes for people, in GiB, or MiB when there are few."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"
