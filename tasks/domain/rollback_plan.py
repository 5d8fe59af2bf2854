"""The plan that takes a workload back to a revision that was healthy, and returns if that fails.

What it names stays true for as long as people need to decide: the workload by uid, both revisions
by their holders and by digests of their templates. A resourceVersion is none of it, because every
status report makes a new one; the patch gets the newest, just before it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks.domain.causes import Cause, Remedial
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.holds import workload_target
from tasks.domain.json_fields import Fields
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.rollback_place import Place, read_place
from tasks.domain.rollout import AlreadyThere, Undo, known_good
from tasks.domain.rollout_history import CannotUndo, Why
from tasks.domain.rollout_look import Looked, template_digest
from tasks.domain.rollout_status import Progress
from tasks.domain.template_changes import template_changes
from tasks.domain.untrusted import visible
from tasks.domain.workloads import Kind, Revision

PROCEDURE = "rollback"
UNDO = "recovery.rollback.undo"
RETURN = "recovery.rollback.return"
"""The conditional step: only if the rollback has not helped."""

DESTROYS = (
    "what the pods of the revision that is left hold in memory and in file systems of their own; "
    "requests under way get the pods' grace period"
)
_EVICTS = (
    "; its pods of that revision that do not serve are evicted, because their controller waits"
)

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WayBack:
    """From the `bad` revision to the `good` one, which is believed in `because` of evidence."""

    looked: Looked
    bad: Revision
    good: Revision
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan's arguments name: the workload, where from and where to."""

    kind: Kind
    name: str
    uid: str
    bad: Place
    good: Place
    back: bool = False
    """Whether it is the return from a rollback that did not help."""

    @property
    def target(self) -> str:
        """`deployment/rlhf-audit-trail`."""
        return workload_target(self.kind.value, self.name)

    @property
    def wanted(self) -> Place:
        """Where the step leads."""
        return self.bad if self.back else self.good

    @property
    def left(self) -> Place:
        """What the step takes out of service."""
        return self.good if self.back else self.bad

    def returning(self) -> "Planned":
        """The same way in the other direction."""
        return replace(self, back=True)


def way_back(
    looked: Looked, suspects: frozenset[str] = frozenset(), wanted: str = ""
) -> WayBack | CannotUndo:
    """Where to go back to: the newest revision that was healthy by evidence.

    `suspects` are holders that a diagnosis blames beside the current one; `wanted` is the holder of
    the revision that a person has named, who needs no evidence. CannotUndo says why in words.
    """
    bad = _current(looked)
    if isinstance(bad, CannotUndo):
        return bad
    if wanted:
        found = _named(looked, wanted)
    else:
        found = known_good(looked.revisions, looked.evidence, suspects)
    if isinstance(found, CannotUndo):
        return found
    decided = looked.undo(*found)
    if isinstance(decided, CannotUndo):
        return decided
    if isinstance(decided, AlreadyThere):
        return CannotUndo(Why.ALREADY_THERE, decided.text)
    return WayBack(looked, bad, *found)


def undo_remedial(way: WayBack) -> Remedial:
    """What mends a cause of which the current revision is to blame."""
    bad, good = Place.of(way.bad), Place.of(way.good)
    workload = way.looked.workload
    changes = template_changes(workload.template.content, way.good.template.content)
    evicts = _EVICTS if way.looked.kind is Kind.STATEFUL_SET else ""
    return Remedial(
        step=UNDO,
        action=f"take {way.looked.target} back from {bad} to {good}, known good: "
        f"{visible(way.because[0], 200)}{evicts}",
        target=way.looked.target,
        destroys=DESTROYS,
        arguments={
            "workload": {
                "kind": way.looked.kind.value,
                "name": workload.name,
                "uid": workload.uid,
            },
            "bad": bad.as_json(),
            "good": good.as_json(),
            "because": [visible(each, 200) for each in way.because[:_SHOWN]],
            "changes": list(changes),
        },
    )


def undo_steps(remedial: Remedial) -> tuple[PlanStep, PlanStep]:
    """The undo, and the return, which is carried out only if the undo did not help."""
    planned = read_planned(remedial.arguments)
    return (
        PlanStep(UNDO, remedial.action, remedial.target, remedial.destroys),
        PlanStep(
            RETURN,
            f"only if the rollback fails, or the trouble is still there after it: return to "
            f"{planned.bad}",
            remedial.target,
            DESTROYS,
        ),
    )


