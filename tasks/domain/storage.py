"""Storage claims, and whether one may be enlarged: its class must allow it, and only upwards."""

from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.json_fields import Fields
from tasks.domain.pod_reading import read_conditions
from tasks.domain.pods import Condition
from tasks.domain.quantities import whole

RESIZE_PENDING = "FileSystemResizePending"
"""Condition of a claim whose volume has grown and whose file system waits for its pod."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim, in bytes: what is asked for, and what there is."""

    name: str
    resource_version: str
    phase: str
    storage_class: str
    requested: int
    capacity: int
    conditions: tuple[Condition, ...]

    @property
    def waits_for_pod(self) -> bool:
        """Whether the volume is larger already and only a new pod can use it."""
        return self.capacity < self.requested and any(
            each.type == RESIZE_PENDING and each.status == "True" for each in self.conditions
        )


@dataclass(frozen=True, slots=True)
class StorageClass:
    """`expandable`: volumes of it may be enlarged while they are in use."""

    name: str
    expandable: bool


class Enlarging(StrEnum):
    """What may become of a wish for more room."""

    ALLOWED = "allowed"
    UNDER_WAY = "under-way"
    ENOUGH = "enough"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class EnlargeDecision:
    """A verdict with its reason."""

    verdict: Enlarging
    text: str


def may_enlarge(
    claim: Claim, storage_class: StorageClass | None, wanted: int, most: int
) -> EnlargeDecision:
    """Whether `wanted` bytes may be asked for; `most` is our own bound. It can never be undone."""
    if claim.capacity >= wanted:
        return EnlargeDecision(Enlarging.ENOUGH, f"{claim.name} has {claim.capacity} bytes already")
    if claim.phase != "Bound":
        text = f"{claim.name} is {claim.phase or 'not bound'}: there is no volume to enlarge"
        return EnlargeDecision(Enlarging.FORBIDDEN, text)
    if claim.requested >= wanted:
        text = f"{claim.name} was told to have {claim.requested} bytes: wait for the volume"
        return EnlargeDecision(Enlarging.UNDER_WAY, text)
    if storage_class is None or not storage_class.expandable:
        name = claim.storage_class or "none"
        text = f"the storage class of {claim.name} ({name}) does not allow it: move the data"
        return EnlargeDecision(Enlarging.FORBIDDEN, text)
    if wanted > most:
        text = f"{claim.name}: {wanted} bytes are more than our bound of {most}"
        return EnlargeDecision(Enlarging.FORBIDDEN, text)
    return EnlargeDecision(Enlarging.ALLOWED, f"{claim.name}: {claim.capacity} to {wanted} bytes")


def read_claim(value: object) -> Claim:
    """From a PersistentVolumeClaim of v1. Raises BadInput."""
    claim = Fields.of("persistentvolumeclaim", value)
    metadata, spec, status = claim.within("metadata"), claim.within("spec"), claim.within("status")
    return Claim(
        name=metadata.exact("name"),
        resource_version=metadata.exact("resourceVersion"),
        phase=status.text("phase", 40),
        storage_class=spec.exact("storageClassName"),
        requested=whole(spec.within("resources").pairs("requests").get("storage", "0")),
        capacity=whole(status.pairs("capacity").get("storage", "0")),
        conditions=read_conditions(status),
    )


def read_storage_class(value: object) -> StorageClass:
    """From a StorageClass of storage.k8s.io/v1. Raises BadInput."""
    found = Fields.of("storageclass", value)
    return StorageClass(found.within("metadata").exact("name"), found.flag("allowVolumeExpansion"))
