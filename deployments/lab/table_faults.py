"""Faults of the audit table, done as a superuser behind the API's back."""

import json
import random

import psycopg

from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.patient import DATABASE

_MODIFIED, _DELETED = 7, 5
_REWARDED = (
    "SELECT seq, record FROM audit_records WHERE event_type = 'annotation' AND seq >= %s"
    " ORDER BY seq LIMIT 1"
)


def tampered_records(lab: Parts, seed: int = 1, *, remove: bool = True) -> Damage:
    """Rewrite seven records and remove five (with `remove`), spread over the signed log.

    Two of the removed are neighbours, and of each kind some are newer than the backup.
    """
    chance = random.Random(seed)  # noqa: S311  reproducible on purpose
    newer = range(lab.backup_size, lab.sealed_size) or range(lab.sealed_size)
    first_lost = chance.randrange(lab.backup_size // 2, lab.backup_size - 1)
    deleted = {
        first_lost,
        first_lost + 1,
        chance.randrange(1, lab.backup_size // 2),
        *chance.sample(newer[: len(newer) // 2], _DELETED - 3),
    }
    if not remove:
        deleted.clear()
    modified: dict[int, bytes] = {}
    with lab.patient.connect(DATABASE) as connection, connection.transaction():
        for part in range(_MODIFIED):
            low = lab.sealed_size * part // _MODIFIED
            high = lab.sealed_size * (part + 1) // _MODIFIED - _MODIFIED
            seq, line = _rewritten(connection, chance.randrange(low, high), deleted, chance)
            modified[seq] = line
        for seq, line in modified.items():
            connection.execute("UPDATE audit_records SET record = %s WHERE seq = %s", (line, seq))
        connection.execute("DELETE FROM audit_records WHERE seq = ANY(%s)", (list(deleted),))
    said = f"{len(modified)} audit records rewritten"
    said += f", {len(deleted)} removed" if deleted else ""
    return Damage(said, tuple(sorted(modified)), tuple(sorted(deleted)))


def table_dropped(lab: Parts) -> Damage:
    """The table is gone, and with it the view: what a wrong migration does."""
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("DROP TABLE audit_records CASCADE")
    return Damage("the table of audit records dropped", table=True)


def _rewritten(
    connection: psycopg.Connection, start: int, avoid: set[int], chance: random.Random
) -> tuple[int, bytes]:
    """An annotation from `start` on with another reward: the reason to tamper with such a log."""
    while True:
        row = connection.execute(_REWARDED, (start,)).fetchone()
        if row is None:
            raise LookupError(f"expected an annotation from record {start} on, found none")
        if row[0] not in avoid:
            break
        start = row[0] + 1
    event = json.loads(row[1])
    event["data"]["reward"] = round(event["data"]["reward"] + chance.choice((-1, 1)) * 0.5, 4)
    event["data"]["preferred"] = "b" if event["data"]["preferred"] == "a" else "a"
    return row[0], json.dumps(event, sort_keys=True, separators=(",", ":")).encode()
