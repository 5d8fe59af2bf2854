"""The end of an incident whose alerts have resolved: recorded, waited for, then closed.

Everything is decided under the journal's lock, on facts and alert states as they are then: an alert
that fires in between, a plan, a hold or a run that came since the caller looked counts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.facts import FactKind
from tasks.domain.outcome import Ending
from tasks.domain.resolution import is_quiet, last_firing_seq, what_is_unrest, what_keeps_open
from tasks.settings import settings
from tasks.work import alert_states, asking, incidents, journal, responder

_LEAST_URGENT = 3

# Each LATERAL with its LIMIT is a look into an index, whatever the planner believes of the table.
_WITHOUT_FIRING = """
SELECT asked.incident FROM unnest(%s::text[]) AS asked (incident)
 CROSS JOIN LATERAL (
       SELECT FROM alert_states AS mine WHERE mine.incident = asked.incident LIMIT 1) AS mine
  LEFT JOIN LATERAL (
       SELECT true AS fires FROM alert_states AS one
        WHERE one.incident = asked.incident AND one.resolved_at IS NULL
          AND one.starts_at = (SELECT starts_at FROM alert_states AS newest
                                WHERE newest.fingerprint = one.fingerprint
                                ORDER BY began_at DESC, starts_at DESC LIMIT 1)
        LIMIT 1) AS firing ON true
 WHERE firing.fires IS NULL
"""


def quiet_time() -> timedelta:
    """How long alerts must have been resolved before their incident closes."""
    return timedelta(minutes=settings().gateway.resolve_quiet_minutes)


def without_firing_alerts(names: Sequence[str]) -> list[str]:
    """Those of the incidents that have alerts of which none fires any more."""
    with responder.connection() as connection:
        return _without_firing(connection, names)


def record_resolved(incident: str) -> bool:
    """Record that none of the incident's alerts fires any more; whether that is so and was new."""
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        fired = last_firing_seq(state)
        if fired is None or state.closed_at is not None or state.alerts_resolved_at is not None:
            return False
        if not _without_firing(connection, [incident]):
            return False
        _, is_new = journal.append_in(
            connection,
            incident,
            FactKind.ALERTS_RESOLVED,
            {"text": "none of the incident's alerts fires any more"},
            key=f"alerts-resolved:{fired}",  # of what fired last: once for each time it is quiet
        )
    return is_new


def close_if_resolved(incident: str, now: datetime) -> bool:
    """Close the incident and order its report, if nothing speaks against it at `now`."""
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        resolved_at = state.alerts_resolved_at
        if resolved_at is None or not is_quiet(state, now, quiet_time()):
            return False
        if what_keeps_open(state, now) or incidents.response_is_ordered(connection, incident):
            return False
        states = alert_states.states_of_in(connection, incident, now)
        if what_is_unrest(states, asking.standing_in(connection).answered_at):
            return False
        summary = f"all its alerts have been resolved since {resolved_at:%Y-%m-%d %H:%M:%S} UTC"
        data = {"outcome": Ending.RESOLVED.value, "summary": summary}
        _, is_new = journal.append_in(connection, incident, FactKind.CLOSED, data, key="closed")
        incidents.enqueue_in(
            connection,
            incident,
            incidents.INCIDENT,
            f"report:{incident}",
            priority=_LEAST_URGENT,
        )
    return is_new


def _without_firing(connection: Connection[TupleRow], names: Sequence[str]) -> list[str]:
    rows = connection.execute(_WITHOUT_FIRING, (list(names),)).fetchall()
    return [incident for (incident,) in rows]
