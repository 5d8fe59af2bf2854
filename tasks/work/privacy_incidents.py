"""What follows from a measured scope and a person's decision: clocks that run, drafts of notices.

Everything is written under keys made of its content, so a run that is killed and begins again, or
a second click, adds nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alertmanager import clean
from tasks.domain.breach_clocks import starts, states
from tasks.domain.breach_decision import decision_of, scope_of
from tasks.domain.facts import Fact, FactKind
from tasks.domain.metrics import onset
from tasks.domain.notice_values import House, as_fact, drafts
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.privacy_scope import Scope, severity_of
from tasks.domain.regimes import shipped
from tasks.sections.privacy_incidents import PrivacyIncidentSettings
from tasks.settings import Settings, settings
from tasks.work import incidents, journal, privacy_scope
from tasks.work.journal import Entry
from tasks.work.placement import dpo_clock_of

_SUMMARY = 1000


def measure(configured: Settings, incident: str) -> Scope:
    """Measure the scope and record it, with ENISA's severity under what is assumed.

    The DPO's hour begins as well, if nothing has begun it.
    """
    clock = dpo_clock_of("a privacy incident", datetime.now(UTC))
    journal.append(incident, FactKind.CLOCK_STARTED, clock, key=f"clock:{DPO_CLOCK}")
    scope = privacy_scope.measured(configured, onset(journal.read(incident).facts))
    assumed = configured.privacy_incident.circumstances()
    severity = severity_of(scope, assumed)
    found = "no personal data was found, which proves nothing"
    if severity is not None:
        found = f"ENISA {severity.score:g} {severity.band} as assumed: {severity.advice}"
    data = {
        "scope": scope.as_json(),
        "circumstances": assumed.as_json(),
        "severity": None if severity is None else severity.as_json(),
        "summary": clean(f"{scope.words()}; {found}", _SUMMARY),
    }
    same = {**data, "scope": {**scope.as_json(), "measured_at": ""}}
    journal.append(incident, FactKind.PRIVACY_SCOPED, data, key=f"scope:{_digest(same)}")
    return scope


def settle(incident: str) -> list[Fact]:
    """Start the clocks that run and draft the notices; the drafts as they stand, in order."""
    with incidents.durably() as connection:
        journal.lock(connection)
        return settle_in(connection, incident)


def settle_in(connection: Connection[TupleRow], incident: str) -> list[Fact]:
    """The same inside the caller's transaction, which holds the journal's lock.

    Nothing before the scope was measured or a person has decided: then no legal clock is known of.
    """
    state = journal.read_in(connection, incident)
    if scope_of(state) is None and decision_of(state) is None:
        return []
    ours = settings().privacy_incident
    found = states(state, shipped(), ours.regimes)
    journal.append_all_in(
        connection,
        [
            Entry(incident, FactKind.CLOCK_STARTED, data, key=key)
            for key, data in starts(state, found)
        ],
    )
    facts = [as_fact(each) for each in drafts(state, found, house_of(ours), datetime.now(UTC))]
    entries = [
        Entry(
            incident, FactKind.NOTICE_DRAFTED, data, key=f"notice:{data['clock']}:{_digest(data)}"
        )
        for data in facts
    ]
    return [fact for fact, _ in journal.append_all_in(connection, entries)]


def house_of(ours: PrivacyIncidentSettings) -> House:
    """Who we are, for notices."""
    return House(ours.dpo_contact, ours.entity, ours.system)


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]
