"""What people say about incidents, as programs send it: JSON in, the recorded fact out.

The pages' forms call the same functions (`tasks.work.statements`), which decide what is allowed.
"""

from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from deployments.gateway.answers import refusal
from deployments.gateway.decisions import IncidentId, recorded
from deployments.gateway.people import Person, permitted
from tasks.domain.breach_decision import Risk
from tasks.domain.change_wish import Wanted
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import Fact
from tasks.domain.holds import EVERYTHING
from tasks.domain.isolation_state import Word
from tasks.domain.recovery_target import Target
from tasks.domain.roles import Act
from tasks.domain.routes import TITLE_LIMIT
from tasks.domain.severity import Severity
from tasks.work import (
    asking_for_change,
    asking_for_restore,
    asking_for_rollback,
    judging,
    judging_isolation,
    replanning,
    statements,
)
from tasks.work.floor import TEXT_LIMIT

router = APIRouter()

Words = Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Scope = Annotated[str, Field(min_length=1, max_length=400)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Note(_Body):
    """What a person wants to have on record."""

    text: Words


class Reason(_Body):
    """Why; shown in the timeline and in the report."""

    reason: Words


class Graded(Reason):
    """A severity, up or down."""

    severity: Severity


class Declaration(Graded):
    """An incident that no alert brought."""

    title: Annotated[str, Field(min_length=1, max_length=TITLE_LIMIT)]
    component: Name
    procedure: Name


class Restored(Reason):
    """A restore, to a target as people type it: `latest`, `2026-11-22 14:05Z`."""

    target: Annotated[str, Field(min_length=1, max_length=64)]


class RolledBack(Reason):
    """A rollback of deployment/NAME or statefulset/NAME, to a revision named by its holder."""

    workload: Annotated[str, Field(min_length=1, max_length=300)]
    holder: Annotated[str, Field(max_length=253)] = ""


class Changed(Reason):
    """Other replicas of the API or the workers, or the whole system stopped or started."""

    wanted: Wanted
    part: Annotated[str, Field(max_length=40)] = ""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 0


class Judged(Reason):
    """The risk of a breach of personal data, since when the house is aware, and corrections."""

    risk: Risk
    aware_at: AwareDatetime | None = None
    cases: Annotated[list[Name], Field(max_length=10)] = []
    corrections: Annotated[dict[Name, Any], Field(max_length=10)] = {}


class Scoped(Reason):
    """Something about the changes of a scope: `*`, or a target such as database/rlhf_audit."""

    scope: Scope


class Held(Scoped):
    """A hold, and when somebody looks at it again."""

    review_at: AwareDatetime


class HeldEverything(Reason):
    """A hold that belongs to no other incident; of everything unless it says of what."""

    scope: Scope = EVERYTHING
    review_at: AwareDatetime


class LiftedEverywhere(Reason):
    """The end of such a hold."""

    scope: Scope = EVERYTHING


@router.post("/incidents")
def declare(
    body: Declaration, person: Annotated[Person, Depends(permitted(Act.DECLARE))]
) -> JSONResponse:
    """Open an incident by hand, or join the component's open one; the answer says which."""

    def speak() -> dict[str, Any]:
        declared = statements.declare(
            person, body.title, body.component, body.procedure, body.severity, body.reason
        )
        return {**asdict(declared), "by": person.name}

    return answered(speak)


@router.post("/restores")
def ask_for_restore(
    body: Restored, person: Annotated[Person, Depends(permitted(Act.DECLARE))]
) -> JSONResponse:
    """Ask for the database as of a target; the answer names the incident that will plan it."""

    def speak() -> dict[str, Any]:
        target = Target.parse(body.target)
        asked = asking_for_restore.ask_for_restore(person, target, body.reason)
        return {**asdict(asked), "by": person.name}

    return answered(speak)


@router.post("/rollbacks")
def ask_for_rollback(
    body: RolledBack, person: Annotated[Person, Depends(permitted(Act.DECLARE))]
) -> JSONResponse:
    """Ask for a release to be rolled back; the answer names the incident that will plan it."""

    def speak() -> dict[str, Any]:
        asked = asking_for_rollback.ask_for_rollback(
            person, body.workload, body.holder, body.reason
        )
        return {**asdict(asked), "by": person.name}

    return answered(speak)


@router.post("/changes")
def ask_for_change(
    body: Changed, person: Annotated[Person, Depends(permitted(Act.DECLARE))]
) -> JSONResponse:
    """Ask for a change; the answer names the incident that will plan it."""

    def speak() -> dict[str, Any]:
        asked = asking_for_change.ask_for_change(
            person, body.wanted, body.reason, body.part, body.replicas
        )
        return {**asdict(asked), "by": person.name}

    return answered(speak)


@router.post("/incidents/{incident}/acknowledge")
def acknowledge(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.ACKNOWLEDGE))]
) -> JSONResponse:
    """A person has taken notice; the first time counts."""
    return _said(lambda: statements.acknowledge(incident, person))


@router.post("/incidents/{incident}/notes")
def add_note(
    incident: IncidentId, body: Note, person: Annotated[Person, Depends(permitted(Act.NOTE))]
) -> JSONResponse:
    """A note in the incident's timeline."""
    return _said(lambda: statements.note(incident, person, body.text))


