"""Runbook: Component-Specific Procedures / Privacy Engine Issues."""

from dataclasses import dataclass

from flows.privacy_incident import tell_dpo
from flows.procedure import follow, mend, propose
from tasks.domain.causes import Cause
from tasks.domain.incident import Incident
from tasks.domain.mending import serious, to_mend
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.privacy_diagnosis import assess, to_halt
from tasks.domain.privacy_plan import CHARGE, PROCEDURE, RESET, why_manual
from tasks.domain.privacy_readings import COMPONENT, PrivacyReadings
from tasks.journal import assign_severity, read_incident
from tasks.privacy import (
    charge_spends,
    diagnose_engine,
    halt_releases,
    look_again,
    look_at_engine,
    open_epoch,
    plan_remedy,
    read_engine_logs,
    remedy_door,
)
from tasks.remedies import record_causes

REMEDIES = {RESET: open_epoch, CHARGE: charge_spends}

NEEDED = {"spending", "noise"}
"""What must have been looked at before anybody says that nothing is wrong."""


def handle_privacy_engine_issues(incident: Incident) -> Outcome:
    """Diagnosis; releases refused at once where they may hurt; then what people have approved.

    The runbook says "reset privacy budgets if needed". Epsilon that was spent stays spent, so what
    is overspent is retired, and a new epoch, which two people approve, is for other data alone.
    """
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, what it means, and whether releases are refused where they must be."""

    seen: PrivacyReadings
    causes: tuple[Cause, ...]
    refused: bool


def look_and_propose(incident_id: str) -> Outcome:
    """Diagnosis, and what would mend it."""
    return propose_remedy(incident_id, look_and_halt(incident_id))


def look_and_halt(incident_id: str) -> Look:
    """Metric, logs, parameters, spend, noise, records; where a release may hurt, none is made."""
    reading = read_engine_logs.submit(incident_id)
    seen = look_at_engine(incident_id)
    reading.result()
    causes = diagnose_engine(seen)
    record_causes(incident_id, COMPONENT, causes)
    assign_severity(incident_id, assess(causes))
    dangers = to_halt(causes)
    if not dangers:
        return Look(seen, causes, refused=True)
    refused = halt_releases(incident_id, dangers)
    tell_dpo(read_incident(incident_id))
    return Look(seen, causes, refused)


def propose_remedy(incident_id: str, look: Look) -> Outcome:
    """What people must approve; or what only they can do."""
    cause = to_mend(look.causes)
    if not look.refused:
        return Outcome(
            Ending.MANUAL,
            f"{look.causes[0].summary}; the engine could not be made to refuse releases: a person "
            "must stop it now",
        )
    if cause is None:
        return nothing_to_mend(look)
    return propose(incident_id, plan_remedy(incident_id, cause, look.seen))


def nothing_to_mend(look: Look) -> Outcome:
    """A cause that only people mend, one that could not be looked for, or none at all.

    That nothing was detected proves nothing: such an incident is closed by a person.
    """
    found = serious(look.causes)
    if found:
        return Outcome(Ending.MANUAL, f"{found[0].summary}; {why_manual(found[0])}")
    unread = {name: why for name, why in look.seen.unread().items() if name in NEEDED}
    if unread:
        said = "; ".join(f"{name}: {why}" for name, why in unread.items())
        return Outcome(Ending.MANUAL, f"the privacy engine could not be looked at whole: {said}")
    also = f"; possible: {look.causes[0].summary}" if look.causes else ""
    return Outcome(
        Ending.MANUAL,
        f"no violation was detected, which proves nothing, and nothing was changed{also}; to judge "
        "the alert and to close it is manual",
    )


def carry_out(incident_id: str) -> Outcome:
    """Resolution: through the door; then the same look again, and what else there is to mend."""
    door = remedy_door(incident_id)
    outcome = mend(incident_id, door, REMEDIES, look_again, look=look_and_propose)
    if outcome.ending is not Ending.RESOLVED:
        return outcome
    look = look_and_halt(incident_id)
    return propose_remedy(incident_id, look) if serious(look.causes) else outcome
