"""The floor: one person speaks, about one incident as it is at that moment.

Everything that a person says is one transaction under the journal's lock: what they may say is
decided on the facts as they are then, and is on disk when it has been said.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.roles import Act, allowed, may
from tasks.work import incidents, journal
from tasks.work.people import Person

TEXT_LIMIT = 2000
"""Characters of a reason or a note."""


class NoSuchIncident(BadInput):
    """No fact says that an incident of this id was opened."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The journal, locked, and the incident as it is. `now` is UTC."""

    connection: Connection[TupleRow]
    state: Incident
    person: Person
    now: datetime

    def say(self, kind: FactKind, data: Mapping[str, Any], key: str | None = None) -> Fact:
        """Record a fact under the person's name; one that has this key already is returned."""
        fact, _ = journal.append_in(
            self.connection, self.state.id, kind, data, actor=self.person.name, key=key
        )
        return fact

    def last(self, kind: FactKind) -> Fact | None:
        """The newest fact of this kind."""
        return next((fact for fact in reversed(self.state.facts) if fact.kind is kind), None)

    def require_open(self, what: str) -> None:
        """Raise NotApproved when the incident is closed; `what` completes "to ..."."""
        if self.state.stage is Stage.CLOSED:
            raise NotApproved(
                f"expected an open incident to {what}, found {self.state.id} closed: declare "
                "another, or add a note to this one"
            )

    def escalate(self, step: str) -> None:
        """Order the run that tells whom this concerns, first of all that waits."""
        key = f"escalate:{self.state.id}:{step}"
        incidents.enqueue_in(self.connection, self.state.id, incidents.ESCALATION, key, priority=0)


def require(person: Person, act: Act) -> None:
    """Raise NotPermitted when the person's role does not allow the act."""
    if not may(person.role, act):
        roles = ", ".join(allowed(act))
        raise NotPermitted(
            f"a {person.role} may not {act}: expected one of {roles}; ask somebody whose role is"
        )


@contextmanager
def floor(incident: str, person: Person, act: Act) -> Iterator[Floor]:
    """Let a permitted person speak. Raises NotPermitted, NoSuchIncident, or Transient."""
    require(person, act)
    with incidents.durably() as connection:
        yield floor_in(connection, incident, person)


def floor_in(connection: Connection[TupleRow], incident: str, person: Person) -> Floor:
    """The floor inside the caller's transaction; the caller has checked the role."""
    journal.lock(connection)
    state = journal.read_in(connection, incident)
    if state.opened_at is None:
        raise NoSuchIncident(
            f"expected the id of a known incident, found {incident[:80]!a}: see `runbook incidents`"
        )
    return Floor(connection, state, person, datetime.now(UTC))


def said(text: str, what: str) -> str:
    """Words of a person, fit to be kept. Raises BadInput for none, or too many; `what` names it."""
    found = text.strip()
    if not found:
        raise BadInput(f"expected {what}, found none: say why in your own words")
    if len(found) > TEXT_LIMIT:
        raise BadInput(
            f"expected {what} of at most {TEXT_LIMIT} characters, found {len(found)}: say it "
            "shorter, and link to the rest"
        )
    return clean(found, TEXT_LIMIT)