@router.post("/incidents/{incident}/lead")
def take_lead(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.LEAD))]
) -> JSONResponse:
    """The person leads the response from now on."""
    return _said(lambda: statements.take_lead(incident, person))


@router.post("/incidents/{incident}/replan")
def replan(
    incident: IncidentId, person: Annotated[Person, Depends(permitted(Act.LEAD))]
) -> JSONResponse:
    """Order another run, which makes a new plan in place of one that has ended."""
    return _said(lambda: replanning.replan(incident, person))


@router.post("/incidents/{incident}/severity")
def change_severity(
    incident: IncidentId,
    body: Graded,
    person: Annotated[Person, Depends(permitted(Act.CHANGE_SEVERITY))],
) -> JSONResponse:
    """Raise or lower the severity."""
    return _said(lambda: statements.change_severity(incident, person, body.severity, body.reason))


@router.post("/incidents/{incident}/close")
def close(
    incident: IncidentId, body: Reason, person: Annotated[Person, Depends(permitted(Act.CLOSE))]
) -> JSONResponse:
    """End the incident by hand; its report is ordered."""
    return _said(lambda: statements.close(incident, person, body.reason))


@router.post("/incidents/{incident}/clocks/{clock}/stop")
def stop_clock(
    incident: IncidentId,
    clock: Annotated[str, Path(pattern=r"^[a-z0-9.-]{1,64}$")],
    body: Reason,
    person: Annotated[Person, Depends(permitted(Act.STOP_CLOCK))],
) -> JSONResponse:
    """What the clock was started for is done: whom it names has been told."""
    return _said(lambda: statements.stop_clock(incident, person, clock, body.reason))


@router.post("/incidents/{incident}/privacy/decide")
def decide_risk(
    incident: IncidentId,
    body: Judged,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_BREACH))],
) -> JSONResponse:
    """How great the risk to people is; the law's clocks and the drafts follow from it."""
    return _said(
        lambda: judging.decide(
            incident,
            person,
            body.risk,
            body.reason,
            aware_at=body.aware_at,
            cases=body.cases,
            corrections=body.corrections,
        )
    )


@router.post("/incidents/{incident}/isolation/{word}")
def judge_isolation(
    incident: IncidentId,
    word: Word,
    body: Reason,
    person: Annotated[Person, Depends(permitted(Act.JUDGE_ISOLATION))],
) -> JSONResponse:
    """Confirm what is isolated, so that it stays, or have it taken back now."""
    return _said(lambda: judging_isolation.judge_isolation(incident, person, word, body.reason))


@router.post("/incidents/{incident}/holds")
def hold(
    incident: IncidentId, body: Held, person: Annotated[Person, Depends(permitted(Act.HOLD))]
) -> JSONResponse:
    """Refuse every change of a scope, for this incident's sake."""
    return _said(lambda: statements.hold(incident, person, body.scope, body.reason, body.review_at))


@router.post("/incidents/{incident}/holds/lift")
def lift(
    incident: IncidentId, body: Scoped, person: Annotated[Person, Depends(permitted(Act.LIFT))]
) -> JSONResponse:
    """Let the changes of a scope go on."""
    return _said(lambda: statements.lift(incident, person, body.scope, body.reason))


@router.post("/incidents/{incident}/glass")
def break_glass(
    incident: IncidentId,
    body: Scoped,
    person: Annotated[Person, Depends(permitted(Act.BREAK_GLASS))],
) -> JSONResponse:
    """For an hour the holds on the scope do not bind this incident; compliance is told."""
    return _said(lambda: statements.break_glass(incident, person, body.scope, body.reason))


@router.post("/holds")
def hold_everything(
    body: HeldEverything, person: Annotated[Person, Depends(permitted(Act.HOLD))]
) -> JSONResponse:
    """Refuse every change, whichever incident it is for."""

    def speak() -> dict[str, Any]:
        incident = statements.hold_everything(person, body.reason, body.review_at, body.scope)
        return {"incident": incident, "by": person.name}

    return answered(speak)


@router.post("/holds/lift")
def lift_from_everything(
    body: LiftedEverywhere, person: Annotated[Person, Depends(permitted(Act.LIFT))]
) -> JSONResponse:
    """Lift what `POST /holds` has set."""
    return _said(lambda: statements.lift_from_everything(person, body.reason, body.scope))


def _said(speak: Callable[[], Fact]) -> JSONResponse:
    return answered(lambda: recorded(speak()))


def answered(speak: Callable[[], dict[str, Any]]) -> JSONResponse:
    """What was recorded, or why nothing was."""
    try:
        return JSONResponse(speak())
    except NotPermitted as error:
        return _refused(HTTPStatus.FORBIDDEN, "forbidden", "a role that allows it", error)
    except statements.NoSuchIncident as error:
        return _refused(HTTPStatus.NOT_FOUND, "no such incident", "a known incident", error)
    except NotApproved as error:
        return _refused(HTTPStatus.CONFLICT, "not now", "an incident in a state for it", error)
    except BadInput as error:
        return _refused(HTTPStatus.UNPROCESSABLE_ENTITY, "not understood", "other words", error)


def _refused(status: HTTPStatus, error: str, expected: str, found: Exception) -> JSONResponse:
    return refusal(status, error, expected, str(found), "read /incidents")
