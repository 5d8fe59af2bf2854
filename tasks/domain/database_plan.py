"""The plan that mends the database, in words that a person can say yes to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.causes import Cause, Remedial
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.instance_restart import InstanceKey, restart_steps
from tasks.domain.mending import BY_PEOPLE, described
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.signals import Answer, SessionKey, Verdict, Why, keys_in
from tasks.domain.still_offered import still_offered
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import STORAGE, ClaimKey, storage_steps

PROCEDURE = "database"

_NAMES = ("claim", "resource_version", "capacity", "pod", "uid", "owner")
"""What must be the same when a plan about a claim or a pod is carried out."""

_MENDED_BY_PEOPLE = {
    "db.unreachable": "it may not be restarted by us now: a person must look",
    "db.unreachable-from-outside": "a restart would not mend the way to it: a person must",
    "db.starting": "nothing is changed while it starts: look again when it is through",
    "db.disk-filling": "its storage may not be enlarged by us: a person must make room",
    "db.replication-lag": "a person must look at the standby, its network and its disk",
    "db.slot-retains-wal": "dropping a slot breaks its reader for good: a person must decide",
    "db.archiver-failing": "the archive must take WAL again: a person must look at its command",
    "db.wraparound": "a person must find what holds vacuum back, and vacuum",
    "db.lock-storm": "none of its roots may be ended by us: a person must ask whose they are",
    "db.connections-exhausted": "no session may be ended for it: a person must find out who opens "
    "so many",
}


def why_manual(cause: Cause) -> str:
    """Why a person must mend it."""
    return _MENDED_BY_PEOPLE.get(cause.code, BY_PEOPLE)


def plan_database_remedy(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """The steps that mend the cause. Raises BadInput when none of ours would.

    What names each session, claim or pod stands in `observed`, and so under the plan's hash.
    """
    remedy = cause.remedy
    if remedy is None:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=_steps(remedy),
        observed={"cause": cause.code, **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
    )


def _steps(remedy: Remedial) -> tuple[PlanStep, ...]:
    match remedy.step:
        case step if step == STORAGE:
            return storage_steps(remedy)
        case step if step == RESTART_DATABASE:
            return restart_steps(remedy)
        case _:
            return _session_steps(remedy)


def _session_steps(remedy: Remedial) -> tuple[PlanStep, ...]:
    """Cancel, then end what still blocks or runs; or end what idles."""
    why, sessions = keys_in(remedy.arguments)
    count = f"{len(sessions)} session{'s' if len(sessions) > 1 else ''}"
    if why is Why.IDLE:
        return (PlanStep(RELIEVE, remedy.action, remedy.target, remedy.destroys),)
    return (
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


def is_about_sessions(plan: Plan | None) -> bool:
    """Whether the plan signals sessions, and not a claim or a pod."""
    return plan is None or not {step.step for step in plan.steps} & {STORAGE, RESTART_DATABASE}


def fits(plan: Plan | None, causes: Sequence[Cause]) -> dict[str, Any]:
    """What the plan of a claim or a pod was made against, if the same remedy is still offered.

    How much room is wanted may have moved; which claim and in which version, or which pod, may not.
    Else what is wrong now: then the plan no longer fits.
    """
    return still_offered(plan, causes, _NAMES)


def planned_claim(plan: Plan | None) -> ClaimKey:
    """Which claim the plan enlarges. Raises PlanStale without a plan, BadInput."""
    return ClaimKey.of(_ours(plan).observed)


def planned_instance(plan: Plan | None) -> InstanceKey:
    """Which pod the plan ends. Raises PlanStale without a plan, BadInput."""
    return InstanceKey.of(_ours(plan).observed)


def planned_sessions(plan: Plan | None) -> tuple[Why, tuple[SessionKey, ...]]:
    """Why, and which sessions the plan names. Raises PlanStale without a plan, BadInput."""
    return keys_in(_ours(plan).observed)


def _ours(plan: Plan | None) -> Plan:
    if plan is None or plan.procedure != PROCEDURE:
        raise PlanStale("expected an approved plan about the database, found none: make a new one")
    return plan


def dry_run(
    causes: Sequence[Cause],
    unread: Mapping[str, str],
    answers: Sequence[tuple[SessionKey, Answer]],
) -> list[str]:
    """What looking without touching has shown, line by line."""
    lines = described(causes, unread)
    if not answers:
        return [*lines, "the API server would carry it out as planned (dryRun=All)"]
    ready = [key for key, answer in answers if answer.verdict is Verdict.SIGNALLED]
    lines.append(f"would signal {len(ready)} of {len(answers)} sessions: {_named(ready)}")
    lines += [
        f"would leave {key} alone: {answer.verdict}{f', {answer.detail}' if answer.detail else ''}"
        for key, answer in answers
        if answer.verdict is not Verdict.SIGNALLED
    ]
    return lines


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
