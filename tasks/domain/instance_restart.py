"""Restarting a server that has one pod: whether it may be, the remedy in words, and its key.

The pod is ended by its uid and its StatefulSet makes it anew under the same name. That is the last
resort: only of a server that does not answer inside its pod either, and never of one whose files
would go with the pod, or that nothing would make anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.causes import Remedial
from tasks.domain.disruption import why_not_now
from tasks.domain.errors import BadInput
from tasks.domain.inside import Answer, Inside
from tasks.domain.plan import PlanStep
from tasks.domain.pods import ContainerState, PodState, Stage
from tasks.domain.rollout_evidence import BAD_CONFIGURATION, NO_IMAGE
from tasks.domain.workloads import Kind, Pdb


@dataclass(frozen=True, slots=True)
class Instance:
    """The pod of a server, and whether we may end it: `refusal` says why not.

    `claim` holds the server's files; empty: they go with the pod. `state` is in words how its
    container stands; `runs` whether there is a process at all.
    """

    name: str
    uid: str
    owner: str
    ready: bool
    runs: bool
    state: str
    restarts: int = 0
    out_of_memory: bool = False
    claim: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """Which pod, and who made it: one of another uid was made after the plan."""

    pod: str
    uid: str
    owner: str

    def as_json(self) -> dict[str, Any]:
        """For a remedy's arguments and a plan's `observed`."""
        return {"pod": self.pod, "uid": self.uid, "owner": self.owner}

    @classmethod
    def of(cls, observed: Mapping[str, Any]) -> "InstanceKey":
        """As the plan names it. Raises BadInput."""
        found = [observed.get(name) for name in ("pod", "uid", "owner")]
        pod, uid, owner = (each if isinstance(each, str) else "" for each in found)
        if not pod or not uid or not owner:
            raise BadInput("expected a pod, its uid and its owner in the plan: plan again")
        return cls(pod, uid, owner)


def instance_of(
    pod: PodState,
    container: str,
    claim: str,
    *,
    replicas: int,
    siblings: Sequence[PodState],
    pdbs: Iterable[Pdb],
    keeps_files: bool,
) -> Instance:
    """The pod as it is, and what forbids restarting it.

    `replicas` of its StatefulSet, `siblings` its pods, this one included; `keeps_files`: without a
    claim under the server's files the pod may not go.
    """
    wanted = next((each for each in pod.containers if container in {"", each.name}), None)
    owner = pod.controller
    refusal = _forbidden(pod, wanted, claim, keeps_files=keeps_files)
    return Instance(
        name=pod.name,
        uid=pod.uid,
        owner=f"{owner.kind}/{owner.name}" if owner else "",
        ready=pod.ready,
        runs=wanted is not None and wanted.stage is Stage.RUNNING,
        state=_state(pod, wanted),
        restarts=wanted.restarts if wanted else 0,
        out_of_memory=wanted.out_of_memory if wanted else False,
        claim=claim,
        refusal=refusal or why_not_now(pod, siblings, replicas, pdbs),
    )


def is_silent(inside: Inside, instance: Instance | None) -> bool:
    """Whether the server does not answer in its own pod either, or has no process there."""
    return inside.answer is Answer.SILENT or (instance is not None and not instance.runs)


def restart_remedial(step: str, instance: Instance, target: str, destroys: str) -> Remedial | None:
    """The remedy, where it may be offered."""
    if instance.refusal:
        return None
    key = InstanceKey(instance.name, instance.uid, instance.owner)
    action = (
        f"restart pod {instance.name}: it is evicted by its uid, and {instance.owner} makes it anew"
    )
    return Remedial(step, action, target, destroys, key.as_json())


def restart_steps(remedy: Remedial) -> tuple[PlanStep, ...]:
    """The one step."""
    return (PlanStep(remedy.step, remedy.action, remedy.target, remedy.destroys),)


def described(instance: Instance) -> str:
    """The pod in one line of a cause's evidence."""
    memory = ", was killed for its memory" if instance.out_of_memory else ""
    return f"pod {instance.name} {instance.state}, {instance.restarts} restarts{memory}"


def _forbidden(
    pod: PodState, container: ContainerState | None, claim: str, *, keeps_files: bool
) -> str:
    owner = pod.controller
    if owner is None:
        return f"pod {pod.name} has no controller: nothing would make it anew"
    if owner.kind != Kind.STATEFUL_SET:
        return f"pod {pod.name} belongs to {owner.kind} {owner.name}: a new one has another name"
    if keeps_files and not claim:
        return f"the files of pod {pod.name} lie on no claim: they would go with it"
    return _vain(pod, container)


def _vain(pod: PodState, container: ContainerState | None) -> str:
    """Why another pod would be no better off than this one."""
    if pod.deleting_since is not None:
        return f"pod {pod.name} is on its way out already: wait, or look at its node"
    if pod.unschedulable:
        return f"no node takes pod {pod.name}: {pod.unschedulable}"
    reason = container.reason if container is not None else ""
    if reason in NO_IMAGE:
        return f"the image of pod {pod.name} cannot be had ({reason})"
    if reason in BAD_CONFIGURATION:
        return f"pod {pod.name} cannot be started as it is written ({reason})"
    return ""


def _state(pod: PodState, container: ContainerState | None) -> str:
    if pod.deleting_since is not None:
        return "is being taken away"
    if container is None:
        return f"is {pod.phase or 'unknown'}"
    reason = container.reason or (container.ended.reason if container.ended else "")
    ready = "" if pod.ready else ", not ready"
    return f"is {container.stage}{f' ({reason})' if reason else ''}{ready}"
