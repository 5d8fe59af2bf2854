"""What the flows read from the journal and write to it."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import task
from prefect.runtime import flow_run

from tasks.clients.errors import Transient
from tasks.domain.approval import Standing, standing
from tasks.domain.dependencies import SERVED, healths_of, in_words, overall
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Verdict
from tasks.domain.observation import Observation
from tasks.domain.outcome import Outcome
from tasks.domain.plan import Plan
from tasks.domain.rebuild_plan import is_stored_damage
from tasks.domain.severity import Assessment, Severity
from tasks.retries import CHANGE, READ
from tasks.work import approvals, ending, holding, incidents, journal, severities, successes
from tasks.work.checks import Seen, observe
from tasks.work.successes import Work

log = logging.getLogger("tasks.journal")

_FINDINGS = 100
_REASON_LIMIT = 2000


def read_incident(incident: str) -> Incident:
    """The incident's state. Not a task: it is read often, and from one indexed query.

    Raises BadInput for an id that was never opened: a typing error must not begin a journal.
    """
    state = journal.read(incident)
    if state.opened_at is None:
        raise BadInput(
            f"expected the id of a known incident, found {incident[:80]!r}: see `runbook incidents`"
        )
    return state


def plan_standing(incident: str, procedure: str = "") -> Standing:
    """Where the standing plan is, if it is one of the `procedure` (of any, without).

    One that was denied or expired, and whose end an earlier run has recorded, stands no more: who
    starts the incident again asks for a new plan.
    """
    state = read_incident(incident)
    if procedure and state.plan is not None and state.plan.procedure != procedure:
        return Standing.NONE
    found = standing(state, datetime.now(UTC))
    if found in {Standing.DENIED, Standing.EXPIRED} and _end_was_recorded(state):
        return Standing.NONE
    return found


def _end_was_recorded(state: Incident) -> bool:
    return any(
        fact.kind is FactKind.NOTE and fact.data.get("ended_plan") == state.plan_hash
        for fact in state.facts
    )


def record_success(work: Work) -> None:
    """Record that scheduled work was done. Its absence raises an alert, so it may be missed."""
    try:
        successes.record(work)
    except Transient as error:
        log.warning("%s was done, which is not on record: %s", work, error)


@task(name="Declare incident", **CHANGE)
def declare_incident(title: str, component: str, procedure: str) -> tuple[str, bool]:
    """Open an incident that no alert brought, or join the open one; (id, whether it is new).

    A new one gets a run of its own, named after it. Who pressed the button in Prefect's UI is
    unknown to us, so no person is named.
    """
    return incidents.declare_or_join(title, component, procedure, by="prefect")


def begin_response(incident: str) -> None:
    """Record that this flow run works on the incident. Not a task: the first checks wait for it."""
    journal.append(incident, FactKind.RUN_STARTED, {"flow_run": str(flow_run.id)})


def name_affected(incident: str, seen: Sequence[Observation]) -> Observation:
    """Which components are the trouble and which suffer from it, from what the checks saw.

    Not a task: the severity waits for it.
    """

    def probe() -> Seen:
        affected = SERVED.affected(healths_of(seen))
        evidence = {"components": [each.as_json() for each in affected]}
        return Seen(overall(affected), in_words(affected), evidence)

    return observe(incident, "triage.components", "system", probe)


@task(name="Assign severity", tags={"runbook:class.severity"}, **READ)
def assign_severity(incident: str, *assessed: Assessment | None) -> Severity:
    """Record the severity when it is worse than what stands; it falls only by a person.

    Give each look's assessment by itself: what a person has judged does not count a second time.
    """
    return severities.assign(incident, *assessed)


@task(name="Record diagnosis", **READ)
def record_diagnosis(incident: str, verdict: Verdict) -> None:
    """Record what verification found; the first hundred findings by name, the rest by number."""
    altered, missing = verdict.damaged()
    earlier = sum(fact.kind is FactKind.DIAGNOSED for fact in journal.read(incident).facts)
    data = verdict.as_json()
    journal.append(
        incident,
        FactKind.DIAGNOSED,
        data
        | {
            "findings": data["findings"][:_FINDINGS],
            "findings_total": len(verdict.findings),
            "altered": altered,
            "missing": missing,
            "stored_damage": sum(is_stored_damage(each.as_json()) for each in verdict.findings),
        },
        key=f"diagnosis:{earlier}",
    )


@task(name="Set hold", tags={"runbook:breach.stop"}, **READ)
def set_hold(
    incident: str, scope: str, reason: str, damage: str, needs: str = holding.SNAPSHOT
) -> int:
    """Refuse every change of `scope` until the evidence of this damage is sealed; its place."""
    return holding.hold_until_sealed(incident, scope, reason, damage, needs).seq


@task(name="Propose plan", **READ)
def propose_plan(incident: str, plan: Plan, dry_run: list[str]) -> str:
    """Record the plan and what its dry run showed; its hash, which an approval must name."""
    journal.append(
        incident,
        FactKind.PLAN_PROPOSED,
        {"plan": plan.as_json(), "hash": plan.hash, "expires_at": plan.expires_at.isoformat()},
        key=f"plan:{plan.hash}",
    )
    journal.append(
        incident, FactKind.DRY_RUN, {"hash": plan.hash, "lines": dry_run}, key=f"dry:{plan.hash}"
    )
    approvals.decide_by_policy(incident, plan.hash)
    return plan.hash


@task(name="Record the refusal", **READ)
def record_refusal(incident: str, reason: str) -> None:
    """Record why this run could not go on: what the door refused, or what could not be proven."""
    journal.append(incident, FactKind.NOTE, {"text": f"stopped: {reason}"[:_REASON_LIMIT]})


@task(name="Leave open", **READ)
def leave_open(incident: str, outcome: Outcome) -> None:
    """Record that this run ended without mending: a person has the next step."""
    plan = journal.read(incident).plan_hash
    journal.append(
        incident,
        FactKind.NOTE,
        {"text": outcome.summary, "ended_plan": plan},
        key=f"ended:{plan}:{outcome.ending}",
    )


@task(name="Close incident", **READ)
def close_incident(incident: str, outcome: Outcome) -> bool:
    """Record the end; False when alerts joined that this run never saw, and they still fire."""
    return ending.close(incident, outcome)
