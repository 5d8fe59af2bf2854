"""What the facts say for the fields of a notice; what they do not say stays UNKNOWN.

A value is given only where something was measured, or a person has decided. Nothing of it names a
person whose data it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.breach_clocks import suspected_at
from tasks.domain.breach_decision import Decision, decision_of, scope_of, standing_severity
from tasks.domain.circumstances import in_words
from tasks.domain.incident import Incident
from tasks.domain.journaled import utc
from tasks.domain.notices import Draft, draft
from tasks.domain.privacy_scope import Scope
from tasks.domain.regimes import Running, Waiting
from tasks.domain.untrusted import visible

_TEXT = 600


@dataclass(frozen=True, slots=True)
class House:
    """Who we are, from the settings; empty: nobody has said."""

    dpo_contact: str = ""
    entity: str = ""
    system: str = ""


def drafts(
    incident: Incident, found: list[Running | Waiting], house: House, now: datetime
) -> list[Draft]:
    """One draft for each clock."""
    known = values(incident, house)
    return [draft(state, known, {}, now) for state in found]


def values(incident: Incident, house: House) -> Mapping[str, str]:
    """Field to value, for the fields of every regime; empty texts are unknown ones."""
    known = {
        "reference": incident.id,
        "type of report": "initial notification",
        "contact of the data protection officer": house.dpo_contact,
        "contacts": house.dpo_contact,
        "contact": house.dpo_contact,
        "entity and LEI": house.entity,
        "provider": house.entity,
        "system and version": house.system,
        "time of detection": utc(incident.opened_at) if incident.opened_at else "",
        "how it was discovered": _discovered(incident),
    }
    suspected = suspected_at(incident)
    if suspected is not None:
        known["date of the incident"] = f"suspected since {utc(suspected)}"
        known["timing"] = f"suspected since {utc(suspected)}"
    measured = scope_of(incident)
    if measured is not None:
        known.update(_measured(measured[0]))
    severity = standing_severity(incident)
    if severity is not None:
        known["severity"] = f"{severity.band}: ENISA {severity.score:g}"
    decided = decision_of(incident)
    if decided is not None:
        known.update(_decided(decided))
    measures = "; ".join(_measures(incident))
    for name in ("measures taken or proposed", "containment", "mitigation", "remedial action"):
        known[name] = measures
    return {name: visible(value, _TEXT) for name, value in known.items() if value}


def _measured(scope: Scope) -> dict[str, str]:
    nature = f"suspected: {scope.words()}"
    kinds = sorted(in_words(each) for each in scope.categories)
    tables = ", ".join(part.table for part in scope.parts if part.is_concerned)
    people = f"{scope.number(scope.people)} annotators"
    known = {
        "nature of the breach": nature,
        "nature": nature,
        "facts": nature,
        "description": nature,
        "scope": scope.words(),
        "impact": scope.words(),
        "categories of records concerned": f"{', '.join(kinds)} data in {tables}" if kinds else "",
        "categories of people concerned": "annotators" if scope.categories else "",
    }
    if scope.people is not None:
        known["number of people concerned"] = known["people concerned"] = people
    if scope.rows is not None:
        known["number of records concerned"] = scope.number(scope.rows)
    return known


def _decided(decided: Decision) -> dict[str, str]:
    judged = f"risk to people: {decided.risk}, decided by {decided.by}: {decided.reason}"
    known = {
        "likely consequences": judged,
        "effects": judged,
        "reasons of the decision": judged,
    }
    if decided.circumstances is not None:
        said = "yes" if decided.circumstances.malicious else "no"
        known["suspected to be unlawful or malicious"] = f"{said}, decided by {decided.by}"
    return known


def _discovered(incident: Incident) -> str:
    names = [str(alert.get("name", "")) for alert in incident.alerts[:3] if alert.get("name")]
    if names:
        return f"by the alert {', '.join(dict.fromkeys(names))}"
    return f"opened by {incident.opened_by}" if incident.opened_by else ""


def _measures(incident: Incident) -> Iterator[str]:
    for hold in incident.held():
        yield f"changes of {hold.scope} refused since {utc(hold.set_at)}"
    for step, done in incident.steps.items():
        yield f"{step}: {done.get('summary', 'done')}"


def as_fact(found: Draft) -> dict[str, Any]:
    """A draft for the journal."""
    unknown = len(found.unknown)
    return {
        "clock": found.clock.id,
        "title": found.clock.title,
        "recipient": found.clock.recipient,
        "source": found.clock.source,
        "regime": found.clock.regime,
        "due": found.due.isoformat() if found.due else None,
        "late": found.late,
        "entries": [
            {"field": each.field, "filled": each.filled.value, "text": each.text}
            for each in found.entries
        ],
        "summary": f"{found.clock.title}: draft for {found.clock.recipient}, "
        f"{unknown} of {len(found.entries)} fields UNKNOWN",
    }
