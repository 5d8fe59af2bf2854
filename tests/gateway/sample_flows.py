"""Small stand-ins for the flows: the title of the incident says what its run shall do."""

import os
import time
from datetime import UTC, datetime, timedelta

from prefect import flow, task
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run

from tasks.domain.approval import Standing, standing
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.plan import Plan, PlanStep
from tasks.work import journal, responder

SLEEPS = "sleeps in its first run"
WAITS = "waits for an approval"
FAILS = "fails"
NAPS = "naps for two seconds"
MEETS_NOBODY = "finds the responder's database away in its first run"
NESTS = "sleeps in a subflow in its first run"
STEPS = "takes a step each quarter of a second, for ten seconds in its first run"
TAG = "sample.look"


@task(tags={TAG}, persist_result=False)
def look(incident: str) -> None:
    data = {"step": TAG, "component": "api", "health": "Healthy"}
    journal.append(incident, FactKind.CHECK_OBSERVED, data, key="look")


@task(tags={TAG}, persist_result=False)
def rest() -> None:
    time.sleep(0.25)


@flow(name="below", persist_result=False)
def below(incident: str) -> None:
    look(incident)
    time.sleep(60)


@flow(name="incident", persist_result=False)
def incident(incident_id: str | None = None) -> str:
    assert incident_id is not None
    state = journal.read(incident_id)
    first = not any(fact.kind is FactKind.RUN_STARTED for fact in state.facts)
    started = {"flow_run": str(flow_run.id), "pid": os.getpid()}
    journal.append(incident_id, FactKind.RUN_STARTED, started)
    if state.stage is Stage.CLOSED:
        return "closed already"
    if state.title != NESTS:
        look(incident_id)
    if first:
        _in_its_first_run(state)
    if state.title == NAPS:
        time.sleep(2)
    if state.title == FAILS:
        raise RuntimeError("as ordered")
    if state.title == WAITS and _must_wait(state):
        suspend_flow_run(timeout=3600, key=f"approval-{len(state.facts)}")
    journal.append(incident_id, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    return "restored"


@flow(name="escalation", persist_result=False)
def escalation(incident_id: str) -> None:
    for due in due_steps(journal.read(incident_id), datetime.now(UTC)):
        data = {"step": due.step, "to": due.contact, "reason": due.reason}
        journal.append(incident_id, FactKind.ESCALATED, data, key=f"escalated:{due.step}")


def _in_its_first_run(state: Incident) -> None:
    if state.title == SLEEPS:
        time.sleep(60)
    if state.title == NESTS:
        below(state.id)
    if state.title == MEETS_NOBODY:
        raise responder.ResponderAway("as ordered")
    if state.title == STEPS:
        for _ in range(40):
            rest()


def _must_wait(state: Incident) -> bool:
    if state.plan is None:
        plan = plan_for(state.id)
        data = {"plan": plan.as_json(), "hash": plan.hash}
        journal.append(state.id, FactKind.PLAN_PROPOSED, data)
        return True
    return standing(state, datetime.now(UTC)) is Standing.WAITING


def plan_for(incident: str, valid_for: timedelta = timedelta(hours=1)) -> Plan:
    return Plan(
        incident=incident,
        procedure="audit_trail",
        summary="restore beside production",
        steps=(PlanStep("recovery.swap", "swap", "database/rlhf_audit", "nothing"),),
        observed={"rows": 3},
        will_be_lost="nothing",
        expires_at=datetime.now(UTC) + valid_for,
    )
