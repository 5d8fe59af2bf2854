"""Restarting pods one by one: which, in what order, in words that a person can say yes to. Pure.

A pod is named by its uid, so that its successor of the same name is never taken for it. What is
evicted is made anew by its controller; the next one goes only when that one is ready.

Where so few pods serve that the disruption budget lets not even the others go, waiting would never
end. Then the workload is rolled out once more, as `kubectl rollout restart` does: its controller
replaces its pods within the bounds of its own strategy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.causes import Remedial
from tasks.domain.disruption import RestartCaps, choose_restarts, why_not_now
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.holds import workload_target
from tasks.domain.json_fields import Fields
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.pods import PodState
from tasks.domain.rollout_look import template_digest
from tasks.domain.workloads import Deployment, Kind, Pdb, StatefulSet

RESTART = "api.resolution.restart"

DESTROYS = (
    "what these pods hold in memory and in file systems of their own; requests under way get the "
    "pods' grace period"
)

_KEY = "restart"
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_MOST = 200
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Victim:
    """A pod to restart; `unready` as it was when the plan was made."""

    name: str
    uid: str
    unready: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """The workload, the pods to restart in their order, and all that there were then, by uid.

    A pod of the workload that is not in `present` was made since: it is a successor. `rolled_at` is
    the time of the decision where the whole workload is rolled out once more, else empty: its
    template says it when that was done.
    """

    kind: Kind
    name: str
    uid: str
    template: str
    pods: tuple[Victim, ...]
    present: frozenset[str]
    rolled_at: str = ""

    @property
    def target(self) -> str:
        """The workload, as plans, holds and locks name it."""
        return workload_target(self.kind, self.name)

    def as_json(self) -> dict[str, Any]:
        """For a remedy's arguments and a plan's `observed`; read again by `restart_in`."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "uid": self.uid,
            "template": self.template,
            "pods": [
                {"name": each.name, "uid": each.uid, "unready": each.unready} for each in self.pods
            ],
            "present": sorted(self.present),
            "rolled_at": self.rolled_at,
        }


def choose(
    asked: Iterable[PodState], all_pods: Sequence[PodState], replicas: int, caps: RestartCaps
) -> tuple[tuple[PodState, ...], tuple[str, ...]]:
    """Those of the `asked` that may be restarted, in order, and why others may not.

    Pods that serve nobody are bounded by number alone: to end them takes nothing from anybody, and
    each is proven to help before the next one goes. Of those that serve, the share counts as well.
    """
    wanted = list(asked)
    idle = [each for each in wanted if not each.ready]
    first = choose_restarts(idle, all_pods, replicas, RestartCaps(1.0, caps.number))
    left = caps.number - len(first.pods)
    serving = [each for each in wanted if each.ready]
    if not serving or left < 1:
        more = tuple(f"{each.name}: the cap of {caps.number} is reached" for each in serving)
        return first.pods, first.left_out + more
    then = choose_restarts(serving, all_pods, replicas, RestartCaps(caps.share, left))
    return first.pods + then.pods, first.left_out + then.left_out


def restart_remedial(
    workload: Deployment | StatefulSet, chosen: Sequence[PodState], all_pods: Sequence[PodState]
) -> Remedial | None:
    """The remedy that evicts the chosen pods one by one; None when there is none."""
    if not chosen:
        return None
    pods = named([each.name for each in chosen])
    order = " one by one, each only after the one before it has a ready successor"
    action = f"restart {pods}{order if len(chosen) > 1 else ''}: evicted within the disruption "
    action += "budgets, made anew by its controller"
    return _remedial(_restart_of(workload, chosen, all_pods), action)


def rolling_remedial(
    workload: Deployment | StatefulSet,
    chosen: Sequence[PodState],
    all_pods: Sequence[PodState],
    now: datetime,
    blocked: str,
) -> Remedial:
    """The remedy that rolls the workload out once more, because evictions are `blocked`."""
    restart = _restart_of(workload, chosen, all_pods, now.strftime(_STAMP))
    action = (
        f"restart all {len(all_pods)} pods of {restart.target} by one more rollout, as kubectl "
        f"rollout restart does: they cannot be evicted, because {blocked}"
    )
    return _remedial(restart, action)


