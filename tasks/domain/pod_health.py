"""What is wrong with one pod, as far as its own status shows it. Pure.

The order matters: what cannot start is no crash, and what was killed for its memory is told apart
from what ended by itself, because a restart mends the one and not the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.domain.pods import ContainerState, PodState, Stage
from tasks.domain.rollout_evidence import BAD_CONFIGURATION, CRASHING, NO_IMAGE

LATELY = timedelta(minutes=10)
"""A container that ended longer ago has run since: the kubelet forgives it then, too."""

STEADY = timedelta(minutes=1)
"""A container that serves and has run for so long is out of its loop."""

_AGAIN = 2
"""Ends in a row from which it is a loop: one may be chance."""

_ENDED = frozenset({"Succeeded", "Failed"})


class Trouble(StrEnum):
    """What keeps a pod from serving, or will soon; WELL also while it is starting or ending."""

    WELL = "well"
    STARTING = "starting"
    ENDING = "ending"
    UNREADY = "runs but is not ready"
    CRASHING = "crashes again and again"
    OUT_OF_MEMORY = "was killed for its memory"
    CANNOT_START = "cannot start"
    NO_NODE = "no node takes it"

    @property
    def is_trouble(self) -> bool:
        """Whether something has to be mended."""
        return self not in {Trouble.WELL, Trouble.STARTING, Trouble.ENDING}


@dataclass(frozen=True, slots=True)
class PodHealth:
    """A pod, what is wrong with it, and by what that is seen."""

    pod: PodState
    trouble: Trouble
    text: str = ""

    def __str__(self) -> str:
        """For people."""
        said = f" ({self.text})" if self.text else ""
        return f"{self.pod.name} {self.trouble.value}{said}"


def pod_health(pod: PodState, now: datetime, starting: timedelta) -> PodHealth:
    """What is wrong with it at `now`; one that is younger than `starting` may still be starting."""
    if pod.deleting_since is not None or pod.phase in _ENDED:
        return PodHealth(pod, Trouble.ENDING)
    if pod.unschedulable:
        return PodHealth(pod, Trouble.NO_NODE, pod.unschedulable)
    restless = [each for each in pod.containers if not (pod.ready and _is_steady(each, now))]
    for trouble, look in (
        (Trouble.CANNOT_START, _cannot_start),
        (Trouble.OUT_OF_MEMORY, _out_of_memory),
        (Trouble.CRASHING, _crashing),
    ):
        text = next(filter(None, (look(each, now) for each in restless)), "")
        if text:
            return PodHealth(pod, trouble, text)
    if pod.ready:
        return PodHealth(pod, Trouble.WELL)
    began = _began(pod)
    if began is not None and now - began < starting:
        return PodHealth(pod, Trouble.STARTING)
    return PodHealth(pod, Trouble.UNREADY, _unready(pod.containers))


def _is_steady(container: ContainerState, now: datetime) -> bool:
    return container.started_at is not None and now - container.started_at >= STEADY


def _cannot_start(container: ContainerState, _: datetime) -> str:
    found = container.reason in NO_IMAGE | BAD_CONFIGURATION
    return f"{container.name}: {container.reason}" if found else ""


def _out_of_memory(container: ContainerState, now: datetime) -> str:
    killed = container.out_of_memory and _ended_lately(container, now)
    return f"{container.name}: OOMKilled, {container.restarts} restarts" if killed else ""


def _crashing(container: ContainerState, now: datetime) -> str:
    again = container.restarts >= _AGAIN and _ended_lately(container, now) and not container.init
    if container.reason not in CRASHING and not again:
        return ""
    last = container.ended or container.last
    code = f", exit code {last.exit_code}" if last is not None else ""
    return f"{container.name}: {container.restarts} restarts{code}"


def _ended_lately(container: ContainerState, now: datetime) -> bool:
    ends = [each.finished_at for each in (container.ended, container.last) if each is not None]
    return any(at is None or now - at < LATELY for at in ends)


def _began(pod: PodState) -> datetime | None:
    """When the youngest of its processes began; a pod that was never begun, when it was made."""
    times = [pod.created_at, *(each.started_at for each in pod.containers)]
    return max((at for at in times if at is not None), default=None)


def _unready(containers: Iterable[ContainerState]) -> str:
    waiting = [each for each in containers if not each.ready]
    named = ", ".join(each.name for each in waiting[:5])
    probes = any("readiness" in each.probes for each in waiting if each.stage is Stage.RUNNING)
    return f"{named}: its readiness probe fails" if probes and named else named
