"""The plan of putting back what proves the sealed log, in words that a person can say yes to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger.verdicts import INFORMATIONAL
from tasks.domain.log_rebuild import (
    MAX_RUNS,
    Consistency,
    Mode,
    Ordered,
    Survey,
    Why,
    ranges_in_words,
)
from tasks.domain.plan import NOTHING, Plan, PlanStep
from tasks.domain.recovery_plan import SWAP, is_damage

REBUILD = "audit.resolution.rebuild"
PROCEDURE = "log_rebuild"
TARGET = "sealed-log/audit"
"""The sealed audit log in the object store, as holds, locks and plans name it."""

_STORED = frozenset({"store", "anchor"})
_NAMED_RUNS = 40
_PATIENCE = 3


def is_stored_damage(finding: Mapping[str, Any]) -> bool:
    """Whether a journaled finding speaks against what is stored to prove the log."""
    return finding.get("source") in _STORED and finding.get("code") not in INFORMATIONAL


def plan_log_rebuild(incident: str, found: Survey, expires_at: datetime) -> Plan:
    """One step, which lists every object by its path (tiles side by side as a run).

    Nothing is destroyed and nothing is signed: what is damaged stays behind as a version, or where
    it is. An order names at most `MAX_RUNS`; what is left then is another plan's.
    """
    runs = found.runs[:MAX_RUNS]
    others = _not_named(found, runs)
    count = f"{len(found.objects)}"
    if others:
        count = f"the first {len(found.objects) - others} of {count}"
    named = ", ".join(runs[:_NAMED_RUNS])
    more = (
        f" and {len(runs) - _NAMED_RUNS} more, all in the plan" if len(runs) > _NAMED_RUNS else ""
    )
    where = (
        "in their place; the damaged ones stay as versions"
        if found.versions_kept
        else "where they are missing; beside the damaged ones, because the bucket keeps no versions"
    )
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=(
            f"Have the sealer put back {count} objects that prove the signed log of "
            f"{found.head.size} records, each exactly as the signed root demands it; the old tree "
            f"({found.found.size} leaves could be read) and the signed one: {found.consistency}"
        ),
        steps=(PlanStep(REBUILD, f"put back {named}{more}: {where}", TARGET, NOTHING),),
        observed={
            "objects": runs,
            "others": others,
            "mode": found.mode.value,
            "consistency": found.consistency.value,
        },
        will_be_lost=NOTHING,
        expires_at=expires_at,
    )


def dry_run(found: Survey) -> list[str]:
    """What looking without touching has shown, line by line."""
    whys = Counter(one.why.value for one in found.objects)
    sources = Counter(_kind_of(one.source) for one in found.objects)
    lines = [
        f"signed head: {found.head.size} records; it is reproduced by what is left",
        f"to put back: {', '.join(f'{count} {why}' for why, count in whys.items()) or 'nothing'}",
        f"proven from: {', '.join(f'{name} ({count})' for name, count in sources.items())}",
    ]
    if found.lost:
        lines.append(
            f"cannot be put back now: records {ranges_in_words(found.lost)} are in no segment, "
            "version or row as they were signed; a backup may have them"
        )
    lines += [f"left for a person: {one.path}: {one.why}" for one in found.left[:20]]
    return lines


def planned_objects(plan: Plan) -> tuple[str, ...]:
    """The objects that an approved plan names; BadInput when it is another procedure's."""
    named = plan.observed.get("objects")
    if plan.procedure != PROCEDURE or not isinstance(named, list):
        raise BadInput(f"expected a plan of {PROCEDURE}, found one of {plan.procedure[:40]!r}")
    return tuple(str(each) for each in named)


def planned_mode(plan: Plan) -> Mode:
    """How they are put back; BadInput as `planned_objects`."""
    named = plan.observed.get("mode")
    if named not in set(Mode):
        raise BadInput(f"expected a plan of {PROCEDURE} with its mode, found {str(named)[:40]!r}")
    return Mode(named)


def still_fits(plan: Plan, found: Survey) -> bool:
    """Whether nothing is damaged that the plan does not know of: less may be, more may not.

    And whether it would be put back in the same way, and no forged tree was found that whoever
    approved it was not told of.
    """
    known = int(plan.observed.get("others", 0))
    is_same = planned_mode(plan) is found.mode
    is_forged = found.consistency is Consistency.INCONSISTENT
    was_told = plan.observed.get("consistency") == Consistency.INCONSISTENT.value
    if is_forged and not was_told:
        return False
    return is_same and _not_named(found, planned_objects(plan)) <= known


def without_what_lies_beside(found: Survey, aside: Sequence[str]) -> Survey:
    """The survey without the damaged objects (as runs) whose right copies lie beside already.

    In a place that keeps versions by now they can be put in their place all the same.
    """
    if found.mode is Mode.IN_PLACE or not aside:
        return found
    beside = Ordered(aside)
    due = tuple(one for one in found.objects if one.why is Why.MISSING or one.path not in beside)
    return replace(found, objects=due)


def rebuilds(incident: Incident) -> list[dict[str, Any]]:
    """The results of this incident's rebuilds, under whatever plan, the oldest first."""
    return [dict(data["result"]) for data in _done(incident, REBUILD) if "result" in data]


def was_restored(incident: Incident) -> bool:
    """Whether a restored database was put into service for it, under whatever plan."""
    return bool(_done(incident, SWAP))


def needs_restore(incident: Incident) -> bool:
    """Whether records are proven to be lost, and no restore has brought them back yet."""
    return is_damage(incident.diagnosis) and not was_restored(incident)


def has_failed_for_good(incident: Incident, *, transient: bool) -> bool:
    """Whether the standing plan cannot be carried out: a system may be away for a few attempts."""
    failed = [
        fact.data
        for fact in incident.facts
        if fact.kind is FactKind.STEP_FAILED and fact.data.get("step") == REBUILD
    ]
    return not transient or len(failed) > _PATIENCE


def changed_so_far(incident: Incident) -> str:
    """What an incident has changed when its plan to rebuild comes to nothing."""
    count = sum(int(each.get("put_back", 0)) for each in rebuilds(incident))
    done = ["the database was restored"] if was_restored(incident) else []
    done += [f"{count} objects of its proof were put back by an earlier plan"] if count else []
    if not done:
        return "nothing was changed"
    return f"{' and '.join(done)}; what this plan names was not put back"


def _done(incident: Incident, step: str) -> list[Mapping[str, Any]]:
    return [
        fact.data
        for fact in incident.facts
        if fact.kind is FactKind.STEP_DONE and fact.data.get("step") == step
    ]


def _not_named(found: Survey, runs: Sequence[str]) -> int:
    ordered = Ordered(runs)
    return sum(one.path not in ordered for one in found.objects)


def _kind_of(source: str) -> str:
    if source.startswith("version ") or " version " in f" {source}":
        return "older versions"
    return "rows of the table" if source.endswith("the table") else source[:60]
