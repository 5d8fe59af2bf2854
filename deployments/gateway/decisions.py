"""What people decide about plans: approve, deny. Every word is a fact under its name.

The decision is journaled first and the run resumed afterwards: if we die in between, the ticker
finds a decision without its resumption and orders it.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments.gateway.answers import refusal
from deployments.gateway.people import Approver
from deployments.gateway.resumption import order_resumption
from tasks.domain.alertmanager import clean
from tasks.domain.approval import APPROVED
from tasks.domain.errors import BadInput, NotApproved, PlanStale
from tasks.domain.facts import Fact
from tasks.domain.incident import Incident
from tasks.work import approvals, journal
from tasks.work.people import Person

router = APIRouter()

IncidentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
PlanHash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_TEXT_LIMIT = 2000


class Reason(BaseModel):
    """Why; shown in the timeline and in the report."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=_TEXT_LIMIT)


_NO_REASON = Reason(reason="")


@router.post("/incidents/{incident}/plans/{plan}/approve")
def approve(
    incident: IncidentId, plan: PlanHash, person: Approver, body: Reason = _NO_REASON
) -> JSONResponse:
    """A named person's yes to exactly this plan."""
    return _decide(incident, plan, "approved", person, body.reason)


@router.post("/incidents/{incident}/plans/{plan}/deny")
def deny(incident: IncidentId, plan: PlanHash, person: Approver, body: Reason) -> JSONResponse:
    """A named person's no, and why; one is enough."""
    return _decide(incident, plan, "denied", person, body.reason)


def _decide(
    incident: str,
    plan: str,
    decision: Literal["approved", "denied"],
    person: Person,
    reason: str,
) -> JSONResponse:
    before = journal.read(incident)
    if not before.facts:
        return unknown_incident(incident)
    if decision == APPROVED and person.name in before.asked_by:
        return refusal(
            403,
            "own incident",
            f"somebody else than {person.name}, who opened it or chose the target",
            person.name,
            "ask another approver",
        )
    try:
        fact = approvals.decide(incident, plan, decision, person, clean(reason, _TEXT_LIMIT))
    except PlanStale as error:
        return _changed(before, plan, str(error))
    except (NotApproved, BadInput) as error:
        return _refused(incident, error)
    order_resumption(journal.read(incident))
    return JSONResponse(recorded(fact) | {"decision": decision, "hash": plan})


def _refused(incident: str, error: NotApproved | BadInput) -> JSONResponse:
    if isinstance(error, NotApproved):
        status, name, expected = 409, "not open to decision", "a plan that waits for a decision"
    elif isinstance(error, approvals.NoPlan):
        status, name, expected = 404, "no plan", "an incident with a plan"
    else:
        status, name, expected = 422, "not understood", "a reason"
    return refusal(status, name, expected, str(error), f"read /incidents/{incident}")


def _changed(before: Incident, plan: str, found: str) -> JSONResponse:
    gone = any(made.hash == plan for made in before.decisions)
    return refusal(
        409,
        "plan changed",
        before.plan_hash or "no plan at all",
        plan + (" (decided, then replaced)" if gone else ""),
        f"{found}; read /incidents/{before.id}/plan",
    )


def unknown_incident(incident: str) -> JSONResponse:
    """404 for an id that no fact names."""
    return refusal(
        HTTPStatus.NOT_FOUND, "no such incident", "a known incident", incident, "read /incidents"
    )


def recorded(fact: Fact) -> dict[str, Any]:
    """Where a person's word stands in the journal."""
    return {"incident": fact.incident, "seq": fact.seq, "at": fact.at.isoformat(), "by": fact.actor}
