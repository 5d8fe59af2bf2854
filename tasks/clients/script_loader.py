"""A dump's statements and table data, sent one by one into an instance of ours. No psql.

Two connections: one as the owner role, which is no superuser and runs everything that comes from
the dump; one as superuser that only makes the roles which the dump's grants name. What could have
been changed behind our back (time limits) is set again before each statement.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError, Malformed, Transient
from tasks.domain.dump_statements import Action, connected, excerpt, judge
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.sql_script import Command, Data, DataEnd, Piece, Script, Statement

_MOST_NOTES = 200
_MOST_ROLES = 200
_MISSING_ROLE = re.compile(r'role "([^"]{1,63})" does not exist')
_COPIED = re.compile(rb"COPY\s+((?:\"(?:[^\"]|\"\")+\"|[^\s(\"])+)", re.IGNORECASE)
_TELL_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Load:
    """What was loaded: rows per table as the dump names it, notes for people, statements sent."""

    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    statements: int = 0
    data_bytes: int = 0

    def note(self, text: str) -> None:
        """Add a note; beyond 200 only their number is told."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
        elif len(self.notes) == _MOST_NOTES:
            self.notes.append("and more of the kind")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the statements go: `owner` and `superuser` are DSNs of the same (empty) database."""

    owner: str
    superuser: str
    database: str
    statement_seconds: float = 1800.0
    seconds: float = 3600.0


def load_script(script: Script, target: Target, told: Callable[[int], None] | None = None) -> Load:
    """Send a script into the database; of a dump of several databases only `target.database`'s.

    `told` hears how many bytes of table data went over. Raises BadInput, with the line, for what no
    dump program writes and for a dump that is cut off; Malformed when a statement without which the
    dump is not whole fails; NotProven when the wanted database is not in it; Transient when time
    ran out.
    """
    with (
        _connected(target.owner) as owner,
        _connected(target.superuser) as superuser,
        _deadline(owner, target) as late,
    ):
        loader = _Loader(target, owner, superuser, told)
        try:
            loader.load(script)
        except Malformed as error:
            if late.is_set():
                raise Transient(
                    f"expected the dump to be loaded within {target.seconds:.0f} s, found it not: "
                    "stopped"
                ) from error
            raise
    return loader.done


@contextmanager
def _connected(dsn: str) -> Iterator[Connection[TupleRow]]:
    with postgres.connect(dsn, timeout_seconds=10) as connection:
        yield connection


@contextmanager
def _deadline(connection: Connection[TupleRow], target: Target) -> Iterator[threading.Event]:
    """End what runs when the time is over: code in the dump may switch time limits off.

    It may catch a cancellation as well, so that is asked for once and then the session is ended.
    """
    late, over = threading.Event(), threading.Event()
    session = connection.info.backend_pid

    def watch() -> None:
        if over.wait(target.seconds):
            return
        late.set()
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=5)
        while not over.wait(1.0):
            with suppress(ClientError), _connected(target.superuser) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (session,))

    watcher = threading.Thread(target=watch, name="load-deadline", daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        over.set()
        watcher.join()


class _Loader:
    def __init__(
        self,
        target: Target,
        owner: Connection[TupleRow],
        superuser: Connection[TupleRow],
        told: Callable[[int], None] | None,
    ) -> None:
        self.done = Load()
        self._target = target
        self._owner = owner
        self._superuser = superuser
        self._told = told
        self._roles = 0
        self._bound = f"SET statement_timeout = {round(target.statement_seconds * 1000)}"
        self._database: str | None = None  # that the script is connected to; None: it did not say
        self._databases: set[str] = set()
        self._elsewhere = 0  # statements for another database of a dump that is of one

    def load(self, script: Script) -> None:
        pieces = script.pieces()
        for piece in pieces:
            match piece:
                case Command(line, text):
                    with _at(line):
                        self._change_database(connected(text), script)
                case Statement() if self._is_elsewhere(script):
                    self._elsewhere += not script.is_cluster
                    if piece.takes_data:
                        _skip_data(pieces)
                case Statement():
                    self._carry_out(piece, pieces)
                case Data() | DataEnd():  # a COPY consumes its own
                    raise AssertionError("data without its COPY")
        if self._elsewhere:
            self.done.note(
                f"{self._elsewhere} statements for database 'postgres' are left out: the dump "
                f"changes to it, and only {self._target.database!r} is restored"
            )
        if script.is_cluster:
            others = self._databases - {self._target.database}
            if others == self._databases:
                raise NotProven(
                    f"expected database {self._target.database!r} in the dump of all databases, "
                    f"found {_listed(others)}: choose another backup; production is untouched"
                )
            self.done.note(
                "of the dump of all databases its roles and tablespaces are left out, and the "
                f"databases {_listed(others)}"
            )

    def _change_database(self, name: str | None, script: Script) -> None:
        if name is None:
            return
        if name != self._target.database and not script.is_cluster and name != "postgres":
            raise NotProven(
                f"expected a dump of database {self._target.database!r}, found one of "
                f"{name[:63]!r}: choose another backup; production is untouched"
            )
        self._database = name
        if len(self._databases) < _MOST_NOTES:
            self._databases.add(name)

    def _is_elsewhere(self, script: Script) -> bool:
        if self._database is None:
            return script.is_cluster
        return self._database != self._target.database

    def _carry_out(self, statement: Statement, pieces: Iterator[Piece]) -> None:
        judgement = judge(statement.text)
        where = f"line {statement.line}"
        match judgement.action:
            case Action.REFUSE:
                raise BadInput(
                    f"{where}: expected what pg_dump writes, found {judgement.what!r}: the file "
                    "was altered or is no dump; choose another backup; production is untouched"
                )
            case Action.NOTE:
                self.done.note(f"{where}: {judgement.what} is left out")
            case Action.TRY:
                self._try(statement, judgement.what)
            case Action.LOAD if statement.takes_data:
                self._copy(statement, pieces)
                return
            case Action.LOAD:
                try:
                    self._send(statement.text)
                except psycopg.Error as error:
                    raise _failed(statement, error) from error
        if statement.takes_data:
            _skip_data(pieces)

    def _try(self, statement: Statement, what: str) -> None:
        try:
            self._send(statement.text)
        except psycopg.OperationalError as error:
            if self._owner.closed:
                raise _failed(statement, error) from error
            self._left_out(statement, what, error)
        except psycopg.Error as error:
            self._left_out(statement, what, error)

    def _left_out(self, statement: Statement, what: str, error: psycopg.Error) -> None:
        self.done.note(f"line {statement.line}: {what} is left out: {_words(error)}")

    def _send(self, text: bytes) -> None:
        for _ in range(_MOST_ROLES):
            try:
                if not text.startswith(b"INSERT "):  # as quick as they come
                    self._owner.execute(self._bound)
                self._owner.execute(text)
            except psycopg.errors.UndefinedObject as error:
                if not self._make_role(_words(error)):
                    raise
            else:
                self.done.statements += 1
                return

    def _make_role(self, complaint: str) -> bool:
        """The role that a grant misses, without any right; whether one was made."""
        found = _MISSING_ROLE.search(complaint)
        if found is None or self._roles == _MOST_ROLES:
            return False
        self._roles += 1
        self._superuser.execute(
            sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(found[1]))
        )
        return True

    def _copy(self, statement: Statement, pieces: Iterator[Piece]) -> None:
        unsaid = 0
        self._owner.execute(self._bound)
        cursor = self._owner.cursor()
        try:
            with cursor.copy(statement.text) as copy:
                for piece in pieces:
                    if not isinstance(piece, Data):
                        break
                    copy.write(piece.lines)
                    unsaid += len(piece.lines)
                    self.done.data_bytes += len(piece.lines)
                    if self._told is not None and unsaid >= _TELL_BYTES:
                        self._told(unsaid)
                        unsaid = 0
        except psycopg.Error as error:
            raise _failed(statement, error) from error
        if self._told is not None and unsaid:
            self._told(unsaid)
        found = _COPIED.match(statement.text)
        if found is not None:
            table = found[1].decode("utf-8", errors="replace")
            self.done.rows[table] = self.done.rows.get(table, 0) + cursor.rowcount
        self.done.statements += 1


def _skip_data(pieces: Iterator[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, DataEnd):
            return


@contextmanager
def _at(line: int) -> Iterator[None]:
    try:
        yield
    except (BadInput, NotProven) as error:
        raise type(error)(f"line {line}: {error}") from error


def _listed(names: set[str]) -> str:
    return ", ".join(repr(each[:63]) for each in sorted(names)[:20]) or "none"


def _words(error: psycopg.Error) -> str:
    """PostgreSQL's message in one line, without data of rows."""
    return postgres.without_rows(error)[:200]


def _failed(statement: Statement, error: psycopg.Error) -> Malformed:
    context = (error.diag.context or "").splitlines()
    copied = context[0].partition(': "')[0] if context else ""  # what follows is the row or value
    place = f" ({copied[:80]})" if copied.startswith("COPY ") else ""
    return Malformed(
        f"line {statement.line}: expected {excerpt(statement.text)!r} to succeed, found: "
        f"{_words(error)}{place}: choose another backup; production is untouched"
    )
