"""Incidents that no alert brought: a person declares one, or joins the one that is open."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alertmanager import clean
from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tasks.domain.policy import Route, RoutingPolicy
from tasks.domain.roles import Act
from tasks.domain.routes import PROCEDURES, TITLE_LIMIT, Remedy
from tasks.domain.severity import Severity
from tasks.work import incidents, journal, routing
from tasks.work.floor import Floor, floor_in, require, said
from tasks.work.people import Person
from tasks.work.placement import dpo_clock, terms_of

PERSON = "person"
"""The rule of a severity that a person has chosen."""

_STRICTEST_LAST = (Remedy.AUTOMATIC, Remedy.APPROVAL, Remedy.MANUAL)
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")  # as the routing policy names them


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a person declares: title and reason are their own words."""

    title: str
    component: str
    procedure: str
    severity: Severity
    reason: str


@dataclass(frozen=True, slots=True)
class Declared:
    """The incident's id, and whether it was open already.

    `procedure_differs`: the incident that was joined follows another procedure than was asked for.
    """

    incident: str
    joined: bool = False
    procedure_differs: bool = False


def declare(
    person: Person, title: str, component: str, procedure: str, severity: Severity, reason: str
) -> Declared:
    """Open an incident, or join the component's open one.

    A joined incident gets all that was declared as a note, and the severity only when it is worse
    than what stands: two people who declare the same do not undo each other. It keeps its
    procedure. Raises NotPermitted or BadInput.
    """
    require(person, Act.DECLARE)
    if _COMPONENT.fullmatch(component) is None:
        raise BadInput(f"expected a component such as audit-trail, found {component[:80]!a}")
    if procedure not in PROCEDURES:
        raise BadInput(
            f"expected a procedure of {', '.join(sorted(PROCEDURES))}, found {procedure[:80]!a}"
        )
    heading = clean(said(title, "a title"), TITLE_LIMIT)
    words = said(reason, "a reason for declaring an incident")
    declared = Declaration(heading, component, procedure, severity, words)
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, component)
        if known is None:
            return Declared(open_in(connection, person, declared).state.id)
        return _join(floor_in(connection, known, person), declared)


def grade(speaker: Floor, severity: Severity, reason: str) -> Fact:
    """Record the person's word on the severity; what is ordered becomes as urgent as it says."""
    data = {"severity": severity.value, "rule": PERSON, "reason": reason}
    fact = speaker.say(FactKind.SEVERITY_ASSIGNED, data)
    incidents.hurry_in(speaker.connection, {speaker.state.id: severity.rank})
    return fact


def open_in(
    connection: Connection[TupleRow],
    person: Person,
    declared: Declaration,
    more: Mapping[str, Any] | None = None,
) -> Floor:
    """Open it inside the caller's transaction, of what is fit to be kept; the floor.

    On the terms of the policy's route, but for one (only a person ends what a person saw) and
    for `more`, which are the caller's.
    """
    policy = routing.current()
    route = _route_of(declared, policy)
    terms = terms_of(route, policy.digest) | {"closes_on_resolve": False} if route else {}
    terms |= more or {}
    incident = incidents.open_in(
        connection,
        declared.title,
        declared.component,
        declared.procedure,
        cause="person",
        actor=person.name,
        terms=terms,
    )
    if route is not None and route.starts_dpo_clock:
        journal.append_all_in(connection, [dpo_clock(incident, route, datetime.now(UTC))])
    incidents.enqueue_in(
        connection,
        incident,
        incidents.INCIDENT,
        f"{incident}:1",
        priority=declared.severity.rank,
        component=declared.component,
        cap=route.max_responses if route else 0,
    )
    speaker = floor_in(connection, incident, person)
    grade(speaker, declared.severity, declared.reason)
    return speaker


def _route_of(declared: Declaration, policy: RoutingPolicy) -> Route | None:
    """The policy's terms for this component and procedure, for the procedure at least.

    Nobody has an alert's labels here, so of several routes the strictest counts: what a person has
    seen is not less dangerous because no route foresaw it. None: the policy has no such procedure.
    """
    routes = [rule.route for rule in policy.rules]
    alike = [route for route in routes if route.procedure == declared.procedure]
    exact = [route for route in alike if route.component == declared.component]
    return _strictest(exact or alike, declared)


def _strictest(routes: Sequence[Route], declared: Declaration) -> Route | None:
    """Of equals the last: in a policy the general comes after the special."""
    if not routes:
        return None
    strictest = max(reversed(routes), key=lambda route: (route.approvers, route.starts_dpo_clock))
    return replace(
        strictest,
        title=declared.title,
        component=declared.component,
        starts_dpo_clock=any(route.starts_dpo_clock for route in routes),
        remedy=max((route.remedy for route in routes), key=_STRICTEST_LAST.index),
    )


def _join(speaker: Floor, declared: Declaration) -> Declared:
    state = speaker.state
    asked = f"{declared.procedure}, {declared.severity}"
    text = clean(f"declared again ({asked}): {declared.title}: {declared.reason}")
    joined = speaker.say(FactKind.NOTE, {"text": text})
    if state.severity is None or declared.severity < state.severity:
        grade(speaker, declared.severity, declared.reason)
    route = _route_of(declared, routing.current())
    if route is not None and route.starts_dpo_clock:
        journal.append_all_in(speaker.connection, [dpo_clock(state.id, route, speaker.now)])
    is_watched = incidents.response_is_ordered(speaker.connection, state.id)
    if not is_watched and standing(state, speaker.now) is not Standing.WAITING:
        incidents.enqueue_in(
            speaker.connection,
            state.id,
            incidents.INCIDENT,
            f"{state.id}:declared:{joined.seq}",
            priority=declared.severity.rank,
            component=state.component,
        )
    return Declared(state.id, joined=True, procedure_differs=state.procedure != declared.procedure)
