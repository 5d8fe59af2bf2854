"""The legal clocks of an incident: which run, since when, read from its facts alone.

They begin with the suspicion until a person says when somebody became aware. A clock that runs from
another notice runs from when that one's clock was stopped as sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.breach_decision import decision_of
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import moment
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.regimes import AWARE, SUSPECTED, Clock, Regimes, Running, Waiting, started

INTERNAL = "internal"
"""The regime of the DPO's own hour, which the alert has started already."""


def suspected_at(incident: Incident) -> datetime | None:
    """When the DPO's hour began, else when the incident was opened."""
    for fact in incident.facts:
        if fact.kind is FactKind.CLOCK_STARTED and fact.data.get("clock") == DPO_CLOCK:
            return moment(fact.data.get("began")) or fact.at
    return incident.opened_at


def states(incident: Incident, regimes: Regimes, enabled: Sequence[str]) -> list[Running | Waiting]:
    """Every clock of the enabled regimes, as the facts have it now."""
    stated: dict[str, datetime] = {}
    suspected, decided = suspected_at(incident), decision_of(incident)
    if suspected is not None:
        stated[SUSPECTED] = suspected
    if decided is not None and decided.aware_at is not None:
        stated[AWARE] = decided.aware_at
    sent: dict[str, datetime] = {}
    for fact in incident.facts:
        if fact.kind is FactKind.CLOCK_STOPPED:
            sent.setdefault(str(fact.data.get("clock", "")), fact.at)
    cases = decided.cases if decided else ()
    clocks = regimes.of([each for each in enabled if each != INTERNAL])
    return [started(clock, stated, sent, cases) for clock in clocks]


def starts(
    incident: Incident, found: Sequence[Running | Waiting]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, data) of each clock that the journal has not as it runs; stopped ones are over.

    The key has the place of the start that it replaces: a corrected decision that comes back to an
    earlier due time is a start of its own. The caller holds the journal's lock.
    """
    newest = {
        fact.data.get("clock"): fact.seq
        for fact in incident.facts
        if fact.kind is FactKind.CLOCK_STARTED
    }
    for state in found:
        if not isinstance(state, Running) or state.clock.id in incident.clocks_stopped:
            continue
        due = state.due.isoformat()
        known: Mapping[str, Any] = incident.clocks.get(state.clock.id, {})
        if known.get("due") != due:
            key = f"clock:{state.clock.id}:{newest.get(state.clock.id, 'first')}:{due}"
            yield key, _start(state.clock, state.began, due)


def _start(clock: Clock, began: datetime, due: str) -> dict[str, Any]:
    return {
        "clock": clock.id,
        "began": began.isoformat(),
        "due": due,
        "recipient": clock.recipient,
        "regime": clock.regime,
        "source": clock.source,
        "reason": f"{clock.title} ({clock.source})",
    }
