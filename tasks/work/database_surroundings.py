"""What is around the database: its disk, its pod, its claim, and what it says inside its pod.

Each look fails by itself: what cannot be seen is `Unread`, with the permission that is missing.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.clients import kubernetes_storage
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api
from tasks.clients.pod_answers import postgres_says
from tasks.clients.pod_disk import file_system
from tasks.clients.pod_exec import Pod
from tasks.clients.volume_metrics import VolumeUse, volume_use
from tasks.domain.alertmanager import clean
from tasks.domain.database_limits import Limits
from tasks.domain.database_readings import (
    DatabaseReadings,
    Disk,
    DiskSample,
    Trend,
    Unread,
    known,
)
from tasks.domain.errors import RunbookError
from tasks.domain.inside import Inside
from tasks.domain.instance_restart import Instance
from tasks.domain.pod_volumes import Mount, mount_of, only_claim
from tasks.domain.storage_causes import is_filling
from tasks.domain.storage_plan import Storage, StoragePolicy
from tasks.sections.systems import KubernetesSettings, MetricsSettings
from tasks.work.stateful_restart import look_at_instance, within
from tasks.work.storage_growth import look_at_storage

_REASON_LIMIT = 200
_INSIDE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where to look. `backups`: the directory of the pod that holds dumps, and no data."""

    cluster: KubernetesSettings
    metrics: MetricsSettings
    pod: Pod
    backups: str
    policy: StoragePolicy


def inside_says(around: Surroundings) -> Inside:
    """What the server says in its pod. Never raises for a pod that is away."""
    return postgres_says(around.cluster, around.pod, _INSIDE_SECONDS)


def look_around(around: Surroundings, seen: DatabaseReadings, limits: Limits) -> DatabaseReadings:
    """The same look, with the disk as its pod sees it and, where it is needed, pod and claim."""
    directory = _directory(seen)
    mount = _mount(around, directory)
    claimed = mount if isinstance(mount, Mount) and mount.claim else None
    found = replace(seen, disk=_disk(around, seen, claimed, directory, limits.watched_seconds))
    if seen.unreachable:
        found = replace(found, instance=_instance(around, directory))
    disk = known(found.disk)
    if disk is None or not is_filling(disk, limits):
        return found
    growth = disk.growth or 0.0 if disk.watched_seconds >= limits.watched_seconds else 0.0
    found = replace(found, storage=_storage(around, mount, (disk.used, growth)))
    storage = known(found.storage)
    if storage is not None and storage.claim.waits_for_pod and found.instance is None:
        found = replace(found, instance=_instance(around, directory))
    return found


def _directory(seen: DatabaseReadings) -> str:
    """Where the server says that its files are; empty when it does not answer."""
    server = known(seen.server)
    return server.data_directory if server is not None else ""


def _mount(around: Surroundings, directory: str) -> Mount | Unread:
    """The mount under the files; of a server that is away, the pod's only claim."""
    try:
        api = Api(within(around.cluster, around.pod))
        mounts = kubernetes_storage.mounts(api, around.pod.name, around.pod.container)
    except RunbookError as error:
        return Unread(clean(str(error), _REASON_LIMIT))
    if directory:
        return mount_of(mounts, directory) or Unread(
            f"{directory} of {around.pod} lies on no volume: nothing can be enlarged"
        )
    return only_claim(mounts, around.backups) or Unread(
        f"which claim of {around.pod} holds the data is not known while the server is away"
    )


def _disk(
    around: Surroundings,
    seen: DatabaseReadings,
    claimed: Mount | None,
    directory: str,
    watched_seconds: float,
) -> Disk | Unread:
    """As the pod sees it (`df`), else as the kubelet counts it, with the growth that it has seen.

    Of a server that says nothing of its own size, the file system's is all that there is.
    """
    disk = known(seen.disk) or Disk(())
    use = _counted(around, claimed)
    place = directory or (claimed.path if claimed else "")
    if not place:
        return seen.disk
    try:
        found = file_system(around.cluster, around.pod, place)
        used, free = found.used, found.free
    except ClientError as error:
        if use is None:
            return Unread(clean(f"df in the pod: {error}", _REASON_LIMIT))
        used, free = use.used, max(0, use.capacity - use.used)
    if not disk.samples:
        disk = Disk((DiskSample(datetime.now(UTC), used),))
    disk = disk.within(used, free)
    if use is None or use.bytes_per_second is None or use.watched_seconds < watched_seconds:
        return disk  # a jump within few samples would look like an endless growth
    return replace(disk, trend=Trend(use.bytes_per_second, use.watched_seconds))


def _counted(around: Surroundings, claimed: Mount | None) -> VolumeUse | None:
    """Nothing where nobody counts it: two looks must do then."""
    if claimed is None:
        return None
    try:
        return volume_use(around.metrics, around.pod.namespace, claimed.claim)
    except ClientError:
        return None


def _storage(
    around: Surroundings, mount: Mount | Unread, use: tuple[int, float]
) -> Storage | Unread:
    if isinstance(mount, Unread):
        return mount
    if not mount.claim:
        return Unread(f"{mount.path} of {around.pod} is on no claim: nothing can be enlarged")
    return look_at_storage(around.cluster, around.pod, mount, use, around.policy)


def _instance(around: Surroundings, directory: str) -> Instance | Unread:
    return look_at_instance(
        around.cluster, around.pod, keeps_files=True, directory=directory, but=around.backups
    )
