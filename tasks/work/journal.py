"""The journal: an append-only, hash-chained list of facts in the responder's PostgreSQL.

Appending takes one advisory lock per transaction, so the chain has one order over all gateways,
children and workers. A fact with a `key` is recorded once per incident: a step that is repeated
after a kill finds its own fact instead of writing a second one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.ledger import GENESIS_PREV, canonical_line, leaf_hash, parse_line
from tasks.work import claims, responder

_JOURNAL_LOCK = 0x52554E42  # "RUNB": any constant does, it must only be ours

_NAME_BYTES = 1000  # two of them fit into one entry of a PostgreSQL index

_HEAD = "SELECT seq, leaf FROM journal ORDER BY seq DESC LIMIT 1"
_BY_KEYS = """
SELECT incident, key, line FROM journal
  JOIN unnest(%b::text[], %b::text[]) AS asked (i, k) ON incident = asked.i AND key = asked.k
"""
_INSERT = """
INSERT INTO journal (seq, incident, key, at, kind, actor, line, leaf)
SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::timestamptz[], %b::text[],
                     %b::text[], %b::bytea[], %b::bytea[])
"""


_OPENED = """
INSERT INTO open_incidents (incident, seq, component, group_key, newest_alert_at)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact to be recorded. With a `key` it is recorded once per incident."""

    incident: str
    kind: FactKind
    data: Mapping[str, Any]
    actor: str = RUNBOOK
    key: str | None = None


_KINDS = {kind.value: kind for kind in FactKind}


def _as_fact(line: bytes) -> Fact:
    event = parse_line(line)
    try:
        return Fact(
            seq=event["seq"],
            incident=event["incident"],
            at=datetime.fromisoformat(event["at"]),
            kind=_KINDS.get(event["kind"], FactKind.UNKNOWN),
            actor=event["actor"],
            data=event["data"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"expected a line of the journal to be a fact, found {error!r}") from error


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
    ((line, is_new),) = append_all_in(connection, [Entry(incident, kind, data, actor, key)])
    return _as_fact(line), is_new


def append_all_in(
    connection: Connection[TupleRow], entries: Sequence[Entry]
) -> list[tuple[bytes, bool]]:
    """Record facts in their order, in three statements however many: (line, whether it is new)."""
    for entry in entries:
        _check_names(incident=entry.incident, actor=entry.actor, key=entry.key)
    lock(connection)
    claims.prove_in(connection)
    known = _known(connection, entries)
    head = connection.execute(_HEAD).fetchone()
    seq, prev = (head[0] + 1, head[1].hex()) if head else (0, GENESIS_PREV)
    recorded: list[tuple[bytes, bool]] = []
    rows: list[tuple[Any, ...]] = []
    opening: list[bytes] = []
    for entry in entries:
        name = (entry.incident, entry.key)
        if entry.key is not None and name in known:
            recorded.append((known[name], False))
            continue
        at = datetime.now(UTC)
        line = _line(entry, prev, at, seq)
        leaf = leaf_hash(line)
        kind = entry.kind.value
        rows.append((seq, entry.incident, entry.key, at, kind, entry.actor, line, leaf))
        recorded.append((line, True))
        known[name] = line
        if entry.kind in {FactKind.OPENED, FactKind.CLOSED}:
            opening.append(line)
        seq, prev = seq + 1, leaf.hex()
    if rows:
        connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
        _note_what_is_open(connection, map(_as_fact, opening))
    return recorded


def _note_what_is_open(connection: Connection[TupleRow], facts: Iterable[Fact]) -> None:
    """Keep the index of open incidents in step with the facts, in their transaction."""
    for fact in facts:
        if fact.kind is FactKind.OPENED:
            component = str(fact.data.get("component", ""))
            group_key = str(fact.data.get("group_key", "") or component)
            row = (fact.incident, fact.seq, component, group_key, fact.at)
            connection.execute(_OPENED, row)
        elif fact.kind is FactKind.CLOSED:
            connection.execute("DELETE FROM open_incidents WHERE incident = %s", (fact.incident,))


def _known(
    connection: Connection[TupleRow], entries: Sequence[Entry]
) -> dict[tuple[str, str | None], bytes]:
    asked = [(entry.incident, entry.key) for entry in entries if entry.key is not None]
    if not asked:
        return {}
    columns = [list(column) for column in zip(*asked, strict=True)]
    rows = connection.execute(_BY_KEYS, columns).fetchall()
    return {(incident, key): line for incident, key, line in rows}


def _line(entry: Entry, prev: str, at: datetime, seq: int) -> bytes:
    return canonical_line(
        {
            "_prev": prev,
            "actor": entry.actor,
            "at": at.isoformat(),
            "data": dict(entry.data),
            "incident": entry.incident,
            "kind": entry.kind.value,
            "seq": seq,
        }
    )


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


def read_without_alerts_in(connection: Connection[TupleRow], incident: str) -> Incident:
    """As `read_in` but for its alerts, of which there may be thousands."""
    rows = connection.execute(
        "SELECT line FROM journal WHERE incident = %s AND kind <> %s ORDER BY seq",
        (incident, FactKind.ALERT_RECEIVED.value),
    ).fetchall()
    return fold(incident, (_as_fact(line) for (line,) in rows))


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


def read_on(known: Incident) -> Incident:
    """The state of an incident of which the beginning is known, whose facts are not read again."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT line FROM journal WHERE incident = %s AND seq > %s ORDER BY seq",
            (known.id, known.facts[-1].seq if known.facts else -1),
        ).fetchall()
    return fold(known.id, [*known.facts, *(_as_fact(line) for (line,) in rows)])


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
        return facts_of_kinds_in(connection, kinds, since)


def facts_of_kinds_in(
    connection: Connection[TupleRow], kinds: tuple[FactKind, ...], since: datetime | None = None
) -> list[Fact]:
    """As `facts_of_kinds`, as the caller's transaction sees them."""
    rows = connection.execute(
        "SELECT line FROM journal WHERE kind = ANY(%s) AND at >= %s ORDER BY seq",
        ([kind.value for kind in kinds], since or datetime.min.replace(tzinfo=UTC)),
    ).fetchall()
    return [_as_fact(line) for (line,) in rows]


def facts_of_open_in(connection: Connection[TupleRow], kind: FactKind) -> list[Fact]:
    """Facts of one kind of the open incidents, in order, as the caller's transaction sees them."""
    rows = connection.execute(
        "SELECT line FROM journal JOIN open_incidents USING (incident)"
        " WHERE kind = %s ORDER BY journal.seq",
        (kind.value,),
    ).fetchall()
    return [_as_fact(line) for (line,) in rows]


def open_incidents() -> list[str]:
    """Ids of incidents that were opened and not closed, oldest first."""
    with responder.connection() as connection:
        rows = connection.execute("SELECT incident FROM open_incidents ORDER BY seq").fetchall()
    return [incident for (incident,) in rows]


def all_incidents(limit: int = 100) -> list[str]:
    """Ids of incidents, newest first."""
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT incident FROM journal WHERE kind = %s ORDER BY seq DESC LIMIT %s",
            (FactKind.OPENED.value, limit),
        ).fetchall()
    return [incident for (incident,) in rows]
