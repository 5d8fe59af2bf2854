"""A change of how many replicas run, in words that a person can say yes to, and its way back.

What is changed is the workload itself or, where an autoscaler governs it, the autoscaler's minimum.
The change names what the object must still say before it is touched; the same value tells the way
back where to go, and the new one tells a run that died that the change was made already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from tasks.domain.causes import Cause, Remedial
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.holds import workload_target
from tasks.domain.json_fields import Fields
from tasks.domain.plan import NOTHING, Plan, PlanStep
from tasks.domain.restart_plan import restart_steps
from tasks.domain.scaling import Bound, Means, Scaling, Surroundings
from tasks.domain.workloads import Deployment, Kind, StatefulSet

PROCEDURE = "scaling"

SCALE_API = "api.resolution.scale"
SCALE_WORKERS = "recovery.scale.workers"
SCALE_API_BY_HAND = "recovery.scale.api"
RETURN_SCALE = "scale.return"

SCALED_PARTS = {"api": SCALE_API_BY_HAND, "workers": SCALE_WORKERS}
"""What a person may have scaled, and by which step."""

ASKED = "wish.replicas"
"""The cause of a scaling that a person wants: there is nothing wrong."""

_KEY = "scale"
_QUEUE = "queue"
_CONSUMED = "consumed_per_second"
_WORK = "what the pods that go are doing, if it takes longer than their grace period"


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """From `former` to `replicas`, by `means` of the object named `through`.

    `step` is the plan's step that makes the change: SCALE_API or SCALE_WORKERS. `former` is what
    the object said when it was planned: the workload's replicas, or the autoscaler's minimum.
    `present` are the replicas that the workload had then.
    """

    step: str
    kind: Kind
    name: str
    means: Means
    through: str
    present: int
    former: int
    replicas: int

    @property
    def target(self) -> str:
        """The workload, as plans, holds and locks name it."""
        return workload_target(self.kind, self.name)

    @property
    def ends_pods(self) -> bool:
        """Whether there will be fewer than now."""
        return self.replicas < self.present

    def as_json(self) -> dict[str, Any]:
        """For a plan's observed state; read again by `of`."""
        return {
            "step": self.step,
            "kind": self.kind.value,
            "name": self.name,
            "means": self.means.value,
            "through": self.through,
            "present": self.present,
            "former": self.former,
            "replicas": self.replicas,
        }

    @classmethod
    def of(cls, plan: Plan | None) -> Self:
        """What an approved plan changes. Raises PlanStale without such a plan, BadInput."""
        if plan is None or _KEY not in plan.observed:
            raise PlanStale("expected an approved plan that scales, found none: make a new one")
        found = Fields.of("planned scale", plan.observed[_KEY])
        kind, means = found.exact("kind"), found.exact("means")
        if kind not in set(Kind) or means not in set(Means):
            raise BadInput(f"expected a workload and means, found {kind[:40]!a}, {means[:40]!a}")
        return cls(
            step=found.exact("step"),
            kind=Kind(kind),
            name=found.exact("name"),
            means=Means(means),
            through=found.exact("through"),
            present=found.number("present"),
            former=found.number("former"),
            replicas=found.number("replicas"),
        )


def change_of(
    step: str, workload: Deployment | StatefulSet, decided: Scaling, around: Surroundings
) -> ScaleChange:
    """The change that a decision of `tasks.domain.scaling` allows."""
    governors = {each.name: each for each in around.hpas or ()}
    is_governed = decided.means is Means.AUTOSCALER_MINIMUM
    return ScaleChange(
        step=step,
        kind=Kind.DEPLOYMENT if isinstance(workload, Deployment) else Kind.STATEFUL_SET,
        name=workload.name,
        means=decided.means,
        through=decided.through,
        present=workload.replicas,
        former=governors[decided.through].minimum if is_governed else workload.replicas,
        replicas=decided.replicas,
    )


def scale_remedial(
    step: str, workload: Deployment | StatefulSet, decided: Scaling, around: Surroundings
) -> Remedial:
    """What a cause names as its remedy; `step` is SCALE_API or SCALE_WORKERS."""
    change = change_of(step, workload, decided, around)
    why = f"; no further, because of {decided.decided_by}" if decided.decided_by else ""
    return Remedial(
        step=step,
        action=f"{described(change)}{why}",
        target=change.target,
        destroys=_WORK if change.ends_pods else NOTHING,
        arguments={
            _KEY: change.as_json(),
            "bounds": bounds_text(decided.bounds),
            "unknown_bounds": list(decided.unknown),
        },
    )


def scale_steps(remedy: Remedial) -> tuple[PlanStep, PlanStep]:
    """The change, and its way back should the cause not be gone by it."""
    found = remedy.arguments[_KEY]
    what = "minimum" if found["means"] == Means.AUTOSCALER_MINIMUM else "number of replicas"
    return (
        PlanStep(remedy.step, remedy.action, remedy.target, remedy.destroys),
        PlanStep(
            RETURN_SCALE,
            f"should it not help: back to the former {what}, {found['former']}, unless somebody "
            "else has changed it since",
            remedy.target,
            NOTHING if found["replicas"] < found["present"] else _WORK,
        ),
    )


def plan_scaling(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """The plan against a cause that more workers, or new ones, mend. Raises BadInput without."""
    remedy = cause.remedy
    if remedy is None:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=scale_steps(remedy) if scales(remedy.arguments) else restart_steps(remedy),
        observed={"cause": cause.code, **remedy.arguments, **_rate_seen(cause)},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
    )


def consumed_before(plan: Plan | None) -> float | None:
    """Tasks a second that were taken when the plan was made; None where it does not say so."""
    queue = plan.observed.get(_QUEUE) if plan is not None else None
    found = queue.get(_CONSUMED) if isinstance(queue, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if found >= 0 else None


def _rate_seen(cause: Cause) -> dict[str, Any]:
    found = cause.evidence.get(_CONSUMED)
    return {} if found is None else {_QUEUE: {_CONSUMED: found}}


def scales(arguments: Mapping[str, Any]) -> bool:
    """Whether a remedy or a plan with these arguments changes how many replicas run."""
    return _KEY in arguments


def described(change: ScaleChange) -> str:
    """What the change is, in one line."""
    if change.means is Means.AUTOSCALER_MINIMUM:
        return (
            f"raise the minimum of the autoscaler {change.through}, which governs {change.target}, "
            f"from {change.former} to {change.replicas}"
        )
    return f"scale {change.target} from {change.former} to {change.replicas} replicas"


def bounds_text(bounds: Sequence[Bound]) -> list[str]:
    """Each bound with its reason, the narrowest first."""
    ordered = sorted(bounds, key=lambda each: (each.replicas, each.source))
    return [f"{each.replicas}: {each.source}" for each in ordered]
