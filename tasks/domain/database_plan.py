"""The plan that mends what sessions do, in words that a person can say yes to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.signals import Answer, SessionKey, Verdict, Why, keys_in

PROCEDURE = "database"

_MENDED_BY_PEOPLE = {
    "db.unreachable": "restarting the database needs its Kubernetes workload, which this procedure "
    "does not reach: a person must",
    "db.disk-filling": "enlarging the storage needs the PVC and its class, which this procedure "
    "does not reach: a person must",
    "db.lock-storm": "none of its roots may be ended by us: a person must ask whose they are",
    "db.connections-exhausted": "no session may be ended for it: a person must find out who opens "
    "so many",
}
_BY_PEOPLE = "the remedy is manual: none that we may carry out would mend it"


def to_mend(causes: Sequence[Cause]) -> Cause | None:
    """The surest cause that we may mend after an approval; one that is only possible is none."""
    for cause in causes:
        if cause.remedy is not None and cause.confidence is not Confidence.POSSIBLE:
            return cause
    return None


def serious(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """Causes that are more than possible, the surest first."""
    return tuple(each for each in causes if each.confidence is not Confidence.POSSIBLE)


def why_manual(cause: Cause) -> str:
    """Why a person must mend it."""
    return _MENDED_BY_PEOPLE.get(cause.code, _BY_PEOPLE)


def plan_database_remedy(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """Cancel, then end what still blocks or runs; or end what idles. Raises BadInput without one.

    What names each session stands in `observed`, and so under the plan's hash.
    """
    remedy = cause.remedy
    if remedy is None:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    why, sessions = keys_in(remedy.arguments)
    count = f"{len(sessions)} session{'s' if len(sessions) > 1 else ''}"
    if why is Why.IDLE:
        steps: tuple[PlanStep, ...] = (
            PlanStep(RELIEVE, remedy.action, remedy.target, remedy.destroys),
        )
    else:
        steps = (
            PlanStep(
                CANCEL,
                f"cancel what {count} run: {_named(sessions)}",
                remedy.target,
                "the work of these queries so far; their clients see an error",
            ),
            PlanStep(
                TERMINATE,
                f"end those of them that go on ({why.value}) all the same",
                remedy.target,
                remedy.destroys,
            ),
        )
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=steps,
        observed={"cause": cause.code, **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
    )


def planned_sessions(plan: Plan | None) -> tuple[Why, tuple[SessionKey, ...]]:
    """Why, and which sessions the plan names. Raises PlanStale without a plan, BadInput."""
    if plan is None or plan.procedure != PROCEDURE:
        raise PlanStale("expected an approved plan about the database, found none: make a new one")
    return keys_in(plan.observed)


def planned_cause(plan: Plan | None) -> str:
    """The code of the cause that the plan mends; empty without one."""
    return str(plan.observed.get("cause", "")) if plan is not None else ""


def dry_run(
    causes: Sequence[Cause],
    unread: Mapping[str, str],
    answers: Sequence[tuple[SessionKey, Answer]],
) -> list[str]:
    """What looking without touching has shown, line by line."""
    lines = [f"{each.code} ({each.confidence}): {each.summary}" for each in causes]
    lines += [f"unknown: {name}: {reason}" for name, reason in unread.items()]
    ready = [key for key, answer in answers if answer.verdict is Verdict.SIGNALLED]
    lines.append(f"would signal {len(ready)} of {len(answers)} sessions: {_named(ready)}")
    lines += [
        f"would leave {key} alone: {answer.verdict}{f', {answer.detail}' if answer.detail else ''}"
        for key, answer in answers
        if answer.verdict is not Verdict.SIGNALLED
    ]
    return lines


def was_verified(incident: Incident) -> bool:
    """Whether the standing plan was carried out, and what it has brought was looked at."""
    plan = incident.plan
    if plan is None or any(step.step not in incident.steps for step in plan.steps):
        return False
    return any(
        fact.kind is FactKind.VERIFIED and fact.data.get("plan") == incident.plan_hash
        for fact in incident.facts
    )


def counted(answers: Sequence[tuple[SessionKey, Answer]]) -> dict[str, Any]:
    """The answers as the result of a step."""
    return {
        "signalled": sum(answer.verdict is Verdict.SIGNALLED for _, answer in answers),
        "sessions": [
            {"pid": key.pid, "user": key.user, "verdict": answer.verdict.value}
            | ({"detail": answer.detail} if answer.detail else {})
            for key, answer in answers
        ],
    }


def _named(sessions: Sequence[SessionKey], most: int = 5) -> str:
    more = f" and {len(sessions) - most} more" if len(sessions) > most else ""
    return (", ".join(map(str, sessions[:most])) or "none") + more
