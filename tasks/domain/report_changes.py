"""What was decided and done: plans, decisions, steps, holds, proofs and the restore as rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.domain.approval import APPROVED, APPROVED_BY_POLICY
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.journaled import (
    UNKNOWN,
    instant,
    items,
    mapping,
    of_kind,
    result_of,
    text,
    utc,
    whole_number,
)
from tasks.domain.untrusted import visible

SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan that was proposed. `steps` are (step, action, target, destroys)."""

    at: str
    hash: str
    summary: str
    will_be_lost: str
    expires_at: str
    steps: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What was decided on a plan, by whom. `simulated`: no real person was asked."""

    at: str
    decision: str
    by: str
    role: str
    reason: str
    hash: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class StepRow:
    """One change (or one attempt): how it ended and on whose authority it was made."""

    step: str
    target: str
    started: str
    ended: str
    outcome: str
    summary: str
    authority: str


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold: when it was set and, when it was, lifted by whom."""

    scope: str
    reason: str
    set_at: str
    review_at: str
    lifted: str


@dataclass(frozen=True, slots=True)
class ProofRow:
    """One verification after a change. `lost` is None when the fact does not speak of losses."""

    at: str
    what: str
    holds: bool | None
    summary: str
    root: str
    size: int | None
    records: int | None
    lost: tuple[tuple[int, int], ...] | None
    loss_list: str

    @property
    def lost_count(self) -> int | None:
        """Records in the lost ranges."""
        return None if self.lost is None else sum(last - first + 1 for first, last in self.lost)


@dataclass(frozen=True, slots=True)
class RestoreRow:
    """Where each record of the restored log came from; None is UNKNOWN.

    `backup_size` is what the backup holds, `from_backup` what was taken of it: records of it that
    were not as signed came from the segments instead.
    """

    backup: str
    records_before: int | None
    records_after: int | None
    backup_size: int | None
    from_backup: int | None
    from_segments: int | None
    carried_over: int | None
    tombstones: int | None
    quarantine: str


def is_simulated(fact: Fact) -> bool:
    """Whether a decision names itself simulated, in its actor or its role."""
    return SIMULATED in f"{fact.actor} {fact.data.get('role', '')}".lower()


def plans(facts: Iterable[Fact]) -> tuple[PlanRow, ...]:
    """Every plan that was proposed; the last one stands."""
    rows = []
    for fact in of_kind(facts, FactKind.PLAN_PROPOSED):
        plan = mapping(fact.data.get("plan"))
        rows.append(
            PlanRow(
                at=utc(fact.at),
                hash=text(fact.data, "hash"),
                summary=text(plan, "summary"),
                will_be_lost=text(plan, "will_be_lost"),
                expires_at=instant(fact.data.get("expires_at", plan.get("expires_at"))),
                steps=tuple(
                    (
                        text(mapping(step), "step"),
                        text(mapping(step), "action"),
                        text(mapping(step), "target"),
                        text(mapping(step), "destroys"),
                    )
                    for step in items(plan.get("steps"))
                ),
            )
        )
    return tuple(rows)


def decisions(facts: Iterable[Fact]) -> tuple[DecisionRow, ...]:
    """Every decision on any plan."""
    return tuple(
        DecisionRow(
            at=utc(fact.at),
            decision=text(fact.data, "decision"),
            by=visible(fact.actor, 120),
            role=text(fact.data, "role"),
            reason=text(fact.data, "reason", "none given"),
            hash=text(fact.data, "hash"),
            simulated=is_simulated(fact),
        )
        for fact in of_kind(facts, FactKind.PLAN_DECIDED)
    )


def steps(facts: Iterable[Fact]) -> tuple[StepRow, ...]:
    """Every attempt at a change, with the people who approved the plan that it was part of."""
    rows: list[StepRow] = []
    begun: dict[str, Fact] = {}
    planned: set[str] = set()
    approvers: list[str] = []
    for fact in facts:
        name = text(fact.data, "step")
        if fact.kind is FactKind.PLAN_PROPOSED:
            plan = mapping(fact.data.get("plan"))
            planned = {text(mapping(step), "step") for step in items(plan.get("steps"))}
            approvers = []
        elif fact.kind is FactKind.PLAN_DECIDED:
            decision, by_runbook = fact.data.get("decision"), fact.actor == RUNBOOK
            if decision == APPROVED and not by_runbook:
                approvers.append(visible(fact.actor, 120))
            elif decision == APPROVED_BY_POLICY and by_runbook:
                approvers.append("the routing policy")
        elif fact.kind is FactKind.STEP_STARTED:
            begun[name] = fact
        elif fact.kind in {FactKind.STEP_DONE, FactKind.STEP_FAILED}:
            rows.append(_step(fact, begun.pop(name, None), _authority(name, planned, approvers)))
    rows += [
        _step(fact, fact, _authority(name, planned, approvers)) for name, fact in begun.items()
    ]
    return tuple(rows)


