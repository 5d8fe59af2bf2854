"""The forms: what a person says, by the same functions as from the command, then back to the page.

Each answers 303 to a page that can be reloaded without saying it again. Who may say what is decided
where it is recorded; here only what the page already knows is refused early.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from fastapi.responses import RedirectResponse, Response
from pydantic import BeforeValidator

from deployments.gateway.pages.look import HEADERS
from deployments.gateway.pages.page_route import PageRoute
from deployments.gateway.pages.show import IncidentId, known_incident, show_incident
from deployments.gateway.people import Caller, Who, permitted
from deployments.gateway.resumption import order_resumption
from tasks.domain.alertmanager import clean
from tasks.domain.breach_decision import Risk
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.isolation_state import Word as IsolationWord
from tasks.domain.journaled import moment
from tasks.domain.roles import Act
from tasks.domain.severity import Severity
from tasks.work import (
    approvals,
    declaring,
    holding,
    journal,
    judging,
    judging_isolation,
    replanning,
    statements,
)
from tasks.work.people import Person

router = APIRouter(route_class=PageRoute)

_TEXT_LIMIT = 2000
_SEE_OTHER = 303


def _lines(text: object) -> object:
    """With the line ends of a text: browsers send CR LF, and count each as one character."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_lines), Form(max_length=_TEXT_LIMIT)]
Word = Annotated[str, Form(max_length=200)]
Hours = Annotated[int, Form(ge=1, le=168)]
PlanHash = Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")]


@router.post("/i/{incident}/approve")
def approve(
    incident: IncidentId, who: Caller, plan: PlanHash, read: Word = "", reason: Text = ""
) -> Response:
    """Yes to the plan that this person had before their eyes, and to no other."""
    if read != "yes":
        raise BadInput(
            "expected your word that you have read the steps: tick the box above “Approve”"
        )
    return _decide(incident, who, plan, "approved", reason)


@router.post("/i/{incident}/deny")
def deny(incident: IncidentId, who: Caller, plan: PlanHash, reason: Text = "") -> Response:
    """No, and why."""
    return _decide(incident, who, plan, "denied", reason)


def _decide(
    incident: str, who: Who, plan: str, decision: Literal["approved", "denied"], reason: str
) -> Response:
    state = known_incident(incident)
    try:
        approvals.decide(incident, plan, decision, who.person, clean(reason, _TEXT_LIMIT))
    except PlanStale:
        return show_incident(state, who, "", 409, stale=plan)
    order_resumption(journal.read(incident))
    return back(incident, decision)


@router.post("/i/{incident}/acknowledge")
def acknowledge(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.ACKNOWLEDGE))]
) -> Response:
    """A person has taken notice."""
    statements.acknowledge(incident, person)
    return back(incident, "acknowledged")


@router.post("/i/{incident}/lead")
def take_lead(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.LEAD))]
) -> Response:
    """A person leads the response from now on."""
    statements.take_lead(incident, person)
    return back(incident, "lead")


@router.post("/i/{incident}/replan")
def replan(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.LEAD))]
) -> Response:
    """Another run, which makes a new plan in place of one that was denied or has expired."""
    replanning.replan(incident, person)
    return back(incident, "replanned")


@router.post("/i/{incident}/note")
def note(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.NOTE))], text: Text = ""
) -> Response:
    """Words for the timeline."""
    statements.note(incident, person, text)
    return back(incident, "noted")


@router.post("/i/{incident}/severity")
def change_severity(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.CHANGE_SEVERITY))],
    severity: Annotated[Severity, Form()],
    reason: Text = "",
) -> Response:
    """A person raises or lowers it."""
    statements.change_severity(incident, person, severity, reason)
    return back(incident, "severity")


@router.post("/i/{incident}/stop-clock")
def stop_clock(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.STOP_CLOCK))],
    clock: Word,
    reason: Text = "",
) -> Response:
    """What the clock was started for is done."""
    statements.stop_clock(incident, person, clock, reason)
    return back(incident, "clock")


@router.post("/i/{incident}/privacy-decide")
def decide_risk(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_BREACH))],
    risk: Annotated[Risk, Form()],
    aware: Word = "",
    reason: Text = "",
) -> Response:
    """How great the risk of a breach is to people; what the page shows as assumed is confirmed."""
    judging.decide(incident, person, risk, reason, aware_at=_instant(aware))
    return back(incident, "judged")


@router.post("/i/{incident}/isolation")
def judge_isolation(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_ISOLATION))],
    word: Annotated[IsolationWord, Form()],
    reason: Text = "",
) -> Response:
    """What is isolated stays, or goes back now."""
    judging_isolation.judge_isolation(incident, person, word, reason)
    return back(incident, f"isolation-{word}")


@router.post("/i/{incident}/close")
def close(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.CLOSE))],
    reason: Text = "",
) -> Response:
    """A person says that it is over."""
    statements.close(incident, person, reason)
    return back(incident, "closed")


@router.post("/i/{incident}/hold")
def hold(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.HOLD))],
    scope: Word,
    hours: Hours,
    reason: Text = "",
) -> Response:
    """Nothing in the scope is changed until somebody lifts it."""
    holding.hold(incident, person, scope.strip(), reason, _in(hours))
    return back(incident, "held")


@router.post("/i/{incident}/lift")
def lift(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.LIFT))],
    scope: Word,
    reason: Text = "",
) -> Response:
    """The hold is over."""
    holding.lift(incident, person, scope.strip(), reason)
    return back(incident, "lifted")


@router.post("/i/{incident}/glass")
def break_glass(
    incident: IncidentId,
    person: Annotated[Person, Depends(permitted(Act.BREAK_GLASS))],
    scope: Word,
    reason: Text = "",
) -> Response:
    """Holds do not bind this incident for a while; compliance is told."""
    holding.break_glass(incident, person, scope.strip(), reason)
    return back(incident, "glass")


@router.post("/hold")
def hold_everything(
    person: Annotated[Person, Depends(permitted(Act.HOLD))], hours: Hours, reason: Text = ""
) -> Response:
    """Nothing at all is changed until somebody lifts it."""
    return back(holding.hold_everything(person, reason, _in(hours)), "held")


@router.post("/declare")
def declare(
    person: Annotated[Person, Depends(permitted(Act.DECLARE))],
    title: Word,
    component: Word,
    procedure: Word,
    severity: Annotated[Severity, Form()],
    reason: Text = "",
) -> Response:
    """A person has seen what no alert has."""
    declared = declaring.declare(person, title, component, procedure, severity, reason)
    if not declared.joined:
        return back(declared.incident, "declared")
    return back(declared.incident, "joined-other" if declared.procedure_differs else "joined")


def _instant(text: str) -> datetime | None:
    """A moment in UTC as people type it, or none. Raises BadInput."""
    if not text.strip():
        return None
    at = moment(f"{text.strip().removesuffix('Z').removesuffix('UTC').strip()}+00:00")
    if at is None:
        raise BadInput(f"expected UTC such as 2026-11-22 14:05, found {text[:40]!a}")
    return at


def _in(hours: int) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def back(incident: str, said: str) -> RedirectResponse:
    """To the page, which says by this code what was done."""
    return RedirectResponse(
        f"/i/{quote(incident, safe='')}?said={said}", _SEE_OTHER, headers=dict(HEADERS)
    )
