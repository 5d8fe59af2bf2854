"""A named person decides how great the risk of a breach is, and from when the law's clocks run.

Who may is said by `tasks.domain.roles`. The clocks and the drafts of notices follow in the same
transaction. A decision stops no clock: for each one a person says what was done.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from tasks.domain.breach_decision import (
    Risk,
    check_aware,
    check_cases,
    decided_fact,
    scope_of,
)
from tasks.domain.facts import Fact, FactKind
from tasks.domain.names import is_same_person
from tasks.domain.privacy_scope import severity_of
from tasks.domain.regimes import shipped
from tasks.domain.roles import Act
from tasks.settings import settings
from tasks.work import privacy_incidents
from tasks.work.floor import Floor, floor, said
from tasks.work.people import Person

NO_CORRECTIONS: Mapping[str, Any] = {}


def decide(
    incident: str,
    person: Person,
    risk: Risk,
    reason: str,
    *,
    aware_at: datetime | None = None,
    cases: Collection[str] = (),
    corrections: Mapping[str, Any] = NO_CORRECTIONS,
) -> Fact:
    """Record the decision; said again it is one fact, said otherwise it replaces the last one.

    `aware_at` None: the legal clocks run from the suspicion on. `cases` are those of regimes.toml.
    `corrections` replace what the settings assume (see `Circumstances`); the rest is confirmed.
    Raises NotPermitted, BadInput, or NotApproved for a closed incident.
    """
    words = said(reason, "a reason for the decision")
    with floor(incident, person, Act.JUDGE_BREACH) as speaker:
        speaker.require_open("decide on the risk")
        measured = scope_of(speaker.state)
        assumed = measured[1] if measured else settings().privacy_incident.circumstances()
        circumstances = assumed.corrected(corrections)
        severity = severity_of(measured[0], circumstances) if measured else None
        data = decided_fact(
            risk,
            words,
            person.role.value,
            severity,
            circumstances,
            check_aware(aware_at, speaker.now),
            check_cases(cases, shipped()),
        )
        last = speaker.last(FactKind.PRIVACY_DECIDED)
        if last is not None and _is_repeated(last, data, speaker):
            return last
        fact = speaker.say(FactKind.PRIVACY_DECIDED, data)
        privacy_incidents.settle_in(speaker.connection, incident)
    return fact


def _is_repeated(last: Fact, data: Mapping[str, Any], speaker: Floor) -> bool:
    return is_same_person(last.actor, speaker.person.name) and dict(last.data) == dict(data)
