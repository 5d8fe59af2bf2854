"""When a plan may be carried out: a pure reading of an incident's decisions."""

from datetime import datetime
from enum import StrEnum

from tasks.domain.incident import Incident

APPROVED = "approved"
DENIED = "denied"
EXPIRED = "expired"


class Standing(StrEnum):
    """Where the standing plan of an incident is."""

    NONE = "no plan"
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


def standing(incident: Incident, now: datetime) -> Standing:
    """Whether the standing plan may be carried out at `now`.

    One denial denies, and so does an answer that is none of ours: odd means no. Approvals count
    once per person, never the one who asked for the plan, and only before the expiry; a plan that
    was approved in time but not begun by then is expired too, unless a step of it has been begun:
    half a change is worse than a late one.
    """
    plan = incident.plan
    if plan is None:
        return Standing.NONE
    decisions = incident.decisions_on_plan()
    if any(made.decision not in {APPROVED, EXPIRED} for made in decisions):
        return Standing.DENIED
    if any(made.decision == EXPIRED for made in decisions) and not incident.begun:
        return Standing.EXPIRED
    if now >= plan.expires_at and not incident.begun:
        return Standing.EXPIRED
    return (
        Standing.APPROVED
        if len(incident.approvers()) >= plan.approvers_needed
        else Standing.WAITING
    )
