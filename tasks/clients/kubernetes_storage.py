"""Storage claims: read, and enlarged where their class allows it."""

from tasks.clients.kubernetes_api import Api, PatchType, guarded
from tasks.clients.kubernetes_refusals import Resource
from tasks.clients.kubernetes_workloads import read
from tasks.domain.pod_volumes import Mount, read_mounts
from tasks.domain.storage import Claim, StorageClass, read_claim, read_storage_class

_CLAIMS = "persistentvolumeclaims"


def claims(api: Api) -> list[Claim]:
    """All of the namespace."""
    found = api.listed(api.here(_CLAIMS), "PersistentVolumeClaimList")
    return [read(each, read_claim) for each in found.items]


def mounts(api: Api, pod: str, container: str = "") -> tuple[Mount, ...]:
    """What is mounted where in a container of a pod (without a name: in its first one)."""
    found = api.read(api.here("pods", pod), "Pod")
    return read(found, lambda value: read_mounts(value, container))


def storage_class(api: Api, name: str) -> StorageClass:
    """One by its name; NotFound when there is none."""
    found = api.read(Resource("storageclasses", "storage.k8s.io", name=name), "StorageClass")
    return read(found, read_storage_class)


def enlarge(api: Api, name: str, wanted: int, resource_version: str, *, dry_run: bool) -> Claim:
    """Ask for `wanted` bytes; the volume follows later, and never becomes smaller again."""
    request = {"resources": {"requests": {"storage": str(wanted)}}}
    body = guarded(resource_version) | {"spec": request}
    found = api.patch(
        api.here(_CLAIMS, name), body, PatchType.MERGE, "PersistentVolumeClaim", dry_run=dry_run
    )
    return read(found, read_claim)
