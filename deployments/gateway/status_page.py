"""The status page's drafts, for people and programs: what there is, and the word on one of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from deployments.gateway.decisions import IncidentId, recorded, unknown_incident
from deployments.gateway.people import Person, permitted
from deployments.gateway.statements import answered
from tasks.domain.messages import Moment
from tasks.domain.roles import Act
from tasks.domain.status_drafts import Standing, standings
from tasks.work import journal, status_page

router = APIRouter()

DraftHash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class Wanted(BaseModel):
    """Of which moment the public is to be told."""

    model_config = ConfigDict(extra="forbid")
    moment: Moment


@router.get("/incidents/{incident}/status-page")
def drafts(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.READ))]
) -> JSONResponse:
    """Every draft, who approved it, and whether it is public."""
    del person
    state = journal.read(incident)
    if not state.facts:
        return unknown_incident(incident)
    return JSONResponse({"drafts": [_shown(one) for one in standings(state)]})


@router.post("/incidents/{incident}/status-page")
def ask_for_draft(
    incident: IncidentId,
    body: Wanted,
    person: Annotated[Person, Depends(permitted(Act.PUBLISH))],
) -> JSONResponse:
    """Draft the public words of a moment; nothing becomes public by it."""
    return answered(lambda: recorded(status_page.ask_for_draft(incident, person, body.moment)))


@router.post("/incidents/{incident}/status-page/{draft}/approve")
def approve(
    incident: IncidentId,
    draft: DraftHash,
    person: Annotated[Person, Depends(permitted(Act.PUBLISH))],
) -> JSONResponse:
    """A named person's yes to exactly these words, which become public."""
    return answered(lambda: recorded(status_page.approve(incident, person, draft)))


def _shown(one: Standing) -> dict[str, Any]:
    return {
        "hash": one.draft.hash,
        "moment": one.draft.moment.value,
        "subject": one.draft.subject,
        "text": one.draft.text,
        "drafted_at": one.drafted_at.isoformat(),
        "approved_by": one.by,
        "approved_at": one.approved_at.isoformat() if one.approved_at else None,
        "is_public": one.receipt is not None,
    }
