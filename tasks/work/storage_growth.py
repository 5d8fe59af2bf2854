"""Enlarging the database's claim: looked at, asked for once, watched until its files have room.

An act may be called again after a kill at any instruction: a claim that asks for its new size
already is not patched again, and what remains is to watch it grow.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tasks.clients import kubernetes_storage
from tasks.clients.errors import ClientError, Conflict, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.pod_disk import FileSystem, file_system
from tasks.clients.pod_exec import Pod
from tasks.domain.alertmanager import clean
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput, PlanStale, RunbookError
from tasks.domain.pod_volumes import Mount
from tasks.domain.storage import RESIZE_PENDING, Claim, Enlarging, StorageClass
from tasks.domain.storage_plan import (
    ClaimKey,
    Storage,
    StoragePolicy,
    size,
    storage_of,
)
from tasks.sections.systems import KubernetesSettings
from tasks.work.stateful_restart import within

_POLL_SECONDS = 0.5
_PENDING_SECONDS = 15.0
"""The kubelet grows a mounted file system within seconds, where it can do so at all."""
_REASON_LIMIT = 300
_GROWN = 0.5  # of what was asked for: a file system keeps some for itself

Fence = Callable[[], None]


def look_at_storage(
    cluster: KubernetesSettings,
    pod: Pod,
    mount: Mount,
    use: tuple[int, float],
    policy: StoragePolicy,
) -> Storage | Unread:
    """The claim under the files, and whether it may grow; the API server was asked as well.

    `use`: bytes in use, and bytes a second. Never raises for a cluster that is away or refuses.
    """
    try:
        api = Api(within(cluster, pod))
        claim = _claim(api, mount.claim)
        found = storage_of(claim, _storage_class(api, claim), *use, policy, mount.path)
    except RunbookError as error:
        return Unread(clean(str(error), _REASON_LIMIT))
    if found.decision.verdict is not Enlarging.ALLOWED:
        return found
    return replace(found, refusal=_would_refuse(cluster, pod, found))


def _would_refuse(cluster: KubernetesSettings, pod: Pod, found: Storage) -> str:
    claim = found.claim
    try:
        mender = Api(within(cluster, pod), Identity.REMEDIATE)
        kubernetes_storage.enlarge(
            mender, claim.name, found.wanted, claim.resource_version, dry_run=True
        )
    except (ClientError, BadInput) as error:
        return clean(str(error), _REASON_LIMIT)
    return ""


def enlarge(
    cluster: KubernetesSettings, pod: Pod, key: ClaimKey, fence: Fence, seconds: float
) -> tuple[str, dict[str, Any]]:
    """Ask for the new size, unless that was done, and watch volume and file system grow.

    Raises PlanStale when the claim changed since the plan, or may not grow; Transient when the API
    server does not answer: then the next call finds what was done.
    """
    until = time.monotonic() + seconds
    api = Api(within(cluster, pod))
    before = _claim(api, key.name)
    asked = before.requested < key.wanted
    if asked:
        fence()
        _ask(Api(within(cluster, pod), Identity.REMEDIATE), key)
    claim, pending = _grown(api, key, until)
    files = None if pending else _files(cluster, pod, key, until)
    result = {
        "claim": key.name,
        "asked": asked,
        "wanted": key.wanted,
        "capacity": claim.capacity,
        "pending": pending,
        "file_system": files.used + files.free if files else None,
    }
    return _said(key, claim, files, asked=asked, pending=pending), result


def _said(
    key: ClaimKey, claim: Claim, files: FileSystem | None, *, asked: bool, pending: bool
) -> str:
    first = f"{key.name} was asked for {size(key.wanted)}{'' if asked else ' already'}"
    if pending:
        return f"{first}; its file system waits for a restart of its pod ({RESIZE_PENDING})"
    if claim.capacity < key.wanted:
        return f"{first}; its volume still has {size(claim.capacity)}"
    if files is None:
        return f"{first} and has it; whether its file system has grown could not be seen"
    if not _has_grown(key, files):
        return f"{first} and has it; its file system has not grown yet"
    return f"{first} and has it; {size(files.free)} are free"


def _ask(mender: Api, key: ClaimKey) -> None:
    try:
        kubernetes_storage.enlarge(
            mender, key.name, key.wanted, key.resource_version, dry_run=False
        )
    except Conflict as error:
        raise PlanStale(f"{key.name} changed since the plan was made: {error}") from error
    except Transient:
        raise
    except ClientError as error:
        raise PlanStale(f"{key.name} was not enlarged: {error}") from error


def _grown(api: Api, key: ClaimKey, until: float) -> tuple[Claim, bool]:
    """The claim once its volume has grown, or only a new pod can use it, or the time is over."""
    since: float | None = None
    while True:
        now = time.monotonic()
        claim = _claim(api, key.name)
        if claim.capacity >= key.wanted:
            return claim, False
        since = (since or now) if claim.waits_for_pod else None
        if now >= until or (since is not None and now - since >= _PENDING_SECONDS):
            return claim, since is not None
        time.sleep(_POLL_SECONDS)


def _files(cluster: KubernetesSettings, pod: Pod, key: ClaimKey, until: float) -> FileSystem | None:
    """The file system as its pod sees it, once it has grown; None where nobody can look."""
    if not key.path:
        return None
    while True:
        try:
            found = file_system(cluster, pod, key.path)
        except ClientError:
            return None
        if _has_grown(key, found) or time.monotonic() >= until:
            return found
        time.sleep(_POLL_SECONDS)


def _has_grown(key: ClaimKey, found: FileSystem) -> bool:
    return found.used + found.free >= key.capacity + _GROWN * (key.wanted - key.capacity)


def _claim(api: Api, name: str) -> Claim:
    for each in kubernetes_storage.claims(api):
        if each.name == name:
            return each
    raise NotFound(f"expected claim {name} in namespace {api.namespace}, found none")


def _storage_class(api: Api, claim: Claim) -> StorageClass | None:
    if not claim.storage_class:
        return None
    try:
        return kubernetes_storage.storage_class(api, claim.storage_class)
    except NotFound:
        return None
