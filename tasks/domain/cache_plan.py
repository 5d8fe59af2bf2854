"""The plan that mends Redis, in words that a person can say yes to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.cache_diagnosis import COMPONENT
from tasks.domain.causes import Cause
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.instance_restart import InstanceKey, restart_steps
from tasks.domain.mending import BY_PEOPLE, described
from tasks.domain.plan import Plan
from tasks.domain.still_offered import still_offered

PROCEDURE = COMPONENT

_NAMES = ("pod", "uid", "owner")
_MENDED_BY_PEOPLE = {
    "cache.unreachable": "it may not be restarted by us: a person must look",
    "cache.unreachable-from-outside": "a restart would not mend the way to it: a person must",
    "cache.starting": "nothing is changed while it loads: look again when it is through",
    "cache.memory-full": "only a person can say which keys may go, or give it more memory",
    "cache.evicting": "only a person can give it more memory or another policy",
    "cache.persistence-failing": "a person must look at its disk before anything is restarted",
    "cache.clients-exhausted": "a person must find out who holds so many connections",
    "cache.is-replica": "a person must say which server is the primary",
    "cache.out-of-memory": "a person must raise its limit or lower maxmemory",
}


def why_manual(cause: Cause) -> str:
    """Why a person must mend it."""
    return _MENDED_BY_PEOPLE.get(cause.code, BY_PEOPLE)


def plan_cache_remedy(incident: str, cause: Cause, expires_at: datetime) -> Plan:
    """The restart of its pod. Raises BadInput when none is offered."""
    remedy = cause.remedy
    if remedy is None:
        raise BadInput(f"expected a remedy of {cause.code}, found none: a person must mend it")
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{cause.code}: {cause.summary}",
        steps=restart_steps(remedy),
        observed={"cause": cause.code, **remedy.arguments},
        will_be_lost=remedy.destroys,
        expires_at=expires_at,
    )


def dry_run(causes: Sequence[Cause], unread: Mapping[str, str]) -> list[str]:
    """What looking without touching has shown, line by line."""
    return [*described(causes, unread), "the API server would evict the pod (dryRun=All)"]


def fits(plan: Plan | None, causes: Sequence[Cause]) -> dict[str, Any]:
    """What the plan was made against, if the same pod is still to be restarted; else what is."""
    return still_offered(plan, causes, _NAMES)


def target_of(plan: Plan | None) -> str:
    """What the plan changes. Raises PlanStale without a plan of this procedure."""
    return _ours(plan).steps[0].target


def planned_instance(plan: Plan | None) -> InstanceKey:
    """Which pod the plan ends. Raises PlanStale without a plan, BadInput."""
    return InstanceKey.of(_ours(plan).observed)


def _ours(plan: Plan | None) -> Plan:
    if plan is None or plan.procedure != PROCEDURE or not plan.steps:
        raise PlanStale("expected an approved plan about the cache, found none: make a new one")
    return plan
