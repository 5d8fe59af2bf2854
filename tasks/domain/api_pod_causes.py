"""What the API's pods themselves show: crash loops, want of memory, readiness, no node. Pure.

A restart mends what is wrong with one pod alone: its siblings of the same template serve. What is
wrong with all of them is in their template, in their load or in what they need.
"""

from collections.abc import Iterable, Sequence

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_need_causes import COMPONENT
from tasks.domain.api_readings import ApiReadings, known, troubled
from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.pod_health import PodHealth, Trouble
from tasks.domain.restart_plan import choose, fitting_remedial

_NAMED = 10
_EVENTS = 5
_KILLED = Trouble.OUT_OF_MEMORY


def pod_causes(
    seen: ApiReadings, healths: Sequence[PodHealth], limits: ApiLimits, *, explained: bool
) -> Iterable[Cause]:
    """Of the pods whose revision is not to blame. `explained`: something that they need is away."""
    yield from _missing(seen)
    yield from _no_node(troubled(healths, Trouble.NO_NODE))
    yield from _falling(seen, healths, limits, Trouble.CRASHING, explained=explained)
    if not widely_killed(healths):
        yield from _falling(seen, healths, limits, _KILLED, explained=explained)
    yield from _unready(seen, healths, limits, explained=explained)


def widely_killed(healths: Sequence[PodHealth]) -> bool:
    """Whether half of the pods were killed for their memory: then it is the load, not a pod."""
    return bool(healths) and 2 * len(troubled(healths, _KILLED)) >= max(2, len(healths))


def _falling(
    seen: ApiReadings,
    healths: Sequence[PodHealth],
    limits: ApiLimits,
    trouble: Trouble,
    *,
    explained: bool,
) -> Iterable[Cause]:
    """Pods that end again and again, or were killed for their memory."""
    found = troubled(healths, trouble)
    if not found:
        return
    alone = [each for each in found if _has_well_sibling(each, healths)]
    passed = all(each.pod.ready for each in found) and trouble is _KILLED
    remedy, why = (None, "")
    if explained:
        why = "; what they need is away, and that comes first"
    elif passed:
        why = "; it serves again"
    elif not alone:
        why = "; all of them do: the kubelet restarts them by itself, and that does not help"
    else:
        remedy, why = _restart(seen, alone, limits)
    yield Cause(
        "api.out-of-memory" if trouble is _KILLED else "api.crash-looping",
        COMPONENT,
        Confidence.POSSIBLE if explained or passed else Confidence.LIKELY,
        f"{_counted(found, healths)} {trouble.value} ({found[0].text}){why}",
        _evidence(seen, found),
        remedy,
    )


def _unready(
    seen: ApiReadings, healths: Sequence[PodHealth], limits: ApiLimits, *, explained: bool
) -> Iterable[Cause]:
    found = troubled(healths, Trouble.UNREADY)
    if not found:
        return
    remedy, why = (None, "; what they need is away") if explained else _restart(seen, found, limits)
    yield Cause(
        "api.unhealthy-pods",
        COMPONENT,
        Confidence.POSSIBLE if explained else Confidence.LIKELY,
        f"{_counted(found, healths)} run but are not ready ({found[0].text}){why}",
        _evidence(seen, found),
        remedy,
    )


def _no_node(found: Sequence[PodHealth]) -> Iterable[Cause]:
    if found:
        yield Cause(
            "api.no-node",
            COMPONENT,
            Confidence.LIKELY,
            f"no node takes {len(found)} pods: {found[0].text}",
            {"pods": [str(each) for each in found[:_NAMED]]},
        )


def _missing(seen: ApiReadings) -> Iterable[Cause]:
    """A workload that is told to have none, or whose pods cannot even be made."""
    looked = known(seen.looked)
    if looked is None:
        return
    workload = looked.workload
    if workload.replicas == 0:
        yield Cause(
            "api.scaled-to-zero",
            COMPONENT,
            Confidence.PROVEN,
            f"{looked.target} is told to have no pods: somebody has shut it down",
            {"replicas": 0},
        )
    failing = [each for each in getattr(workload, "conditions", ()) if _is_failure(each)]
    if failing:
        yield Cause(
            "api.pods-not-made",
            COMPONENT,
            Confidence.LIKELY,
            f"pods of {looked.target} cannot be made: {failing[0].message}",
            {"reason": failing[0].reason},
        )


def _restart(
    seen: ApiReadings, found: Sequence[PodHealth], limits: ApiLimits
) -> tuple[Remedial | None, str]:
    """The remedy, and what has to be said of it."""
    looked, pods = known(seen.looked), known(seen.pods) or ()
    if looked is None:
        return None, "; their workload could not be read"
    if seen.restarts_lately >= limits.restarts_per_hour:
        return None, (
            f"; pods of it were restarted {seen.restarts_lately} times within the hour: something "
            "repeats"
        )
    around = known(seen.around)
    budgets = (around.pdbs if around else None) or ()
    replicas = looked.workload.replicas
    chosen, left_out = choose([each.pod for each in found], pods, replicas, limits.caps)
    remedy, why = fitting_remedial(looked.workload, chosen, pods, budgets, seen.at, limits.caps)
    said = "; ".join(filter(None, (why, *left_out[:_NAMED])))
    return remedy, f"; left out: {said}" if said else ""


def _has_well_sibling(health: PodHealth, healths: Sequence[PodHealth]) -> bool:
    owner = health.pod.controller
    return owner is not None and any(
        each.trouble is Trouble.WELL
        and each.pod.controller is not None
        and each.pod.controller.uid == owner.uid
        for each in healths
    )


def _counted(found: Sequence[PodHealth], healths: Sequence[PodHealth]) -> str:
    return f"{len(found)} of {len(healths)} pods"


def _evidence(seen: ApiReadings, found: Sequence[PodHealth]) -> dict[str, object]:
    uids = {each.pod.uid for each in found}
    events = [each for each in known(seen.events) or () if each.warning and each.uid in uids]
    return {
        "pods": [str(each) for each in found[:_NAMED]],
        "events": [f"{each.reason}: {each.message}" for each in events[-_EVENTS:]],
    }


def _is_failure(condition: object) -> bool:
    return (
        getattr(condition, "type", "") == "ReplicaFailure"
        and getattr(condition, "status", "") == "True"
    )
