"""What was read of a PostgreSQL server, part by part: typed, frozen, as it was at one moment.

Each part may be `Unread` by itself: a missing privilege, an older version, a look that took too
long. Texts are those of the server's clients and hostile: printable and bounded by the reader.
Ages are taken against the server's own clock (`DatabaseReadings.at`), sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from tasks.domain.inside import NOT_ASKED, Inside
from tasks.domain.instance_restart import Instance
from tasks.domain.observation import Health
from tasks.domain.storage_plan import Storage


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that could not be read, and why: a missing privilege is named."""

    reason: str


BACKUP_APPLICATIONS = ("pg_dump", "pg_dumpall", "pg_basebackup", "pgbackrest", "barman", "wal-g")
"""What the usual backup programs call themselves. Who lies about it is left alone: no harm."""

OURS = "our own session"
"""Why the session that looks may not be signalled."""

_Part = TypeVar("_Part")


def known(part: _Part | Unread | None) -> _Part | None:
    """The part, or None where it could not be read, or was not needed."""
    return None if isinstance(part, Unread) else part


@dataclass(frozen=True, slots=True)
class Server:
    """The server itself. `usable` connections are those of roles without a reserved slot."""

    version: int
    started_at: datetime
    max_connections: int
    superuser_slots: int
    reserved_slots: int
    is_standby: bool
    is_archiving: bool
    max_wal_bytes: int
    data_directory: str = ""

    @property
    def usable(self) -> int:
        """How many connections ordinary roles may hold together."""
        return max(0, self.max_connections - self.superuser_slots - self.reserved_slots)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the server; ages are those of its oldest transaction and multixact ids."""

    name: str
    owner: str
    allows_connections: bool
    size: int | None
    sessions: int
    connection_limit: int
    xid_age: int
    multixact_age: int


@dataclass(frozen=True, slots=True)
class Session:
    """One backend as `pg_stat_activity` shows it.

    `query` is what it runs, or ran last; `digest` the SHA-256 (hex) of all of that text.
    `blocked_by` are the pids that it waits for (0: a prepared transaction), empty when it waits for
    none; `waits_for` says for which lock. `protected` says why nobody may signal it, else empty.
    """

    pid: int
    backend_start: datetime
    user: str
    database: str
    application: str
    client: str
    kind: str
    state: str
    wait: str
    xact_start: datetime | None
    query_start: datetime | None
    state_change: datetime | None
    query: str
    digest: str
    protected: str = ""
    blocked_by: tuple[int, ...] = ()
    waits_for: str = ""

    @property
    def is_client(self) -> bool:
        """Whether it holds one of the connections that clients share; our own look does not."""
        return self.kind == "client backend" and self.protected != OURS

    @property
    def is_in_transaction(self) -> bool:
        """Whether it holds a transaction open and does nothing."""
        return self.state.startswith("idle in transaction")

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing, in a transaction or not."""
        return self.state == "idle" or self.is_in_transaction

    def key(self) -> dict[str, Any]:
        """What it must still look like before it is signalled; JSON-able."""
        return {
            "pid": self.pid,
            "backend_start": self.backend_start.isoformat(),
            "digest": self.digest,
            "xact_start": self.xact_start.isoformat() if self.xact_start else None,
            "state_change": self.state_change.isoformat() if self.state_change else None,
            "user": self.user,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared transaction: it holds its locks without any session, until somebody ends it."""

    gid: str
    owner: str
    database: str
    prepared_at: datetime


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as `pg_stat_statements` has counted it; times in milliseconds."""

    query: str
    user: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Standby:
    """One WAL receiver; `lag` is what it has not replayed yet."""

    name: str
    client: str
    state: str
    lag: int | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot; `retained` is the WAL that it keeps from being removed."""

    name: str
    is_active: bool
    retained: int | None
    wal_status: str


@dataclass(frozen=True, slots=True)
class Replication:
    """Standbys and slots."""

    standbys: tuple[Standby, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Archiver:
    """The WAL archiver's own count."""

    archived: int
    failed: int
    last_archived_at: datetime | None
    last_failed_at: datetime | None
    last_failed_wal: str


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoints since `since`: those that the clock began, and those that WAL forced."""

    timed: int
    requested: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the database that is looked at, by the statistics of its rows."""

    name: str
    size: int
    live: int
    dead: int
    vacuumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DiskSample:
    """Bytes in use at one moment: of databases and WAL, or of the file system that holds them."""

    at: datetime
    used: int


@dataclass(frozen=True, slots=True)
class Trend:
    """How fast a file system fills, as its monitoring has seen it for `seconds`."""

    bytes_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Disk:
    """How full it is. `capacity` is known only from inside the pod; samples are in time's order.

    `trend`: where monitoring has one; it is worth more than two looks a second apart.
    """

    samples: tuple[DiskSample, ...]
    capacity: int | None = None
    trend: Trend | None = None

    def within(self, used: int, free: int) -> "Disk":
        """The same growth, on the file system of which the pod says what is used and free."""
        other = used - self.used
        samples = tuple(replace(each, used=each.used + other) for each in self.samples)
        return replace(self, samples=samples, capacity=used + free)

    @property
    def used(self) -> int:
        """Bytes in use at the last look; 0 when there was none."""
        return self.samples[-1].used if self.samples else 0

    @property
    def growth(self) -> float | None:
        """Bytes a second, by the trend or between the looks; None when there is one look only."""
        if self.trend is not None:
            return self.trend.bytes_per_second
        seconds = self._looked_for
        return (self.samples[-1].used - self.samples[0].used) / seconds if seconds > 0 else None

    @property
    def watched_seconds(self) -> float:
        """Over how long the growth was seen."""
        return self.trend.seconds if self.trend is not None else self._looked_for

    @property
    def _looked_for(self) -> float:
        first, last = (self.samples[0], self.samples[-1]) if self.samples else (None, None)
        return (last.at - first.at).total_seconds() if first and last else 0.0

    @property
    def seconds_to_full(self) -> float | None:
        """Seconds until nothing is free at this rate; None when it does not grow or is unknown."""
        growth = self.growth
        if self.capacity is None or growth is None or growth <= 0:
            return None
        return max(0.0, (self.capacity - self.used) / growth)


@dataclass(frozen=True, slots=True)
class Backups:
    """What the catalogue of backups says of age and proof."""

    health: Health
    summary: str


@dataclass(frozen=True, slots=True)
class DatabaseReadings:
    """One look at a server. `unreachable` says why there is nothing but that.

    `refused_for_slots`: the reader found no free connection, and a reserved one was used.
    `inside`: what the server says in its pod.
    `instance`, `storage`: the pod and the claim, looked at when one of them may have to be changed.
    """

    at: datetime
    unreachable: str = ""
    refused_for_slots: bool = False
    server: Server | Unread = Unread("not looked at")
    databases: tuple[Database, ...] | Unread = Unread("not looked at")
    sessions: tuple[Session, ...] | Unread = Unread("not looked at")
    prepared: tuple[Prepared, ...] | Unread = Unread("not looked at")
    statements: tuple[Statement, ...] | Unread = Unread("not looked at")
    replication: Replication | Unread = Unread("not looked at")
    archiver: Archiver | Unread = Unread("not looked at")
    checkpoints: Checkpoints | Unread = Unread("not looked at")
    tables: tuple[Table, ...] | Unread = Unread("not looked at")
    disk: Disk | Unread = Unread("not looked at")
    backups: Backups | Unread = Unread("not looked at")
    inside: Inside = NOT_ASKED
    instance: Instance | Unread | None = None
    storage: Storage | Unread | None = None

    def unread(self) -> Mapping[str, str]:
        """Parts that could not be read, with the reason."""
        parts = (
            *("server", "databases", "sessions", "prepared", "statements", "replication"),
            *("archiver", "checkpoints", "tables", "disk", "backups", "instance", "storage"),
        )
        found = {name: getattr(self, name) for name in parts}
        return {name: part.reason for name, part in found.items() if isinstance(part, Unread)}


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Age in seconds; 0 of what has no moment."""
    return max(0.0, (now - moment).total_seconds()) if moment is not None else 0.0
