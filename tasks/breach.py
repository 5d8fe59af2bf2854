"""A suspected breach: investigated without touching, isolated after its evidence is sealed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import breach_findings
from tasks.domain.breach_findings import Listed, Suspects
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.isolation import ACCOUNTS, NETWORK, RETURN, SESSIONS
from tasks.domain.isolation_plan import (
    Isolating,
    plan_isolation,
    refused,
    target_of,
    to_rotate,
)
from tasks.domain.isolation_state import Isolation, isolation_of
from tasks.domain.mending import Effect
from tasks.domain.metrics import onset
from tasks.domain.observation import Observation
from tasks.domain.plan import Proposal
from tasks.domain.preserved import Preserved, preserved
from tasks.domain.untrusted import visible
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import (
    breach_looks,
    door,
    evidence,
    isolating,
    isolation_site,
    journal,
    judging_isolation,
    network_isolation,
    role_isolation,
)
from tasks.work.breach_looks import AccessLogs
from tasks.work.checks import Seen, observe
from tasks.work.isolation_site import Site
from tasks.work.targets import production_target

COMPONENT = "security"

_OTHERS_SECONDS = 60.0
"""How long isolation waits for another incident's change of the same thing."""


def affected_scope() -> str:
    """What is held at once. Not a task: the hold waits for it."""
    return settings().breach.scope


def sealed_for(incident: str, scope: str, hold: int) -> Preserved:
    """The proof that evidence of this hold is sealed. Raises NotProven: then nothing is isolated.

    Not a task: it is the return value that lets isolation be planned and carried out.
    """
    return preserved(journal.read(incident), scope, hold)


@task(name="Search the access logs", tags={"runbook:breach.investigate.access-logs"}, **READ)
def search_access_logs(incident: str) -> AccessLogs:
    """401, 403 and suspicious_activity of the window, by actor; which accounts, is only counted."""
    known = settings()
    began = onset(journal.read(incident).facts) or datetime.now(UTC)
    logs = breach_looks.NOTHING_READ

    def probe() -> Seen:
        nonlocal logs
        logs, seen = breach_looks.access_logs(known, began)
        return seen

    observe(incident, "breach.investigate.access-logs", COMPONENT, probe)
    return logs


@task(name="Search the audit trail", tags={"runbook:breach.investigate.audit-trail"}, **READ)
def search_audit_trail(incident: str) -> Observation:
    """`curl /api/v1/audit/records?event_type=access_attempt`: how many were denied."""
    known = settings()
    step = "breach.investigate.audit-trail"
    return observe(incident, step, COMPONENT, lambda: breach_looks.audit_trail(known))


@task(name="Review users", tags={"runbook:breach.investigate.users"}, **READ)
def review_users(incident: str) -> Listed | None:
    """`curl /api/v1/users/activity/suspicious`: how many; None when the API does not say."""
    known, found = settings(), None

    def probe() -> Seen:
        nonlocal found
        found, seen = breach_looks.suspicious_users(known)
        return seen

    observe(incident, "breach.investigate.users", COMPONENT, probe)
    return found


@task(name="Check the system's integrity", tags={"runbook:breach.investigate.system"}, **READ)
def check_system(incident: str) -> Observation:
    """`curl /api/v1/system/integrity/check`, beside our own verdict on the audit log."""
    known = settings()
    state = journal.read(incident)
    step = "breach.investigate.system"
    return observe(incident, step, COMPONENT, lambda: breach_looks.system_integrity(known, state))


def suspects_of(logs: AccessLogs, users: Listed | None) -> Suspects:
    """Who may be isolated, of both looks. Not a task: names of accounts stay in memory."""
    if users is None:
        return logs.suspects
    spared = settings().breach.spared_addresses
    return logs.suspects.joined(breach_findings.suspects_listed(users, spared))


@task(name="Plan the isolation", **READ)
def propose_isolation(
    evidence_of: Preserved, suspects: Suspects, because: str, listed: int
) -> Proposal | None:
    """What to cut off and whom to lock, tried and taken back; None when there is nobody.

    It takes the proof that evidence is sealed, which only `sealed_for` gives.
    """
    site = _site()
    found = isolating.found(site, suspects, evidence_of.hold)
    if not found.isolating.is_anything:
        return None
    now = datetime.now(UTC)
    expires_at = now + timedelta(minutes=settings().changes.approval_minutes)
    plan = plan_isolation(evidence_of, found.isolating, site.database, because, expires_at)
    until = now + timedelta(minutes=found.isolating.minutes)
    lines = [
        f"evidence is sealed: {evidence_of.items} items in {evidence_of.bag}",
        *isolating.dry_run(site, found.isolating, evidence_of.incident, until),
        *refused(found.decisions),
        *found.notes,
        *to_rotate(found.isolating.roles, listed),
    ]
    return Proposal(plan, [visible(line, 500) for line in lines])


