"""What must be true after sessions made trouble: the right ones were ended, and nobody else."""

from typing import Any

from deployments.lab.expectations import Check, Situation
from tasks.domain.facts import FactKind

_LEFT = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s) AND state = 'active'"
_THERE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
_FREE = """
SELECT current_setting('max_connections')::int - count(*)
  FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
_ROOM = 10


def of_sessions(now: Situation) -> list[Check]:
    """The diagnosis, the state of the server now, and who got a signal."""
    found = _first_cause(now)
    culprits = sorted(now.damage.culprits)
    signalled = _signalled(now)
    with now.lab.patient.connect() as connection:
        (active,) = connection.execute(_LEFT, (culprits,)).fetchone() or (None,)
        (there,) = connection.execute(_THERE, (culprits,)).fetchone() or (None,)
        (waiting,) = connection.execute(_WAITING).fetchone() or (None,)
        (free,) = connection.execute(_FREE).fetchone() or (0,)
    return [
        Check("the first diagnosis names the cause", found == now.damage.cause, found),
        Check(
            "none of those who caused it is at it any more, and nobody waits for a lock",
            active == 0 and waiting == 0,
            f"{there} of {len(culprits)} sessions are still there, {active} at work, "
            f"{waiting} wait",
        ),
        Check("there are connections for others", free >= _ROOM, f"{free} are free"),
        Check(
            "no session but theirs was signalled",
            bool(signalled) and signalled <= now.damage.culprits,
            f"{len(signalled)} were",
        ),
    ]


def _first_cause(now: Situation) -> str:
    said = [fact.data for fact in now.incident.facts if fact.kind is FactKind.CAUSES_FOUND]
    causes: list[dict[str, Any]] = next((each["causes"] for each in said if each["causes"]), [])
    return str(causes[0]["code"]) if causes else "none"


def _signalled(now: Situation) -> set[int]:
    return {
        each["pid"]
        for fact in now.incident.facts
        if fact.kind is FactKind.STEP_DONE
        for each in fact.data["result"].get("sessions", ())
        if each["verdict"] == "signalled"
    }
