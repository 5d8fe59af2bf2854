"""What drills have shown, kept: each as a fact of the journal, and as a row to look things up in.

Both are written in one transaction. A drill belongs to no incident, so its facts stand under a name
of their own, which no incident has.
"""

from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from tasks.domain.backups import Proof
from tasks.domain.drills import Choice, DrillResult, Ending
from tasks.domain.facts import FactKind
from tasks.work import incidents, journal, responder, successes
from tasks.work.successes import Work

JOURNALED_AS = "restore-drills"
"""Under which name the journal has them, where other facts have their incident's id."""

_INSERT = """
INSERT INTO drills (seq, at, identity, choice, ending, result) VALUES (%s, %s, %s, %s, %s, %s)
"""
_NEWEST_OF_EACH = """
SELECT DISTINCT ON (identity) identity, result FROM drills
 WHERE ending <> %s AND identity <> '' ORDER BY identity, seq DESC
"""
_HISTORY = "SELECT result FROM drills ORDER BY seq DESC LIMIT %s"
_NEWEST_SCHEDULED = """
SELECT DISTINCT ON (choice) result FROM drills
 WHERE ending <> %s AND choice <> %s ORDER BY choice, seq DESC
"""
_PASSED = """
SELECT choice, max(at) FROM drills WHERE ending = %s AND choice <> %s GROUP BY choice
"""


def record(result: DrillResult) -> None:
    """Keep the result. One that passed is also a success of the scheduled work."""
    with incidents.durably() as connection:
        fact, _ = journal.append_in(connection, JOURNALED_AS, *_as_fact(result))
        row = (fact.seq, result.at, result.identity, result.choice.value, result.ending.value)
        connection.execute(_INSERT, (*row, Jsonb(result.as_json())))
        if result.ending is Ending.PASSED:
            successes.record_in(connection, Work.DRILL)


def _as_fact(result: DrillResult) -> tuple[FactKind, dict[str, Any]]:
    if result.ending is Ending.UNKNOWN:  # nothing was verified
        return FactKind.NOTE, {"text": result.in_full(), "result": result.as_json()}
    return FactKind.VERIFIED, {
        "what": "a restored backup",
        "holds": result.ending is Ending.PASSED,
        "summary": result.in_full(),
        "result": result.as_json(),
    }


def proven() -> dict[str, Proof]:
    """What the last drill that could tell has proven, by `Backup.identity`.

    A backup of which it failed is not among them, whatever earlier ones said.
    """
    with responder.connection() as connection:
        rows = connection.execute(_NEWEST_OF_EACH, (Ending.UNKNOWN.value,)).fetchall()
    proofs = {identity: DrillResult.from_json(result).proof for identity, result in rows}
    return {identity: proof for identity, proof in proofs.items() if proof is not None}


def history(limit: int = 100) -> list[DrillResult]:
    """The last drills, newest first."""
    with responder.connection() as connection:
        rows = connection.execute(_HISTORY, (limit,)).fetchall()
    return [DrillResult.from_json(result) for (result,) in rows]


def newest_scheduled() -> list[DrillResult]:
    """The last drill that could tell, for each way in which a schedule chooses its backup."""
    asked = (Ending.UNKNOWN.value, Choice.NAMED.value)
    with responder.connection() as connection:
        rows = connection.execute(_NEWEST_SCHEDULED, asked).fetchall()
    return [DrillResult.from_json(result) for (result,) in rows]


def last_passed() -> dict[str, datetime]:
    """When a drill passed last, by the schedule's choice; what never did is missing.

    One that a person has made shows nothing of a schedule that has stopped.
    """
    with responder.connection() as connection:
        asked = (Ending.PASSED.value, Choice.NAMED.value)
        rows = connection.execute(_PASSED, asked).fetchall()
    return {choice: at.astimezone(UTC) for choice, at in rows}
