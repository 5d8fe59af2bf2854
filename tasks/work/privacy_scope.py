"""How much personal data is concerned, measured: each table by SQL, the log by its own lines.

Ids of people become pseudonyms as they are read and go nowhere else. What cannot be measured is
unknown, with the reason, and the rest is measured all the same.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import personal_data
from tasks.clients.errors import ClientError
from tasks.domain.alertmanager import clean
from tasks.domain.circumstances import degree_of, identifier_of
from tasks.domain.enisa import Category, Identifier
from tasks.domain.journaled import moment
from tasks.domain.ledger import RecordError, parse_line
from tasks.domain.privacy_scope import Part, Scope
from tasks.domain.reconciliation_rules import at_path
from tasks.sections.privacy_incidents import PersonalLog, PersonalTable, PrivacyIncidentSettings
from tasks.settings import Settings
from tasks.work.pseudonyms import Pseudonyms

LOG = "public.audit_records"

_REASON = 200


def measured(settings: Settings, onset: datetime | None) -> Scope:
    """The scope as of now. `onset`: when the trouble began, as the facts have it."""
    ours, now = settings.privacy_incident, datetime.now(UTC)
    since = None
    if ours.days_before and onset is not None:
        since = onset - timedelta(days=ours.days_before)
    people = Pseudonyms.under(ours.pseudonym_key.get_secret_value())
    parts: list[Part] = []
    try:
        dsn = settings.database.reader_dsn.get_secret_value()
        with personal_data.at_one_moment(dsn, ours.seconds) as connection:
            parts.append(_log(connection, ours, since, people))
            parts += [_table(connection, each, ours, since, people) for each in ours.tables]
    except ClientError as error:
        measured_already = {part.table for part in parts}
        parts += [
            replace(each, reason=_why(error))
            for each in _unmeasured(ours)
            if each.table not in measured_already
        ]
    anybody = any(part.people is not None for part in parts)
    return Scope(since, now, tuple(parts), len(people) if anybody else None, people.fingerprint)


def _unmeasured(ours: PrivacyIncidentSettings) -> list[Part]:
    return [
        _unmeasured_log(ours.log),
        *(Part(table.name, _categories(table)) for table in ours.tables),
    ]


def _unmeasured_log(log: PersonalLog) -> Part:
    """The worst that its lines may hold: nobody has looked that they do not."""
    categories = {degree_of(Category, log.category)}
    if log.sensitive:
        categories.add(Category.SENSITIVE)
    named_by = {identifier_of(each): 0 for each in log.named_by.values()}
    return Part(LOG, frozenset(categories), named_by=named_by)


def _table(
    connection: Connection[TupleRow],
    table: PersonalTable,
    ours: PrivacyIncidentSettings,
    since: datetime | None,
    people: Pseudonyms,
) -> Part:
    part = Part(table.name, _categories(table))
    try:
        with personal_data.apart(connection, f"count {table.name}"):
            rows, first, last = personal_data.rows_since(connection, table.name, table.time, since)
            if not table.person:
                return replace(part, rows=rows, first=first, last=last)
            own: set[bytes] = set()
            for person in personal_data.people_since(
                connection, table.name, table.time, table.person, since, ours.most_people
            ):
                own.add(people.add(person))
    except ClientError as error:
        return replace(part, reason=_why(error))
    return replace(
        part,
        rows=rows,
        first=first,
        last=last,
        people=len(own),
        at_least=len(own) >= ours.most_people,
        named_by={Identifier.ALIAS: rows},
    )


@dataclass(slots=True)
class _Lines:
    """What was counted of the log so far."""

    log: PersonalLog
    since: datetime | None
    people: Pseudonyms
    rows: int = 0
    unreadable: int = 0
    first: datetime | None = None
    last: datetime | None = None
    own: set[bytes] = field(default_factory=set)
    named_by: Counter[Identifier] = field(default_factory=Counter)
    is_sensitive: bool = False

    def take(self, batch: list[bytes]) -> bool:
        """Count them; whether any may be inside the window, so that it is worth to read on."""
        inside = [self._take(line) for line in batch]  # every one of them is counted
        return any(inside)

    def _take(self, line: bytes) -> bool:
        try:
            event = parse_line(line)
        except RecordError:
            self.unreadable += 1
            return True
        at = moment(at_path(event, self.log.time))
        if self.since is not None and at is not None and at < self.since:
            return False
        data = event.get("data")
        held: Mapping[str, Any] = data if isinstance(data, dict) else {}
        seen = {self.log.named_by[key] for key in self.log.named_by.keys() & held.keys()}
        is_sensitive = any(key in held for key in self.log.sensitive)
        person = at_path(event, self.log.person)
        if isinstance(person, str):
            self.own.add(self.people.add(person))
        if not (seen or is_sensitive or isinstance(person, str)):
            return True
        self.rows += 1
        self.named_by.update(identifier_of(each) for each in seen)
        self.is_sensitive |= is_sensitive
        if at is not None:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)
        return True


def _log(
    connection: Connection[TupleRow],
    ours: PrivacyIncidentSettings,
    since: datetime | None,
    people: Pseudonyms,
) -> Part:
    """The log, newest first, until a whole batch is older than the window.

    One record with a wrong time does not end it.
    """
    lines = _Lines(ours.log, since, people)
    category = degree_of(Category, ours.log.category)
    part = _unmeasured_log(ours.log)
    deadline, read, ended = time.monotonic() + ours.seconds, 0, True
    try:
        with personal_data.apart(connection, f"read {LOG}"):
            for batch in personal_data.newest_lines(connection, ours.most_records):
                read += len(batch)
                if not lines.take(batch):
                    break
                if time.monotonic() > deadline or read >= ours.most_records:
                    ended = False
                    break
    except ClientError as error:
        return replace(part, reason=_why(error))
    unreadable = f"{lines.unreadable} lines cannot be read" if lines.unreadable else ""
    bound = "" if ended else f"not read beyond the newest {read} records"
    return replace(
        part,
        categories=frozenset({category, Category.SENSITIVE} if lines.is_sensitive else {category}),
        rows=lines.rows,
        people=len(lines.own),
        first=lines.first,
        last=lines.last,
        named_by=dict(lines.named_by),
        at_least=bool(lines.unreadable) or not ended,
        reason="; ".join(each for each in (unreadable, bound) if each),
    )


def _categories(table: PersonalTable) -> frozenset[Category]:
    return frozenset(degree_of(Category, each) for each in table.categories)


def _why(error: ClientError) -> str:
    return clean(str(error), _REASON)
