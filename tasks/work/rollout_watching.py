"""A rollout followed to its end, as `kubectl rollout status` does, with a deadline.

A StatefulSet needs help on its way back: its controller waits for a broken pod of the revision that
is left, which never gets ready, so such pods are evicted, each once.
"""

import time
from collections.abc import Callable, Iterator

from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import Conflict, Denied, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_watch import deployment_changes
from tasks.domain.pods import PodState
from tasks.domain.rollback_plan import Planned
from tasks.domain.rollout_look import Looked, template_digest
from tasks.domain.rollout_status import Progress, RolloutStatus
from tasks.domain.workloads import Deployment, Kind, StatefulSet

REVISION_LABEL = "controller-revision-hash"

_POLL_SECONDS = 0.5

Fence = Callable[[], None]
Told = Callable[[int, int], None]
"""Is told how many pods are done, of how many."""


def followed(
    reader: Api, mender: Api, planned: Planned, seconds: float, fence: Fence, told: Told
) -> RolloutStatus:
    """Where the rollout ended: DONE, FAILED (with the reason) or what it was at the deadline."""
    end = time.monotonic() + seconds
    last = RolloutStatus(Progress.UNOBSERVED, f"{planned.name}: nothing was seen of it")
    evicted: set[str] = set()
    for found in _looks(reader, planned, end):
        if template_digest(found.template.content) != planned.wanted.template:
            return RolloutStatus(
                Progress.FAILED, f"{planned.name}: another template came in the middle of it"
            )
        last = Looked(found, ()).status
        told(_done(found), found.replicas)
        if last.progress.final:
            return last
        if isinstance(found, StatefulSet):
            _make_way(reader, mender, found, planned, fence, evicted)
    if time.monotonic() < end:
        return RolloutStatus(Progress.FAILED, f"{planned.name}: it was deleted in the middle of it")
    return RolloutStatus(last.progress, f"{last.text}, not finished within {seconds:g} s")


def _looks(reader: Api, planned: Planned, end: float) -> Iterator[Deployment | StatefulSet]:
    """Until the end, or until it is deleted."""
    if planned.kind is Kind.DEPLOYMENT:
        try:
            left = max(0.0, end - time.monotonic())
            yield from deployment_changes(reader, planned.name, seconds=left)
        except (Denied, Transient):  # without the grant, or the very first list: asked again below
            yield from _asked(lambda: workloads.deployment(reader, planned.name), end)
    else:
        yield from _asked(lambda: workloads.stateful_set(reader, planned.name), end)


def _asked(
    look: Callable[[], Deployment | StatefulSet], end: float
) -> Iterator[Deployment | StatefulSet]:
    while time.monotonic() < end:
        try:
            yield look()
        except NotFound:
            return
        except Transient:
            pass  # the change is made: what cannot be seen now is seen later, or at the deadline
        time.sleep(max(0.0, min(_POLL_SECONDS, end - time.monotonic())))


def _done(found: Deployment | StatefulSet) -> int:
    if isinstance(found, Deployment):
        return min(found.updated, found.available)
    return min(found.updated, found.ready)


def _make_way(
    reader: Api,
    mender: Api,
    stateful: StatefulSet,
    planned: Planned,
    fence: Fence,
    evicted: set[str],
) -> None:
    for pod in _broken(reader, stateful, planned):
        if pod.uid in evicted:
            continue
        fence()
        try:
            cluster_pods.evict(mender, pod, dry_run=False)
        except (Conflict, NotFound):
            pass  # its name belongs to a newer pod, or to none
        except Transient:
            continue  # the budget allows none now: once more at the next look
        evicted.add(pod.uid)


def _broken(reader: Api, stateful: StatefulSet, planned: Planned) -> list[PodState]:
    """Pods of the revision that is left which do not serve anyway."""
    try:
        pods = cluster_pods.pods(reader, stateful.selector)
    except Transient:
        return []
    return [
        each
        for each in pods
        if each.labels.get(REVISION_LABEL) == planned.left.holder
        and not each.ready
        and each.deleting_since is None
        and each.controller is not None
        and each.controller.uid == stateful.uid
    ]
