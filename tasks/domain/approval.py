"""When a plan may be carried out: a pure reading of an incident's decisions."""

from datetime import datetime
from enum import StrEnum

from tasks.domain.incident import APPROVED, APPROVED_BY_POLICY, Incident

__all__ = ["APPROVED", "APPROVED_BY_POLICY", "DENIED", "EXPIRED", "Standing", "standing"]

DENIED = "denied"
EXPIRED = "expired"

_NO_DENIAL = frozenset({APPROVED, APPROVED_BY_POLICY, EXPIRED})


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
    once per person, never the one who asked for the plan, and only before the expiry; as many are
    needed as the plan or the policy asks for. The policy alone approves a plan that destroys
    nothing, of an incident whose remedy is automatic. A plan that was approved in time but not
    begun by then is expired too, unless a step of it has been begun: half a change is worse than a
    late one.
    """
    plan = incident.plan
    if plan is None:
        return Standing.NONE
    decisions = incident.decisions_on_plan()
    if any(made.decision not in _NO_DENIAL for made in decisions):
        return Standing.DENIED
    if any(made.decision == EXPIRED for made in decisions) and not incident.begun:
        return Standing.EXPIRED
    if now >= plan.expires_at and not incident.begun:
        return Standing.EXPIRED
    return Standing.APPROVED if incident.is_approved() else Standing.WAITING
