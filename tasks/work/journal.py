"""The journal: an append-only, hash-chained list of facts in the responder's PostgreSQL.

Appending takes one advisory lock per transaction, so the chain has one order over all gateways,
children and workers. A fact with a `key` is recorded once per incident: a step that is repeated
after a kill finds its own fact instead of writing a second one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.ledger import GENESIS_PREV, canonical_line, leaf_hash, parse_line
from tasks.work import responder

_JOURNAL_LOCK = 0x52554E42  # "RUNB": any constant does, it must only be ours

_NAME_BYTES = 1000  # two of them fit into one entry of a PostgreSQL index

_HEAD = "SELECT seq, leaf FROM journal ORDER BY seq DESC LIMIT 1"
_BY_KEY = "SELECT line FROM journal WHERE incident = %s AND key = %s"
_INSERT = (
    "INSERT INTO journal (seq, incident, key, at, kind, actor, line, leaf)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)


def _as_fact(line: bytes) -> Fact:
    event = parse_line(line)
    return Fact(
        seq=event["seq"],
        incident=event["incident"],
        at=datetime.fromisoformat(event["at"]),
        kind=FactKind(event["kind"]),
        actor=event["actor"],
        data=event["data"],
    )


def _check_names(**names: str | None) -> None:
    """BadInput for what a text column or its index cannot hold."""
    for name, text in names.items():
        if text is not None and not _is_storable(text):
            raise BadInput(
                f"expected {name} of a fact as Unicode without NUL, at most {_NAME_BYTES} bytes, "
                f"found {text[:80]!a}"
            )


def _is_storable(text: str) -> bool:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return b"\0" not in encoded and len(encoded) <= _NAME_BYTES


def lock(connection: Connection[TupleRow]) -> None:
    """Make the caller's transaction the only one that writes facts until it ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_JOURNAL_LOCK,))


def append_in(
    connection: Connection[TupleRow],
    incident: str,
    kind: FactKind,
    data: Mapping[str, Any],
    *,
    actor: str = RUNBOOK,
    key: str | None = None,
) -> tuple[Fact, bool]:
    """Record a fact inside the caller's transaction; (fact, whether it is new).

    A fact with the same incident and key is returned instead of being written again. Raises
    BadInput for names that cannot be stored and for data that is no JSON or over 1 MiB.
    """
    _check_names(incident=incident, actor=actor, key=key)
    lock(connection)
    if key is not None:
        known = connection.execute(_BY_KEY, (incident, key)).fetchone()
        if known is not None:
            return _as_fact(known[0]), False
    head = connection.execute(_HEAD).fetchone()
    seq, prev = (head[0] + 1, head[1].hex()) if head else (0, GENESIS_PREV)
    at = datetime.now(UTC)
    line = canonical_line(
        {
            "_prev": prev,
            "actor": actor,
            "at": at.isoformat(),
            "data": dict(data),
            "incident": incident,
            "kind": kind.value,
            "seq": seq,
        }
    )
    connection.execute(_INSERT, (seq, incident, key, at, kind.value, actor, line, leaf_hash(line)))
    return _as_fact(line), True


def append(
    incident: str,
    kind: FactKind,
    data: Mapping[str, Any],
    *,
    actor: str = RUNBOOK,
    key: str | None = None,
) -> Fact:
    """Record a fact, durably when this returns; an existing fact of the same key is returned."""
    with responder.connection() as connection, connection.transaction():
        fact, _ = append_in(connection, incident, kind, data, actor=actor, key=key)
        return fact


def read_in(connection: Connection[TupleRow], incident: str) -> Incident:
    """The incident's state as the caller's transaction sees it. BadInput for no possible id."""
    _check_names(incident=incident)
    rows = connection.execute(
        "SELECT line FROM journal WHERE incident = %s ORDER BY seq", (incident,)
    ).fetchall()
    return fold(incident, (_as_fact(line) for (line,) in rows))


def read(incident: str) -> Incident:
    """The incident's state: the fold of its facts."""
    with responder.connection() as connection:
        return read_in(connection, incident)


def facts_after(seq: int, limit: int = 1000) -> list[Fact]:
    """Facts of all incidents after `seq`, at most `limit`: what a watcher has not seen yet."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT line FROM journal WHERE seq > %s ORDER BY seq LIMIT %s", (seq, limit)
        ).fetchall()
    return [_as_fact(line) for (line,) in rows]


def facts_of_kinds(kinds: tuple[FactKind, ...], since: datetime | None = None) -> list[Fact]:
    """Facts of these kinds over all incidents, in order (holds; changes of the last hour)."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT line FROM journal WHERE kind = ANY(%s) AND at >= %s ORDER BY seq",
            ([kind.value for kind in kinds], since or datetime.min.replace(tzinfo=UTC)),
        ).fetchall()
    return [_as_fact(line) for (line,) in rows]


def open_incidents() -> list[str]:
    """Ids of incidents that were opened and not closed, oldest first."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT incident FROM journal WHERE kind = %s AND incident NOT IN"
            " (SELECT incident FROM journal WHERE kind = %s) ORDER BY seq",
            (FactKind.OPENED.value, FactKind.CLOSED.value),
        ).fetchall()
    return [incident for (incident,) in rows]


def all_incidents(limit: int = 100) -> list[str]:
    """Ids of incidents, newest first."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT incident FROM journal WHERE kind = %s ORDER BY seq DESC LIMIT %s",
            (FactKind.OPENED.value, limit),
        ).fetchall()
    return [incident for (incident,) in rows]
