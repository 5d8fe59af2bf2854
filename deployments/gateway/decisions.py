"""What people say: approve, deny, acknowledge, note. Every word is a fact under its name.

The decision is journaled first and the run resumed afterwards: if we die in between, the ticker
finds a decision without its resumption and orders it.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments.gateway.answers import refusal
from deployments.gateway.people import Approver, Responder
from deployments.gateway.resumption import order_resumption
from tasks.domain.alertmanager import clean
from tasks.domain.approval import APPROVED
from tasks.domain.errors import BadInput, NotApproved, PlanStale
from tasks.domain.escalation import ACKNOWLEDGED
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.policy import DPO_CLOCK
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


class Note(BaseModel):
    """What a person wants to have on record."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=_TEXT_LIMIT)


_NO_REASON = Reason(reason="")


@router.post("/incidents/{incident}/plans/{plan}/approve")
def approve(
    incident: IncidentId, plan: PlanHash, person: Approver, body: Reason = _NO_REASON
) -> JSONResponse:
    """A named person's yes to exactly this plan."""
    return _decide(incident, plan, "approved", person, body.reason)


@router.post("/incidents/{incident}/plans/{plan}/deny")
def deny(
    incident: IncidentId, plan: PlanHash, person: Approver, body: Reason = _NO_REASON
) -> JSONResponse:
    """A named person's no; one is enough."""
    return _decide(incident, plan, "denied", person, body.reason)


@router.post("/incidents/{incident}/acknowledge")
def acknowledge(incident: IncidentId, person: Responder) -> JSONResponse:
    """A person has taken notice; the first time counts. The clock that waits for it is stopped."""
    data = {"text": f"acknowledged by {person.name}", ACKNOWLEDGED: True}
    answer = _note(incident, data, person, key=f"acknowledged:{person.name}")
    if DPO_CLOCK in journal.read(incident).clocks:
        journal.append(
            incident,
            FactKind.CLOCK_STOPPED,
            {"clock": DPO_CLOCK, "reason": f"{person.name} has acknowledged the incident"},
            actor=person.name,
            key=f"clock-stopped:{DPO_CLOCK}",
        )
    return answer


@router.post("/incidents/{incident}/notes")
def add_note(incident: IncidentId, body: Note, person: Responder) -> JSONResponse:
    """A note in the incident's timeline."""
    return _note(incident, {"text": clean(body.text, _TEXT_LIMIT)}, person, key=None)


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
    if decision == APPROVED and person.name == before.opened_by:
        return refusal(
            403,
            "own incident",
            f"somebody else than {person.name}, who opened it",
            person.name,
            "ask another approver",
        )
    try:
        fact = approvals.decide(incident, plan, decision, person, clean(reason, _TEXT_LIMIT))
    except PlanStale as error:
        return _changed(before, plan, str(error))
    except NotApproved as error:
        return refusal(
            409,
            "not open to decision",
            "a plan that waits for a decision",
            str(error),
            f"read /incidents/{incident}",
        )
    except BadInput as error:
        return refusal(
            404, "no plan", "an incident with a plan", str(error), f"read /incidents/{incident}"
        )
    order_resumption(journal.read(incident))
    return JSONResponse(_recorded(fact) | {"decision": decision, "hash": plan})


def _changed(before: Incident, plan: str, found: str) -> JSONResponse:
    gone = any(made.hash == plan for made in before.decisions)
    return refusal(
        409,
        "plan changed",
        before.plan_hash or "no plan at all",
        plan + (" (decided, then replaced)" if gone else ""),
        f"{found}; read /incidents/{before.id}/plan",
    )


def _note(incident: str, data: dict[str, Any], person: Person, key: str | None) -> JSONResponse:
    if not journal.read(incident).facts:
        return unknown_incident(incident)
    return JSONResponse(
        _recorded(journal.append(incident, FactKind.NOTE, data, actor=person.name, key=key))
    )


def unknown_incident(incident: str) -> JSONResponse:
    """404 for an id that no fact names."""
    return refusal(
        HTTPStatus.NOT_FOUND, "no such incident", "a known incident", incident, "read /incidents"
    )


def _recorded(fact: Fact) -> dict[str, Any]:
    return {"incident": fact.incident, "seq": fact.seq, "at": fact.at.isoformat(), "by": fact.actor}
