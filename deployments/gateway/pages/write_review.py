"""The forms of the review on the incident's page; see `say`, and `tasks.work.reviewing`."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from deployments.gateway.pages.page_route import PageRoute
from deployments.gateway.pages.say import Text, Word, back
from deployments.gateway.pages.show import IncidentId
from deployments.gateway.people import permitted
from tasks.domain.action_items import Ended, Kind
from tasks.domain.compliance_decisions import Matter
from tasks.domain.errors import BadInput
from tasks.domain.questions import Question
from tasks.domain.roles import Act
from tasks.work import reviewing
from tasks.work.people import Person

router = APIRouter(route_class=PageRoute)

Item = Annotated[str, Form(pattern=r"^A[1-9][0-9]{0,3}$")]
Writer = Annotated[Person, Depends(permitted(Act.REVIEW))]


@router.post("/i/{incident}/answer")
def answer(
    incident: IncidentId,
    person: Writer,
    question: Annotated[Question, Form()],
    version: Annotated[int, Form(ge=0)],
    text: Text = "",
) -> Response:
    """An answer to what the report asks, over the version that the person has read."""
    reviewing.answer(incident, person, question, text, version=version)
    return back(incident, "answered")


@router.post("/i/{incident}/action")
def add_action(
    incident: IncidentId,
    person: Writer,
    kind: Annotated[Kind, Form()],
    owner: Word = "",
    due: Word = "",
    text: Text = "",
    verification: Text = "",
) -> Response:
    """Another action item."""
    reviewing.add_action(incident, person, text, kind, owner, _day(due), verification)
    return back(incident, "action")


@router.post("/i/{incident}/action-put")
def change_action(
    incident: IncidentId,
    person: Writer,
    item: Item,
    kind: Annotated[Kind, Form()],
    owner: Word = "",
    due: Word = "",
    text: Text = "",
    verification: Text = "",
) -> Response:
    """An item, put anew."""
    reviewing.change_action(incident, person, item, text, kind, owner, _day(due), verification)
    return back(incident, "action")


@router.post("/i/{incident}/action-end")
def end_action(
    incident: IncidentId,
    person: Writer,
    item: Item,
    ending: Annotated[Ended, Form()],
    reason: Text = "",
) -> Response:
    """An item is done, or dropped."""
    reviewing.end_action(incident, person, item, ending, reason)
    return back(incident, "action-ended")


@router.post("/i/{incident}/sign-off")
def sign_off(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.SIGN_OFF))],
    reason: Text = "",
) -> Response:
    """The review is complete."""
    reviewing.sign_off(incident, person, reason)
    return back(incident, "signed-off")


@router.post("/i/{incident}/compliance")
def decide_compliance(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_COMPLIANCE))],
    matter: Annotated[Matter, Form()],
    answer: Annotated[Literal["yes", "no"], Form()],
    reason: Text = "",
) -> Response:
    """A matter of compliance; a yes to the auditors tells them at once."""
    reviewing.decide_compliance(incident, person, matter, reason, yes=answer == "yes")
    return back(incident, "compliance")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(f"expected a day such as 2026-12-01, found {text[:40]!a}") from error
