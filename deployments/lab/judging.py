"""The demo's own judgement: did the response do what it says? It believes none of its words.

What was damaged is known from the fault itself, what was acknowledged from the writer's own file,
and the log is verified once more after a new seal, against a new signature.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from deployments.lab.damage import Damage
from deployments.lab.writer import Acknowledged
from tasks.domain.ledger import Code, is_tombstone

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Accounted:
    """Where the acknowledged records are now. `missing` must be empty."""

    acknowledged: int
    in_service: int
    listed_as_lost: int
    missing: tuple[int, ...]


def account_for(records: Sequence[Acknowledged], dsn: str) -> Accounted:
    """Look for every acknowledged record in the table that is in service now."""
    in_service = lost = 0
    missing: list[int] = []
    with psycopg.connect(dsn) as connection:
        for start in range(0, len(records), _BATCH):
            batch = records[start : start + _BATCH]
            rows = connection.execute(
                "SELECT seq, leaf, record FROM audit_records WHERE seq = ANY(%s)",
                ([one.seq for one in batch],),
            )
            found = {seq: (leaf.hex(), bytes(record)) for seq, leaf, record in rows}
            for one in batch:
                leaf, record = found.get(one.seq, ("", b""))
                if leaf == one.leaf:
                    in_service += 1
                elif record and is_tombstone(record):
                    lost += 1
                else:
                    missing.append(one.seq)
    return Accounted(len(records), in_service, lost, tuple(missing))


def unnamed_and_misnamed(
    damage: Damage, sealed: int, findings: Iterable[Mapping[str, Any]]
) -> tuple[set[int], set[int]]:
    """(damaged records that no finding names, records that a finding names although untouched).

    Without its table the whole log of `sealed` records is damaged.
    """
    named: set[int] = set()
    for finding in findings:
        first = finding.get("seq")
        if finding.get("source") != "table" or first is None:
            continue
        if finding.get("code") != Code.UNSIGNED_TAIL:
            named.update(range(first, first + finding.get("count", 1)))
    wanted = set(range(sealed)) if damage.table else {*damage.modified, *damage.deleted}
    return wanted - named, named - wanted
