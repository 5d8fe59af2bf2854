"""Runbook: Security Incident Response / Suspected Breach. STOP, PRESERVE, ISOLATE, NOTIFY.

The order is in the types: isolation is planned and carried out with a `Preserved`, and only
`preserve` gives one. NOTIFY does not wait for its turn: people are told with the first line.
"""

from datetime import UTC, datetime
from typing import Any

from prefect.futures import PrefectFuture, wait

from flows.integrity import verify_integrity
from flows.procedure import follow, propose
from tasks.artifacts import show_investigation
from tasks.breach import (
    COMPONENT,
    affected_scope,
    check_system,
    cut_off,
    end_sessions,
    isolation_doors,
    lock_accounts,
    look_at_isolation,
    propose_isolation,
    record_failed_return,
    review_users,
    sealed_for,
    search_access_logs,
    search_audit_trail,
    see_to_return,
    suspects_of,
    take_back,
)
from tasks.clients.errors import ClientError, Transient
from tasks.domain.breach_findings import Listed, public
from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import PlanStale, RunbookError
from tasks.domain.incident import Incident
from tasks.domain.isolation import ACCOUNTS, CAUSE, NETWORK, SESSIONS
from tasks.domain.isolation_state import PROCEDURE, Isolation, Word, is_due, isolation_of
from tasks.domain.ledger import Status
from tasks.domain.mending import Effect, was_verified
from tasks.domain.observation import Health, Observation
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.preserved import Preserved
from tasks.domain.severity import assess_alerts, assess_alteration
from tasks.evidence import preserve_everything, preserve_volatile
from tasks.journal import assign_severity, read_incident, record_refusal, set_hold
from tasks.notifications import notify_on_call, notify_security, page_on_call, tell_meanwhile
from tasks.remedies import planned_steps, record_causes, record_effect
from tasks.work.breach_looks import AccessLogs

SUSPECTED = "a breach is suspected: nothing is changed before the evidence is sealed"
ALL_EVIDENCE = "a signed bag of all evidence"
ISOLATE = {NETWORK: cut_off, ACCOUNTS: lock_accounts, SESSIONS: end_sessions}


def handle_suspected_breach(incident: Incident) -> Outcome:
    """Immediate Actions and Investigation Steps. It never ends by itself: a person judges it.

    An isolation that stands is kept until it is confirmed or its time is over; then it goes back.
    """
    stop(incident)
    state = read_incident(incident.id)
    isolation = isolation_of(state)
    if isolation is not None and is_due(isolation, datetime.now(UTC)):
        return give_back(incident.id, isolation)
    if isolation is not None and isolation.return_at is not None:
        see_to_return(incident.id, isolation)
    if isolation is None or isolation.plan_hash != state.plan_hash:
        return follow(incident, PROCEDURE, look_and_propose, isolate)
    if isolation.returned and not was_verified(state):
        return given_back(incident.id)
    if isolation.stands and was_verified(state):
        return kept(incident.id, isolation)
    return follow(incident, PROCEDURE, look_and_propose, isolate)


def stop(incident: Incident) -> int:
    """1. STOP: every change of the scope is held, at once; and 4. NOTIFY, meanwhile.

    A forged alert freezes nothing unseen: security and whoever is on call hear of the hold, it is
    reviewed within the hour, and sealed evidence satisfies it. Answers its place in the journal.
    """
    scope = affected_scope()
    hold = set_hold(incident.id, scope, SUSPECTED, CAUSE, ALL_EVIDENCE)
    assign_severity(incident.id, assess_alerts(incident.alerts))  # by which people are paged
    text = (
        f"{incident.id}: a breach is suspected ({incident.title}). Every change of {scope} is held "
        "until its evidence is sealed, and the hold is reviewed within the hour. If the alert is "
        f"forged, security lifts it: runbook hold '{scope}' --lift --incident {incident.id} "
        "--reason ..."
    )
    tell_meanwhile(notify_security, incident.id, "breach held", text)
    tell_meanwhile(page_on_call, incident.id, text)
    tell_meanwhile(notify_on_call, incident.id, "breach held", text)
    return hold


def preserve(incident_id: str, hold: int) -> Preserved:
    """2. PRESERVE: what the next second may change first, then everything; sealed and signed.

    Raises what the evidence store says, and NotProven: then nothing is isolated.
    """
    scope = affected_scope()
    preserve_volatile(incident_id, hold, SUSPECTED)
    preserve_everything(incident_id, scope, hold, SUSPECTED)
    return sealed_for(incident_id, scope, hold)


def look_and_propose(incident_id: str) -> Outcome:
    """Investigation Steps, while the evidence is sealed; then 3. ISOLATE, for people to decide."""
    hold = stop(read_incident(incident_id))
    logs, trail = search_access_logs.submit(incident_id), search_audit_trail.submit(incident_id)
    users = review_users.submit(incident_id)
    looks: list[PrefectFuture[Any]] = [logs, trail, users]
    try:
        evidence = preserve(incident_id, hold)
        system = compare_integrity(incident_id)
    finally:
        wait(looks)
    return conclude(incident_id, evidence, logs, users, system)