def _authority(step: str, planned: set[str], approvers: list[str]) -> str:
    if step in planned and approvers:
        return "approved by " + ", ".join(approvers)
    return "approval UNKNOWN" if step in planned else "automatic, by policy"


def _step(fact: Fact, begun: Fact | None, authority: str) -> StepRow:
    outcome = {FactKind.STEP_DONE: "done", FactKind.STEP_FAILED: "failed"}
    return StepRow(
        step=text(fact.data, "step"),
        target=text(fact.data, "target"),
        started=utc(begun.at) if begun else UNKNOWN,
        ended=utc(fact.at) if fact.kind in outcome else UNKNOWN,
        outcome=outcome.get(fact.kind, "not finished"),
        summary=text(fact.data, "summary", text(fact.data, "error", "")),
        authority=authority,
    )


def holds(facts: Iterable[Fact]) -> tuple[HoldRow, ...]:
    """Holds in the order in which they were set; a lifting ends all that stand on its scope."""
    rows: list[HoldRow] = []
    for fact in of_kind(facts, FactKind.HOLD_SET, FactKind.HOLD_LIFTED):
        scope = text(fact.data, "scope")
        if fact.kind is FactKind.HOLD_SET:
            reviewed = instant(fact.data.get("review_at"))
            rows.append(HoldRow(scope, text(fact.data, "reason"), utc(fact.at), reviewed, "stands"))
            continue
        by = text(fact.data, "by", visible(fact.actor, 120))
        lifted = f"{utc(fact.at)} by {by}: {text(fact.data, 'reason')}"
        for place, kept in enumerate(rows):
            if kept.scope == scope and kept.lifted == "stands":
                rows[place] = HoldRow(scope, kept.reason, kept.set_at, kept.review_at, lifted)
    return tuple(rows)


def proofs(facts: Iterable[Fact]) -> tuple[ProofRow, ...]:
    """Every verification after a change; of the log the report believes the last one about it."""
    rows = []
    for fact in of_kind(facts, FactKind.VERIFIED):
        result = result_of(fact)
        held = fact.data.get("holds")
        rows.append(
            ProofRow(
                at=utc(fact.at),
                what=text(fact.data, "what"),
                holds=held if isinstance(held, bool) else None,
                summary=text(fact.data, "summary"),
                root=text(result, "root"),
                size=whole_number(result.get("size")),
                records=whole_number(result.get("records")),
                lost=_ranges(result.get("lost")),
                loss_list=text(result, "loss_list", "none"),
            )
        )
    return tuple(rows)


def _ranges(value: object) -> tuple[tuple[int, int], ...] | None:
    if not isinstance(value, list | tuple):
        return None
    whole = []
    for pair in value:
        match [whole_number(end) for end in items(pair)]:
            case [int(first), int(last)] if first <= last:
                whole.append((first, last))
            case _:
                return None  # half a list of losses would understate them
    return tuple(whole)


def restored(facts: Iterable[Fact], lost: int | None) -> RestoreRow | None:
    """What the steps say about the restore; None without one. `lost` is the proof's count.

    A step that was killed and repeated counts only what its second run did, so the parts are
    taken from sizes (signed, in all, lost) where those are known, and summed only otherwise.
    """
    results = [result_of(fact) for fact in of_kind(facts, FactKind.STEP_DONE)]
    told: dict[str, Any] = {}
    for result in results:
        told |= result
    if "records_after" not in told and "backup" not in told:
        return None
    signed, after = (whole_number(told.get(key)) for key in ("signed", "records_after"))
    added, replaced = (whole_number(told.get(key)) for key in ("from_segments", "replaced"))
    segments = None if added is None else added + (replaced or 0)
    tombstones = _summed(results, "tombstones") if lost is None else lost
    return RestoreRow(
        backup=text(told, "backup"),
        records_before=whole_number(told.get("records_before")),
        records_after=after,
        backup_size=whole_number(told.get("backup_size")),
        from_backup=_rest(signed, segments),
        from_segments=segments,
        carried_over=(
            _summed(results, "carried_over")
            if after is None or signed is None or tombstones is None
            else _rest(after, signed + tombstones)
        ),
        tombstones=tombstones,
        quarantine=text(told, "quarantine"),
    )


def _rest(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None or part > whole else whole - part


def _summed(results: Iterable[Mapping[str, Any]], key: str) -> int | None:
    """Over all steps, and over the last step that the swap reports inside its own result."""
    parts = [result.get(key) for result in results]
    parts += [mapping(result.get("last_step")).get(key) for result in results]
    known = [number for number in map(whole_number, parts) if number is not None]
    return sum(known) if known else None
