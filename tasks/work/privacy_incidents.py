"""What follows from a measured scope and a person's decision: clocks that run, drafts of notices.

Everything is compared with the newest fact of its kind, under the journal's lock, so a run that is
killed and begins again, or a second click, adds nothing, and what comes back to an earlier state is
written again.
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
from tasks.domain.incident import Incident
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
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_without_alerts_in(connection, incident)
        last = _newest(state, FactKind.PRIVACY_SCOPED)
        if last is None or not _says_the_same(_undated(last.data), _undated(data)):
            key = f"scope:{_place(last)}:{_digest(data)}"
            journal.append_in(connection, incident, FactKind.PRIVACY_SCOPED, data, key=key)
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
    return [
        _as_drafted(connection, state, as_fact(each))
        for each in drafts(state, found, house_of(ours), datetime.now(UTC))
    ]


def _as_drafted(connection: Connection[TupleRow], state: Incident, data: Mapping[str, Any]) -> Fact:
    """The notice as it stands: the newest one of its clock, or a new one that says otherwise."""
    last = _newest(state, FactKind.NOTICE_DRAFTED, str(data["clock"]))
    if last is not None and _says_the_same(last.data, data):
        return last
    key = f"notice:{data['clock']}:{_place(last)}:{_digest(data)}"
    fact, _ = journal.append_in(connection, state.id, FactKind.NOTICE_DRAFTED, data, key=key)
    return fact


def _newest(state: Incident, kind: FactKind, clock: str = "") -> Fact | None:
    return next(
        (
            fact
            for fact in reversed(state.facts)
            if fact.kind is kind and (not clock or fact.data.get("clock") == clock)
        ),
        None,
    )


def _place(replaced: Fact | None) -> str:
    """Of the fact that a new one replaces, for its key."""
    return "first" if replaced is None else str(replaced.seq)


def _undated(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, whenever it was."""
    scope = data.get("scope")
    undated = {**scope, "measured_at": ""} if isinstance(scope, Mapping) else scope
    return {**data, "scope": undated}


def _says_the_same(kept: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """As values: the journal may write a number or a tuple another way."""
    return bool(json.loads(json.dumps(dict(kept))) == json.loads(json.dumps(dict(data))))


def house_of(ours: PrivacyIncidentSettings) -> House:
    """Who we are, for notices."""
    return House(ours.dpo_contact, ours.entity, ours.system)


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]