def compare_integrity(incident_id: str) -> Observation:
    """The system's word about itself, and what the signatures prove."""
    if read_incident(incident_id).diagnosis is None:
        try:
            verify_integrity(incident_id)
        except RunbookError as error:  # then our own verdict is not known, which is said
            record_refusal(incident_id, f"the audit log could not be verified: {error}")
    verdict = read_incident(incident_id).diagnosis or {}
    if verdict.get("verdict") == Status.TAMPERED:
        assign_severity(incident_id, assess_alteration(verdict["altered"], verdict["missing"]))
    return check_system(incident_id)


def conclude(
    incident_id: str,
    evidence: Preserved,
    logs: PrefectFuture[AccessLogs],
    users: PrefectFuture[Listed | None],
    system: Observation,
) -> Outcome:
    """Who is suspected, for people to see; and a plan to isolate, where there is somebody.

    Whoever was only refused is none: that is the lock, doing its work.
    """
    seen, listed = logs.result(), users.result()
    show_investigation(incident_id, public(seen.found), seen.bins)
    count = listed.count if listed is not None else 0
    found = (
        f"{seen.found.refused} requests were refused; {seen.grave} actors were let in after that "
        f"or marked; the API lists {count} users as suspicious; its integrity is {system.health}"
    )
    is_grave = bool(seen.grave or count or system.health is Health.FAILED)
    confidence = Confidence.LIKELY if is_grave else Confidence.POSSIBLE
    record_causes(incident_id, COMPONENT, [Cause(CAUSE, COMPONENT, confidence, found)])
    sealed = f"{found}; evidence is sealed in {evidence.bag}"
    if not is_grave:
        return Outcome(Ending.MANUAL, f"{sealed}; nothing is isolated: a person must judge it")
    proposal = propose_isolation(evidence, suspects_of(seen, listed), found, count)
    if proposal is None:
        return Outcome(Ending.MANUAL, f"{sealed}; there is nothing that we can isolate: a person")
    return propose(incident_id, proposal)


def isolate(incident_id: str) -> Outcome:
    """3. ISOLATE, once approved: cut off, lock, end sessions; only with sealed evidence.

    A step that is refused keeps no other one from being done, nor does a system that is away: that
    is raised when the others are done, and tried again; the look says what is left.
    """
    away: Transient | None = None
    evidence = preserve(incident_id, stop(read_incident(incident_id)))
    try:
        with isolation_doors(incident_id) as passages:
            for step in planned_steps(incident_id):
                if step in ISOLATE:
                    try:
                        ISOLATE[step](passages[step], evidence)
                    except Transient as error:
                        away = error
                    except ClientError as error:
                        record_refusal(incident_id, f"{step}: {error}")
            if away is not None:
                raise away
            effect = look_at_isolation(incident_id)
    except PlanStale as error:
        if isolation_of(read_incident(incident_id)) is not None:
            raise  # half of it is in place: that is not forgotten for a new plan
        record_refusal(incident_id, str(error))
        return look_and_propose(incident_id)
    record_effect(incident_id, effect)
    isolation = isolation_of(read_incident(incident_id))
    if isolation is None:
        return Outcome(Ending.MANUAL, "nothing of the isolation could be begun: a person must look")
    return kept(incident_id, isolation, effect.text)


def kept(incident_id: str, isolation: Isolation, how: str = "the isolation stands") -> Outcome:
    """Who has confirmed it, or until when it stands; credentials are for people to rotate."""
    if isolation.word is Word.CONFIRM:
        return Outcome(Ending.MANUAL, f"{how}; {isolation.by} has confirmed it")
    return Outcome(
        Ending.MANUAL,
        f"{how}; it goes back at {isolation.until:%Y-%m-%d %H:%M} UTC unless a person confirms: "
        f"runbook isolation confirm {incident_id}; rotate the credentials that the plan lists",
    )


def give_back(incident_id: str, isolation: Isolation) -> Outcome:
    """Nobody has confirmed it in time, or a person wants it back: everything goes back, once."""
    try:
        with isolation_doors(incident_id, gives_back=True) as passages:
            take_back(passages)
    except RunbookError as error:
        record_failed_return(incident_id, isolation, str(error))
        return Outcome(
            Ending.MANUAL, f"the isolation could not be taken back and is tried again: {error}"
        )
    return given_back(incident_id)


def given_back(incident_id: str) -> Outcome:
    """The plan is over with it: another isolation needs another plan."""
    state = read_incident(incident_id)
    if not was_verified(state):
        record_effect(incident_id, Effect(gone=False, text="the isolation was taken back"))
    isolation = isolation_of(state)
    why = f"as {isolation.by} has said" if isolation and isolation.by else "nobody confirmed it"
    return Outcome(Ending.MANUAL, f"the isolation was taken back, {why}: a person must judge it")
