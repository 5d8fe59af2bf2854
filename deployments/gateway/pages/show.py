"""The pages that are read: the list, an incident, the quarantine, the forms that stand alone."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse

from deployments.gateway.local_paths import local_path
from deployments.gateway.pages.holds_view import hold_view
from deployments.gateway.pages.incident_view import incident_view
from deployments.gateway.pages.known import CANNOT_BE_READ, KNOWN, Unreadable
from deployments.gateway.pages.listing import by_expiry, by_urgency, row_of, shown_of
from deployments.gateway.pages.look import page
from deployments.gateway.pages.page_route import PageRoute
from deployments.gateway.pages.problems import problems
from deployments.gateway.pages.said import words_of
from deployments.gateway.people import Caller, Who, permitted
from tasks.domain import holds
from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact
from tasks.domain.holds import EVERYTHING
from tasks.domain.incident import Incident
from tasks.domain.roles import Act, may
from tasks.domain.routes import PROCEDURES
from tasks.domain.severity import Severity
from tasks.work import (
    alert_states,
    incidents,
    journal,
    journal_places,
    quarantine,
    replanning,
    responder,
    routing,
)
from tasks.work.floor import NoSuchIncident
from tasks.work.people import Person
from tasks.work.targets import known_targets

router = APIRouter(route_class=PageRoute)

IncidentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Said = Annotated[str, Query(max_length=40)]

_OPEN_LIMIT = 300
_CLOSED_LIMIT = 50
_QUARANTINE_LIMIT = 50
_HOLDS_LIMIT = 50


@router.get("/")
def list_page(request: Request, who: Caller, said: Said = "") -> HTMLResponse:
    """All that is open, what waits for a person first, and what was closed last."""
    now = datetime.now(UTC)
    place = journal_places.head()
    names = journal.open_incidents()
    shown = shown_of(names, journal_places.pressing_incidents(), _OPEN_LIMIT)
    found = KNOWN.read([*shown, *journal_places.closed_incidents(_CLOSED_LIMIT)])
    rows = [row_of(one, who.person, now) for one in found if isinstance(one, Incident)]
    is_open = [row for row in rows if row.closed_at is None]
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    about_holds, trouble = _about_holds()
    held = [hold for hold in holds.standing_holds(about_holds) if not hold.sealed]
    held.sort(key=lambda hold: (hold.scope != EVERYTHING, -hold.seq))
    return page(
        "list.html.j2",
        who=who,
        said=words_of(said),
        place=place,
        waiting=by_expiry(is_open),
        rows=by_urgency(is_open),
        hidden=len(names) - len(shown),
        unreadable=[one for one in unreadable if one.id in shown],
        unreadable_closed=[one for one in unreadable if one.id not in shown],
        unreadable_words=CANNOT_BE_READ,
        closed=[row for row in rows if row.closed_at is not None],
        quarantined=quarantine.newest(0)[0],
        holds=[hold_view(hold) for hold in held[:_HOLDS_LIMIT]],
        holds_hidden=max(0, len(held) - _HOLDS_LIMIT),
        problems=[
            *problems(request.app.state),
            *trouble,
            *(one.problem for one in unreadable),
        ],
        may_declare=may(who.person.role, Act.DECLARE),
        may_hold=may(who.person.role, Act.HOLD),
        may_lift=may(who.person.role, Act.LIFT),
    )


@router.get("/i/{incident}")
def incident_page(incident: IncidentId, who: Caller, said: Said = "") -> HTMLResponse:
    """One incident, with what the person may say about it."""
    return show_incident(known_incident(incident), who, words_of(said))


def known_incident(incident: str) -> Incident:
    """Its state. Raises NoSuchIncident without facts, BadInput with one that cannot be read."""
    found = KNOWN.read([incident])
    if not found:
        raise NoSuchIncident(incident)
    if isinstance(found[0], Unreadable):
        raise BadInput(found[0].problem)
    return found[0]


def _about_holds() -> tuple[list[Fact], list[str]]:
    """What says what may be changed, and the trouble when that cannot be read."""
    try:
        return journal.facts_of_kinds(holds.KINDS), []
    except BadInput as error:
        said = "What is held cannot be read, and until it can no change is carried out: verify the"
        return [], [f"{said} journal ({error})"]


def _targets() -> list[str]:
    """What a scope may be, to choose from; any other may be typed."""
    try:
        return known_targets()
    except BadInput:
        return [EVERYTHING]


def show_incident(
    state: Incident, who: Who, said: str, status: int = 200, *, stale: str = ""
) -> HTMLResponse:
    """The page of an incident, with what has just been said about it.

    `stale` is the hash of a plan that the person wanted to decide on and that stands no longer.
    """
    with responder.connection() as connection:
        judged = alert_states.states_of_in(connection, state.id)
        is_ordered = incidents.response_is_ordered(connection, state.id)
    about_holds, trouble = _about_holds()
    now = datetime.now(UTC)
    view = incident_view(state, who.person, judged, about_holds, now)
    return page(
        "incident.html.j2",
        status,
        who=who,
        said=said,
        stale=stale,
        it=view,
        place=view.place,
        acts={act.name.lower() for act in view.acts},
        again=Act.LEAD in view.acts and not is_ordered and replanning.is_dead_end(state, now),
        targets=_targets(),
        problems=trouble,
        severities=list(Severity),
    )


@router.get("/quarantine")
def quarantine_page(who: Caller) -> HTMLResponse:
    """What an authenticated sender sent and nobody could understand."""
    count, newest = quarantine.newest(_QUARANTINE_LIMIT)
    return page("quarantine.html.j2", who=who, count=count, newest=newest)


@router.get("/declare")
def declare_page(
    who: Caller, _: Annotated[Person, Depends(permitted(Act.DECLARE))]
) -> HTMLResponse:
    """The form by which a person opens an incident."""
    return page(
        "declare.html.j2",
        who=who,
        severities=list(Severity),
        procedures=sorted(PROCEDURES),
        components=_components(),
    )


def _components() -> dict[str, list[str]]:
    """Of the policy in force: each component that an incident is opened for, and its procedures."""
    found: dict[str, list[str]] = {}
    for route in sorted(
        {rule.route for rule in routing.current().rules if not rule.route.heartbeat},
        key=lambda route: (route.component, route.procedure),
    ):
        procedures = found.setdefault(route.component, [])
        if route.procedure not in procedures:
            procedures.append(route.procedure)
    return found


@router.get("/hold")
def hold_page(who: Caller, _: Annotated[Person, Depends(permitted(Act.HOLD))]) -> HTMLResponse:
    """The form by which a person stops every change there is."""
    return page("hold.html.j2", who=who)


@router.get("/login")
def login_page(
    next_: Annotated[str, Query(alias="next", max_length=1000)] = "/",
    failed: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """Where a person shows their token once."""
    return page("login.html.j2", after=local_path(next_), failed=bool(failed))
