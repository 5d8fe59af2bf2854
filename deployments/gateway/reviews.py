"""The review of an incident as programs read it and write in it; see `tasks.work.reviewing`."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments.gateway.decisions import IncidentId, recorded, unknown_incident
from deployments.gateway.people import Person, Reader, permitted
from deployments.gateway.statements import answered
from tasks.domain.action_items import OWNER_LIMIT, Ended, Kind, action_items, markdown
from tasks.domain.compliance_decisions import Matter
from tasks.domain.facts import Fact
from tasks.domain.questions import Question, prompts
from tasks.domain.review import follow_up_rows, status_words
from tasks.domain.roles import Act
from tasks.work import journal, reviewing
from tasks.work.floor import TEXT_LIMIT

router = APIRouter()

Words = Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT)]
ItemName = Annotated[str, Path(pattern=r"^A[1-9][0-9]{0,3}$")]
Writer = Annotated[Person, Depends(permitted(Act.REVIEW))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Answered(_Body):
    """An answer; `version` is how many there were when the person read them."""

    question: Question
    text: Words
    version: Annotated[int, Field(ge=0)] | None = None


class Put(_Body):
    """An action item, whole."""

    action: Words
    kind: Kind
    owner: Annotated[str, Field(min_length=1, max_length=OWNER_LIMIT)]
    due: date
    verification: Words


class Finished(_Body):
    """The end of an item: how it was verified, or why it is dropped."""

    ending: Ended
    reason: Words


class Reason(_Body):
    """What was looked at."""

    reason: Words


class Decided(_Body):
    """A yes or no on a matter of compliance."""

    matter: Matter
    yes: bool
    reason: Words


@router.get("/incidents/{incident}/review", response_model=None)
def show_review(incident: IncidentId, _: Reader) -> dict[str, Any] | JSONResponse:
    """Questions with the versions of their answers, items (as Markdown too), reviews to come."""
    state = journal.read(incident)
    if not state.facts:
        return unknown_incident(incident)
    items = action_items(state.facts)
    return {
        "status": status_words(state.facts),
        "prompts": [asdict(each) for each in prompts(state.facts)],
        "items": [asdict(each) for each in items],
        "follow_ups": [asdict(each) for each in follow_up_rows(state)],
        "markdown": markdown(incident, items, datetime.now(UTC)),
    }


@router.post("/incidents/{incident}/answers")
def answer(incident: IncidentId, body: Answered, person: Writer) -> JSONResponse:
    """Answer a question of the report."""
    return _said(
        lambda: reviewing.answer(incident, person, body.question, body.text, version=body.version)
    )


@router.post("/incidents/{incident}/actions")
def add_action(incident: IncidentId, body: Put, person: Writer) -> JSONResponse:
    """Add an action item; the answer names it."""
    return _said(lambda: reviewing.add_action(incident, person, **dict(body)))


@router.post("/incidents/{incident}/actions/{item}")
def change_action(incident: IncidentId, item: ItemName, body: Put, person: Writer) -> JSONResponse:
    """Put an item anew."""
    return _said(lambda: reviewing.change_action(incident, person, item, **dict(body)))


@router.post("/incidents/{incident}/actions/{item}/end")
def end_action(
    incident: IncidentId, item: ItemName, body: Finished, person: Writer
) -> JSONResponse:
    """An item is done or dropped."""
    return _said(lambda: reviewing.end_action(incident, person, item, body.ending, body.reason))


@router.post("/incidents/{incident}/sign-off")
def sign_off(
    incident: IncidentId,
    body: Reason,
    person: Annotated[Person, Depends(permitted(Act.SIGN_OFF))],
) -> JSONResponse:
    """The review is complete."""
    return _said(lambda: reviewing.sign_off(incident, person, body.reason))


@router.post("/incidents/{incident}/compliance")
def decide_compliance(
    incident: IncidentId,
    body: Decided,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_COMPLIANCE))],
) -> JSONResponse:
    """A matter of compliance; a yes to the auditors tells them."""
    return _said(
        lambda: reviewing.decide_compliance(
            incident, person, body.matter, body.reason, yes=body.yes
        )
    )


def _said(speak: Callable[[], Fact]) -> JSONResponse:
    def told() -> dict[str, Any]:
        fact = speak()
        item = fact.data.get("item")
        return recorded(fact) | ({"item": item} if item else {})

    return answered(told)
