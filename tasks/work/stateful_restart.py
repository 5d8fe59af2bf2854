"""Restarting the one pod of a server: looked at as one identity, ended as the other.

An act may be called again after a kill at any instruction: the pod is named by its uid, so that its
successor is never ended, and what remains is to wait for that one.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tasks.clients import kubernetes_bounds, kubernetes_pods, kubernetes_storage
from tasks.clients.errors import ClientError, Conflict, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.kubernetes_refusals import BudgetSpent
from tasks.clients.kubernetes_workloads import stateful_set
from tasks.clients.pod_exec import Pod
from tasks.domain.alertmanager import clean
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput, PlanStale, RunbookError
from tasks.domain.instance_restart import Instance, InstanceKey, instance_of
from tasks.domain.pod_volumes import mount_of, only_claim
from tasks.domain.pods import PodState
from tasks.domain.workloads import Kind
from tasks.sections.systems import KubernetesSettings

_POLL_SECONDS = 0.3
_REASON_LIMIT = 300

Fence = Callable[[], None]


def within(cluster: KubernetesSettings, pod: Pod) -> KubernetesSettings:
    """The cluster, in the pod's own namespace."""
    return cluster.model_copy(update={"namespace": pod.namespace})


def look_at_instance(
    cluster: KubernetesSettings, pod: Pod, *, keeps_files: bool, directory: str = "", but: str = ""
) -> Instance | Unread:
    """The pod, and whether we may end it; the API server was asked as well (`dry_run=All`).

    `directory`: where the server's files are; without it they are on its only claim, that under
    `but` aside. Never raises for a cluster that is away or refuses.
    """
    try:
        api = Api(within(cluster, pod))
        state = kubernetes_pods.pod(api, pod.name)
        mounts = kubernetes_storage.mounts(api, pod.name, pod.container)
        mount = mount_of(mounts, directory) if directory else only_claim(mounts, but)
        owner = state.controller
        is_set = owner is not None and owner.kind == Kind.STATEFUL_SET
        workload = stateful_set(api, owner.name) if owner is not None and is_set else None
        found = instance_of(
            state,
            pod.container,
            mount.claim if mount else "",
            replicas=workload.replicas if workload else 1,
            siblings=kubernetes_pods.pods(api, workload.selector) if workload else [state],
            pdbs=kubernetes_bounds.pdbs(api) if workload else (),
            keeps_files=keeps_files,
        )
    except RunbookError as error:
        return Unread(clean(str(error), _REASON_LIMIT))
    if found.refusal:
        return found
    return replace(found, refusal=_would_refuse(cluster, pod, state))


def _would_refuse(cluster: KubernetesSettings, pod: Pod, state: PodState) -> str:
    try:
        mender = Api(within(cluster, pod), Identity.REMEDIATE)
        kubernetes_pods.evict(mender, state, dry_run=True)
    except (ClientError, BadInput) as error:
        return clean(f"the API server would refuse it: {error}", _REASON_LIMIT)
    return ""


def restart(
    cluster: KubernetesSettings, pod: Pod, key: InstanceKey, fence: Fence, seconds: float
) -> tuple[str, dict[str, Any]]:
    """End the pod of the key, if it is still there, and wait until its successor is ready.

    Raises PlanStale when it may not be ended any more, and Transient when the API server does not
    answer: then nothing was ended, or the next call finds that it was.
    """
    until = time.monotonic() + seconds
    api = Api(within(cluster, pod))
    found = _present(api, key.pod)
    ended = found is not None and found.uid == key.uid and found.deleting_since is None
    if found is not None and ended:
        fence()
        _evict(Api(within(cluster, pod), Identity.REMEDIATE), found)
    successor = _successor(api, key, until)
    result = {
        "pod": key.pod,
        "ended": ended,
        "uid": key.uid,
        "successor": successor.uid if successor else "",
        "ready": successor.ready if successor else False,
    }
    how = "was evicted" if ended else "had gone already"
    if successor is None:
        return f"{key.pod} {how}; no successor is there after {seconds:g} s", result
    stands = "is ready" if successor.ready else f"is not ready after {seconds:g} s"
    return f"{key.pod} {how}; its successor {stands}", result


def _evict(mender: Api, victim: PodState) -> None:
    try:
        kubernetes_pods.evict(mender, victim, dry_run=False)
    except (NotFound, Conflict):
        return  # it went by itself meanwhile
    except BudgetSpent as error:
        raise PlanStale(f"{victim.name} may not be ended now: {error}") from error
    except Transient:
        raise
    except ClientError as error:
        raise PlanStale(f"{victim.name} was not ended: {error}") from error


def _successor(api: Api, key: InstanceKey, until: float) -> PodState | None:
    """The pod of another uid, as soon as it is ready; else as it is when the time is over."""
    while True:
        found = _patiently(api, key.pod)
        fresh = found if found is not None and found.uid != key.uid else None
        if (fresh is not None and fresh.ready) or time.monotonic() >= until:
            return fresh
        time.sleep(_POLL_SECONDS)


def _present(api: Api, name: str) -> PodState | None:
    try:
        return kubernetes_pods.pod(api, name)
    except NotFound:
        return None


def _patiently(api: Api, name: str) -> PodState | None:
    try:
        return _present(api, name)
    except Transient:
        return None