def plan_rollback(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """The whole plan. Raises BadInput when the cause has no such remedy."""
    remedy = cause.remedy
    if remedy is None or remedy.step != UNDO:
        raise BadInput(f"expected a cause that a rollback mends, found {cause.code}")
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=undo_steps(remedy),
        observed={"cause": cause.code, **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
        approvers_needed=approvers_of(read_planned(remedy.arguments)),
    )


def approvers_of(planned: Planned) -> int:
    """Two people for a StatefulSet: it keeps state, which another release may not understand."""
    return 2 if planned.kind is Kind.STATEFUL_SET else 1


def read_planned(arguments: Mapping[str, Any]) -> Planned:
    """What the arguments of the remedy name. Raises BadInput for anything else."""
    found = Fields.of("arguments of a rollback", dict(arguments))
    workload = found.within("workload")
    kind = workload.exact("kind")
    if kind not in set(Kind):
        raise BadInput(f"expected a workload of {', '.join(Kind)}, found {kind[:40]!r}")
    planned = Planned(
        kind=Kind(kind),
        name=workload.exact("name"),
        uid=workload.exact("uid"),
        bad=read_place(found.within("bad")),
        good=read_place(found.within("good")),
    )
    if not planned.name or not planned.uid:
        raise BadInput("expected a rollback that names its workload, found none")
    return planned


def planned_in(plan: Plan | None) -> Planned:
    """What the standing plan takes back. Raises PlanStale without one, BadInput."""
    if plan is None or UNDO not in {each.step for each in plan.steps}:
        raise PlanStale("expected an approved plan to roll back, found none: make a new one")
    return read_planned(plan.observed)


def next_change(looked: Looked, planned: Planned) -> Undo | AlreadyThere:
    """What is left to do of the step; raises PlanStale when something else has happened.

    An undo that was applied, and whose run died before it was recorded, is AlreadyThere. It is not
    applied again either when a person has meanwhile gone to the bad revision once more: then that
    revision has a newer number.
    """
    if looked.workload.uid != planned.uid:
        raise _stale(planned, "it was deleted and made anew")
    if looked.paused:
        raise _stale(planned, "it is paused: resume it first")
    if isinstance(looked.history, CannotUndo):
        raise _stale(planned, looked.history.text)
    wanted = looked.held_by(planned.wanted.holder, planned.wanted.uid)
    if looked.template == planned.wanted.template:
        text = f"{planned.target} is at the template of {planned.wanted} already"
        current = wanted or looked.current
        if current is None:
            raise _stale(planned, "its controller has not numbered the revision yet")
        return AlreadyThere(current, text)
    bad = looked.held_by(planned.bad.holder, planned.bad.uid)
    if looked.template != planned.left.template or (
        bad is None or bad.number != planned.bad.number
    ):
        raise _stale(planned, "another revision was released, or this one once more")
    if wanted is None or template_digest(wanted.template.content) != planned.wanted.template:
        raise _stale(planned, f"{planned.wanted} is no longer kept")
    decided = looked.undo(wanted)
    if isinstance(decided, CannotUndo):
        raise _stale(planned, decided.text)
    return decided


def _current(looked: Looked) -> Revision | CannotUndo:
    if isinstance(looked.history, CannotUndo):
        return looked.history
    if looked.status.progress is Progress.UNWATCHABLE:
        return CannotUndo(Why.BY_HAND, f"{looked.status.text}: go back by hand")
    text = "the current revision is not in the history: wait for the controller"
    return looked.current or CannotUndo(Why.UNKNOWN_REVISION, text)


def _named(looked: Looked, holder: str) -> tuple[Revision, tuple[str, ...]] | CannotUndo:
    found = next((each for each in looked.revisions if each.holder == holder), None)
    if found is None:
        return CannotUndo(
            Why.UNKNOWN_REVISION, f"{visible(holder, 80)} is not in the history of {looked.target}"
        )
    return found, ("a person has named this revision",)


def _stale(planned: Planned, why: str) -> PlanStale:
    return PlanStale(f"{planned.target} is not what the plan was made against: {why}")