def fitting_remedial(
    workload: Deployment | StatefulSet,
    chosen: Sequence[PodState],
    all_pods: Sequence[PodState],
    pdbs: Iterable[Pdb],
    now: datetime,
    caps: RestartCaps,
) -> tuple[Remedial | None, str]:
    """Evictions where the budgets ever allow them, else one more rollout; or why neither."""
    blocked = why_never(chosen, workload.replicas, all_pods, pdbs)
    if not blocked:
        return restart_remedial(workload, chosen, all_pods), ""
    serving = sum(each.ready for each in all_pods)
    if workload.replicas > caps.number or serving > caps.of(workload.replicas):
        return None, f"{blocked}, and too many others would go with them"
    return rolling_remedial(workload, chosen, all_pods, now, blocked), ""


def why_never(
    chosen: Sequence[PodState],
    replicas: int,
    all_pods: Sequence[PodState],
    pdbs: Iterable[Pdb],
) -> str:
    """What keeps pods that serve nobody from being evicted, for as long as they do not serve."""
    budgets = list(pdbs)
    whys = [why_not_now(each, all_pods, replicas, budgets) for each in chosen if not each.ready]
    return whys[0] if whys and all(whys) else ""


def restart_steps(remedy: Remedial) -> tuple[PlanStep, ...]:
    """The one step: what was restarted cannot be taken back."""
    return (PlanStep(remedy.step, remedy.action, remedy.target, remedy.destroys),)


def restart_in(plan: Plan | None) -> Restart:
    """What an approved plan restarts. Raises PlanStale without such a plan, BadInput."""
    if plan is None or _KEY not in plan.observed:
        raise PlanStale("expected an approved plan that restarts pods, found none: make a new one")
    return read_restart(plan.observed[_KEY])


def read_restart(value: object) -> Restart:
    """As `Restart.as_json` wrote it. Raises BadInput."""
    found = Fields.of("planned restart", value)
    kind = found.exact("kind")
    if kind not in set(Kind):
        raise BadInput(f"expected a workload of {', '.join(Kind)}, found {kind[:40]!r}")
    restart = Restart(
        kind=Kind(kind),
        name=found.exact("name"),
        uid=found.exact("uid"),
        template=found.exact("template"),
        pods=tuple(
            Victim(each.exact("name"), each.exact("uid"), each.flag("unready"))
            for each in found.each("pods", _MOST)
        ),
        present=frozenset(found.texts("present", _MOST * 50)),
        rolled_at=found.exact("rolled_at"),
    )
    if not restart.name or not restart.uid or not restart.pods:
        raise BadInput("expected a restart that names its workload and pods, found none")
    return restart


def what_is_left(restart: Restart, pods: Iterable[PodState]) -> tuple[Victim, ...]:
    """Of the planned pods those that are still there, still as bad as they were, and not going."""
    there: Mapping[str, PodState] = {each.uid: each for each in pods}
    found = [(victim, there.get(victim.uid)) for victim in restart.pods]
    return tuple(
        victim
        for victim, pod in found
        if pod is not None and pod.deleting_since is None and not (victim.unready and pod.ready)
    )


def successors_missing(restart: Restart, pods: Sequence[PodState], replicas: int) -> int:
    """How many successors of pods that are gone are not ready yet.

    Told from the state alone, so that a run that died before its record finds out the same: a pod
    that is not among those of the plan was made since. A workload that is smaller by now makes no
    more pods than it is told to have.
    """
    there = {each.uid for each in pods if each.deleting_since is None}
    gone = sum(victim.uid not in there for victim in restart.pods)
    remaining = sum(uid in restart.present for uid in there)
    fresh = sum(each.ready and each.uid not in restart.present for each in pods)
    return max(0, min(gone, replicas - remaining) - fresh)


def named(names: Sequence[str]) -> str:
    """Pods in words."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"pod{'s' if len(names) > 1 else ''} {', '.join(names[:_NAMED])}{more}"


def _restart_of(
    workload: Deployment | StatefulSet,
    chosen: Sequence[PodState],
    all_pods: Sequence[PodState],
    rolled_at: str = "",
) -> Restart:
    return Restart(
        kind=Kind.DEPLOYMENT if isinstance(workload, Deployment) else Kind.STATEFUL_SET,
        name=workload.name,
        uid=workload.uid,
        template=template_digest(workload.template.content),
        pods=tuple(Victim(each.name, each.uid, not each.ready) for each in chosen),
        present=frozenset(each.uid for each in all_pods),
        rolled_at=rolled_at,
    )


def _remedial(restart: Restart, action: str) -> Remedial:
    return Remedial(
        step=RESTART,
        action=action,
        target=restart.target,
        destroys=DESTROYS,
        arguments={_KEY: restart.as_json()},
    )
