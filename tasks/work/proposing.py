"""A plan for a target, from the settings: what `runbook restore --dry-run` and the flow both show.

Only looks. Backups are fetched to be looked into, and removed again.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tasks.clients.object_store import ObjectStore
from tasks.domain import recovery_plan
from tasks.domain.backups import Backup
from tasks.domain.plan import Plan
from tasks.domain.recovery_target import Target
from tasks.settings import settings
from tasks.work import planning, recovery
from tasks.work.fetching import fetch
from tasks.work.loading import rules_of
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.looking import looking


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its dry run, or the reason why there is none."""

    plan: Plan | None
    dry_run: list[str] = field(default_factory=list)
    reason: str = ""


def recovery_site(incident: str) -> recovery.Site:
    """Where the incident's recovery takes place."""
    store = settings().store
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    return recovery.site_of(incident, log, settings())


def propose(incident: str, target: Target, backups: list[Backup]) -> Proposal:
    """The plan that leads to the target, and what looking has shown.

    Raises NotProven without a backup that can be proven, Refused without the room for it, BadInput
    for a moment that has not come; a ClientError when somebody does not answer.
    """
    site = recovery_site(incident)
    head = latest_head(site.log, site.trust)
    inside = looking(site, head, fetch, rules_of(settings()).gpg)
    found = planning.look(site, backups, settings().api, target, inside)
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = recovery_plan.plan_database_recovery(
        incident, found.choice, site.names, found.numbers, found.observed, expires_at
    )
    unusable = sum(bool(backup.unusable) for backup in backups)
    lines = recovery_plan.dry_run(
        len(backups),
        unusable,
        found.choice,
        found.numbers,
        found.head.checkpoint.size,
        found.needed,
    )
    return Proposal(plan, lines)