@contextmanager
def isolation_doors(
    incident: str, *, gives_back: bool = False
) -> Iterator[Mapping[str, door.Passage]]:
    """A door for each target, by the steps that go through it; see `door.opened`.

    Roles are held as the database is as well: whoever holds that, holds who may log in to it.
    """
    site, store = _site(), ObjectStore(settings().store)
    planned = Isolating.of(journal.read(incident).plan)
    targets = {step: target_of(step, planned, site.database) for step in (*planned.steps, RETURN)}
    passages: dict[str, door.Passage] = {}
    with ExitStack() as stack:
        stack.callback(store.close)
        for target in sorted(set(targets.values())):
            passages[target] = stack.enter_context(
                door.opened(
                    incident,
                    target,
                    observe=lambda: isolating.planned_state(site, journal.read(incident)),
                    evidence_holds=lambda hold: evidence.stands(store, hold),
                    wait_seconds=_OTHERS_SECONDS,
                    also=() if target == targets.get(NETWORK) else (production_target(),),
                    gives_back=gives_back,
                )
            )
        yield {step: passages[target] for step, target in targets.items()}


@task(name="Cut the pods off", tags={"runbook:breach.isolate.network"}, **CHANGE)
def cut_off(passage: door.Passage, evidence_of: Preserved) -> dict[str, Any]:
    """The NetworkPolicy, with its incident and the time at which it goes back."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        begun = isolation_of(journal.read(passage.incident))
        if begun is None:
            raise PlanStale("expected the isolation to have begun, found that it has not")
        planned = _planned(evidence_of)
        return network_isolation.cut_off(_site(), planned, passage.incident, begun.until, fence)

    return passage.carry_out(NETWORK, act)


@task(name="Lock the accounts", tags={"runbook:breach.isolate.accounts"}, **CHANGE)
def lock_accounts(passage: door.Passage, evidence_of: Preserved) -> dict[str, Any]:
    """The suspected roles of PostgreSQL, each looked at again just before."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return role_isolation.lock(_site(), _planned(evidence_of), passage.incident, fence)

    return passage.carry_out(ACCOUNTS, act)


@task(name="End their sessions", tags={"runbook:breach.isolate.sessions"}, **CHANGE)
def end_sessions(passage: door.Passage, evidence_of: Preserved) -> dict[str, Any]:
    """Of locked roles and from suspected addresses."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return role_isolation.end_sessions(_site(), _planned(evidence_of), fence)

    return passage.carry_out(SESSIONS, act)


@task(name="Take the isolation back", tags={"runbook:breach.isolate.return"}, **CHANGE)
def take_back(passages: Mapping[str, door.Passage]) -> dict[str, Any]:
    """Everything that this incident has isolated, once; it needs no evidence: it frees."""
    passage = passages[RETURN]
    incident = passage.incident

    def act(_: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        planned = Isolating.of(journal.read(incident).plan)

        def fence() -> None:
            for each in passages.values():
                each.fence()

        return isolating.take_back(_site(), planned, incident, fence)

    return passage.carry_out(RETURN, act)


@task(name="Record that it could not be taken back", **READ)
def record_failed_return(incident: str, attempt: Isolation, error: str) -> None:
    """One more attempt that failed: the next is ordered after a while, and people are told.

    What failed behind the door is on record already; what the door refused is not.
    """
    found = isolation_of(journal.read(incident))
    if found is None or found.returned or found.failures > attempt.failures:
        return
    failure = {"step": RETURN, "target": "isolation", "error": visible(error, 2000)}
    key = f"return-failed:{attempt.return_key}"
    journal.append(incident, FactKind.STEP_FAILED, failure, key=key)


@task(name="See that it is taken back later", **READ)
def see_to_return(incident: str, isolation: Isolation) -> None:
    """Another run, where this one was ordered to take it back before that is due by our clock."""
    judging_isolation.order_return_again(incident, isolation, datetime.now(UTC))


@task(name="Look at the isolation", **READ)
def look_at_isolation(incident: str) -> Effect:
    """Whether everything that was approved is in place."""
    return isolating.effect(_site(), Isolating.of(journal.read(incident).plan), incident)


def _planned(evidence_of: Preserved) -> Isolating:
    """What the approved plan does. Raises NotProven when it is about another hold's evidence."""
    planned = Isolating.of(journal.read(evidence_of.incident).plan)
    if planned.hold != evidence_of.hold:
        raise NotProven(
            "expected sealed evidence of the hold that the plan is about, found that of another"
        )
    return planned


def _site() -> Site:
    return isolation_site.site_of(settings())
