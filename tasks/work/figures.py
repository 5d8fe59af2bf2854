"""The figures over incidents, read from the journal and from the drills."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.domain.drills import DrillResult
from tasks.domain.incident_figures import KINDS, IncidentFigures, figures_of
from tasks.work import drill_records, journal

LONGEST = timedelta(days=730)
_DRILLS = 500


@dataclass(frozen=True, slots=True)
class Figures:
    """Incidents that were opened since `since`, and the drills since then, oldest first."""

    since: datetime
    incidents: list[IncidentFigures]
    drills: list[DrillResult]


def figures(since: datetime) -> Figures:
    """Raises BadInput when a line of the journal cannot be read."""
    facts = journal.facts_of_kinds(KINDS, since=since)
    own = (fact for fact in facts if fact.incident != drill_records.JOURNALED_AS)
    drills = [each for each in drill_records.history(_DRILLS) if each.at >= since]
    return Figures(since, figures_of(own), sorted(drills, key=lambda each: each.at))
