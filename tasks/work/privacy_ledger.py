"""The ledger of spends and the releases of the log, of one moment; and its correction.

Which events are releases and what they charge is said by the reconciliation rules, which a
recovery uses as well.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.domain.errors import BadInput
from tasks.domain.privacy_accounting import NOTHING_SPENT
from tasks.domain.privacy_spends import (
    Charge,
    Gap,
    Key,
    Reconciled,
    Release,
    is_guessed,
    mechanism_of,
    once,
    reconcile,
    spelled,
)
from tasks.domain.reconciliation_rules import COUNT, Releases, at_path
from tasks.sections.privacy import ReleaseFields
from tasks.settings import Settings
from tasks.work.log_events import amount, events_of, log_size

_TEXT = 200
_EVERYTHING = "everything"
_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Books:
    """Where log and ledger are, and how to read them. `writer_dsn` may raise charges."""

    dsn: str = field(repr=False)
    writer_dsn: str = field(repr=False)
    rules: Releases
    fields: ReleaseFields
    epsilon: str
    delta: str
    total: str
    registry: tuple[str, ...]
    most: int
    settle_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """Log and ledger as they were at one moment.

    `registered` is None where there is no table; releases after record `until` may not be charged
    yet.
    """

    releases: tuple[Release, ...]
    unreadable: int
    charges: tuple[Charge, ...]
    registered: frozenset[str] | None
    until: int | None = None

    def reconciled(self) -> Reconciled:
        """The ledger against the log."""
        return reconcile(self.releases, self.charges, self.registered, self.until)


def books_of(settings: Settings) -> Books:
    """Raises BadInput when the rules name no releases."""
    rules = settings.database.read_reconciliation_rules().releases
    if rules is None:
        raise BadInput("the reconciliation rules name no events that are releases: add [releases]")
    database, privacy = settings.database, settings.privacy
    return Books(
        dsn=database.reader_dsn.get_secret_value(),
        writer_dsn=postgres.dsn_of(database.recovery_dsn.get_secret_value(), database.name),
        rules=rules,
        fields=privacy.release,
        epsilon=privacy.epsilon_column,
        delta=privacy.delta_column,
        total=privacy.total_column,
        registry=tuple(privacy.registry.split(".")) if privacy.registry else (),
        most=privacy.most_releases,
        settle_seconds=privacy.settle_seconds,
        seconds=privacy.seconds,
    )


def read(books: Books) -> Read:
    """Both, and once more after a while where the ledger lacks something: it may only lag.

    Then the releases of the first look are held against the ledger of the second.
    """
    seen = _read(books)
    if not seen.reconciled().gaps:
        return seen
    time.sleep(books.settle_seconds)
    return replace(_read(books), until=max(each.seq for each in seen.releases))


def charge(books: Books, gaps: Sequence[Gap], fence: Callable[[], None]) -> int:
    """Raise these rows to what the log proves, in one transaction; none is ever lowered.

    Done again it changes nothing. Returns how many rows were looked at.
    """
    keys = {gap.key for gap in gaps}
    with postgres.connect(
        books.writer_dsn,
        timeout_seconds=books.seconds,
        statement_seconds=books.seconds,
        autocommit=False,
    ) as connection:
        releases, _ = _releases(connection, books)
        fence()
        for key, spent in _spent(releases, keys).items():
            connection.execute(_raising(books), {"key": list(key), "spent": list(spent)})
    return len(keys)


def _read(books: Books) -> Read:
    with postgres.connect(
        books.dsn,
        timeout_seconds=books.seconds,
        statement_seconds=books.seconds,
        autocommit=False,
    ) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        releases, unreadable = _releases(connection, books)
        charges = _charges(connection, books)
        return Read(releases, unreadable, charges, _registered(connection, books))


def _releases(connection: Connection[TupleRow], books: Books) -> tuple[tuple[Release, ...], int]:
    found: list[Release] = []
    unreadable = 0
    for seq, event in events_of(connection, books.rules.event_type, 0, log_size(connection)):
        release = release_of(seq, event, books)
        if release is None:
            unreadable += 1
        else:
            found.append(release)
        if len(found) + unreadable > books.most:
            raise BadInput(
                f"expected at most {books.most} releases in the log, found more: raise "
                "RUNBOOK_PRIVACY__MOST_RELEASES"
            )
    return tuple(found), unreadable


def release_of(seq: int, event: Mapping[str, Any], books: Books) -> Release | None:
    """The release that an event records; None when it does not say what it costs, or whose."""
    paths = dict(books.rules.spend)
    fields = books.fields
    epsilon, delta = (_spend(event, paths.get(name)) for name in (books.epsilon, books.delta))
    key = [at_path(event, path) for _, path in books.rules.key]
    block = at_path(event, fields.block) if fields.block else _EVERYTHING
    multiplier, rate = (_spend(event, path) for path in (fields.multiplier, fields.rate))
    named = at_path(event, fields.mechanism) if fields.mechanism else None
    if epsilon is None or delta is None or _is_odd(event, fields):
        return None
    if not all(isinstance(each, str) for each in (*key, block)):
        return None
    name = "" if named is None else str(named)[:_TEXT]
    mechanism = mechanism_of(name, epsilon, delta, multiplier, rate)
    if mechanism is None:
        return None
    request = at_path(event, fields.request) if fields.request else None
    event_id = event.get("event_id")
    return Release(
        seq=seq,
        event=event_id if isinstance(event_id, str) else "",
        key=tuple(key),
        block=block,
        epsilon=epsilon,
        delta=delta,
        mechanism=mechanism,
        request=request[:_TEXT] if isinstance(request, str) else "",
        is_guessed=is_guessed(name, mechanism),
    )


def _is_odd(event: Mapping[str, Any], fields: ReleaseFields) -> bool:
    """Whether it says something of its noise that is no number: then it is not known at all."""
    return any(
        path and at_path(event, path) is not None and _spend(event, path) is None
        for path in (fields.multiplier, fields.rate)
    )


def _spend(event: Mapping[str, Any], path: str | None) -> Decimal | None:
    if not path:
        return NOTHING_SPENT if path is None else None
    found = amount(event, path)
    return None if found is None else spelled(found)


def _charges(connection: Connection[TupleRow], books: Books) -> tuple[Charge, ...]:
    keys = [sql.SQL("{}::text").format(sql.Identifier(name)) for name, _ in books.rules.key]
    counts = [name for name, path in books.rules.spend if path == COUNT]
    spends = dict(books.rules.spend)
    known = [name if name in spends else "" for name in (books.epsilon, books.delta)]
    query = sql.SQL("SELECT {}, {}, {}, {}, {} FROM {} LIMIT {}").format(
        sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(keys)),
        *(_column(name, "numeric") for name in known),
        _column(counts[0] if counts else "", "bigint"),
        _column(books.total, "numeric"),
        sql.Identifier(*books.rules.table),
        books.most + 1,
    )
    rows = connection.execute(query).fetchall()
    if len(rows) > books.most:
        raise BadInput(f"expected at most {books.most} rows of the ledger, found more")
    return tuple(
        Charge(
            key=tuple(str(each) for each in key),
            epsilon=_charged(epsilon),
            delta=_charged(delta),
            operations=_NO_LIMIT if operations is None else int(operations),
            total=None if total is None else spelled(Decimal(total)),
        )
        for key, epsilon, delta, operations, total in rows
    )


def _column(name: str, kind: str) -> sql.Composable:
    """A column, or NULL where the ledger has none for this."""
    if not name:
        return sql.SQL("NULL")
    return sql.SQL("{}::" + kind).format(sql.Identifier(name))


def _charged(found: Decimal | None) -> Decimal:
    """What a row charges; what is no number charges nothing."""
    amount_ = None if found is None else spelled(Decimal(found))
    return NOTHING_SPENT if amount_ is None else amount_


def _registered(connection: Connection[TupleRow], books: Books) -> frozenset[str] | None:
    if not books.registry:
        return None
    query = sql.SQL("SELECT event_id FROM {} WHERE event_id IS NOT NULL LIMIT {}").format(
        sql.Identifier(*books.registry), books.most + 1
    )
    return frozenset(str(name) for (name,) in connection.execute(query).fetchall())


def _spent(releases: Sequence[Release], keys: set[Key]) -> dict[Key, list[Decimal]]:
    """What the log says of these keys, in the order epsilon, delta, count."""
    found: dict[Key, list[Decimal]] = {}
    for each in once(releases):
        if each.key in keys:
            sums = found.setdefault(each.key, [NOTHING_SPENT] * 3)
            sums[0] += each.epsilon
            sums[1] += each.delta
            sums[2] += 1
    return found


def _raising(books: Books) -> sql.Composed:
    """Insert the row, or raise it: never below what it is."""
    paths = dict(books.rules.spend)
    counts = [name for name, path in books.rules.spend if path == COUNT]
    columns = [
        (name, place)
        for place, name in enumerate((books.epsilon, books.delta, *counts[:1]), 1)
        if name in paths
    ]
    keys = [name for name, _ in books.rules.key]
    names = [sql.Identifier(name) for name in [*keys, *(name for name, _ in columns)]]
    values = [
        *(sql.SQL("(%(key)s::text[])[{}]").format(place) for place in range(1, len(keys) + 1)),
        *(sql.SQL("(%(spent)s::numeric[])[{}]").format(place) for _, place in columns),
    ]
    raised = [
        sql.SQL("{0} = greatest(t.{0}, excluded.{0})").format(sql.Identifier(name))
        for name, _ in columns
    ]
    return sql.SQL("INSERT INTO {} AS t ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.Identifier(*books.rules.table),
        sql.SQL(", ").join(names),
        sql.SQL(", ").join(values),
        sql.SQL(", ").join(map(sql.Identifier, keys)),
        sql.SQL(", ").join(raised),
    )
