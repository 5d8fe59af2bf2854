"""Evidence of the database, the cache and the sealed log under care.

Everything is read; nothing is asked that writes. The dump is of one repeatable-read snapshot, by
the reading role where it may read every table, else by the one that recovers.
"""

import tarfile
from collections.abc import Iterable, Iterator
from functools import partial

from tasks.clients import cache_state, database_evidence, postgres
from tasks.clients.errors import Conflict
from tasks.clients.object_store import ObjectStore
from tasks.domain.collection import Part, Volatility, json_bytes
from tasks.domain.errors import BadInput
from tasks.settings import Settings
from tasks.work.evidence_pieces import Piece, Wanted, as_bytes, as_json, as_stream, single
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog

_DATABASE, _LOG, _CACHE = "PostgreSQL", "the sealed log", "the cache"
_UNREADABLE = "unreadable-names.json"
_NAME_MARKS = 400
_WHOLE = 1 << 50

_VIEWS = {
    "pg_stat_activity": ("Sessions of the database", Volatility.CONNECTIONS),
    "pg_locks": ("Locks of the database", Volatility.CONNECTIONS),
    "pg_stat_replication": ("Standbys of the database", Volatility.CONNECTIONS),
    "pg_roles": ("Roles of the database server", Volatility.CONFIGURATION),
    "pg_auth_members": ("Memberships of roles", Volatility.CONFIGURATION),
    "pg_db_role_setting": ("Settings of roles and databases", Volatility.CONFIGURATION),
    "grants": ("Owners and grants", Volatility.CONFIGURATION),
    "pg_settings": ("Settings of the database server", Volatility.CONFIGURATION),
    "pg_hba_file_rules": ("Who may log in from where", Volatility.CONFIGURATION),
}


def database_views(known: Settings) -> Iterator[Wanted]:
    """What the server says of itself, each view by itself: one may be closed to us."""
    dsn = known.database.reader_dsn.get_secret_value()
    elsewhere = postgres.dsn_of(dsn, database_evidence.SERVER_DATABASE)
    seconds = known.evidence.item_seconds
    for view, (title, volatility) in _VIEWS.items():
        where = elsewhere if view in database_evidence.OF_SERVER else dsn
        read = partial(
            database_evidence.rows_of, where, view, seconds, known.database.timeout_seconds
        )
        yield single(
            Part(f"database.{view.replace('_', '-')}", title, volatility),
            _DATABASE,
            postgres.describe(where),
            partial(as_stream, read),
            arguments=(database_evidence.VIEWS[view],),
        )


def database_dump(known: Settings) -> Wanted:
    """The whole database as pg_dump writes it."""
    part = Part("database.dump", "Dump of the database", Volatility.DISK)
    return Wanted(part, _DATABASE, partial(_dump, known, part))


def sealed_log(known: Settings, store: ObjectStore) -> Iterator[Wanted]:
    """The newest head that verifies, and every object of the log as it lies there."""
    bucket, prefix = known.store.backups_bucket, known.store.audit_prefix

    def checkpoint() -> bytes:
        log = ObjectLog(store, bucket, prefix)
        return latest_head(log, known.ledger.read_trust()).note.encode()

    source = f"s3://{bucket}/{prefix}"
    yield single(
        Part("log.checkpoint", "Newest signed head of the audit log", Volatility.CONNECTIONS),
        _LOG,
        source,
        partial(as_bytes, checkpoint),
    )
    yield single(
        Part("log.sealed", "The sealed audit log: segments, tiles, heads", Volatility.DISK),
        _LOG,
        source,
        partial(as_stream, partial(_archive, store, bucket, prefix)),
    )


def backups_listing(known: Settings, store: ObjectStore) -> Wanted:
    """Which backups there are; they stay where they are."""
    bucket, prefix = known.store.backups_bucket, known.store.database_prefix

    def listed() -> list[dict[str, object]]:
        return [
            {"key": each.key, "size": each.size, "modified": each.modified.isoformat()}
            for each in store.list(bucket, prefix)
        ]

    part = Part("backups.listing", "Backups of the database, by name", Volatility.BACKUPS)
    return single(part, _LOG, f"s3://{bucket}/{prefix}", partial(as_json, listed))


def cache_info(known: Settings) -> Wanted:
    """What the cache says of itself; none of its values."""
    return single(
        Part("redis.info", "INFO of the cache", Volatility.CONNECTIONS),
        _CACHE,
        "the cache of the settings",
        partial(as_json, partial(cache_state.read_info, known.cache)),
        arguments=("INFO everything",),
    )


def _dump(known: Settings, part: Part) -> Iterator[Piece]:
    """The snapshot is open while the piece is read."""
    database, patience = known.database, known.database.timeout_seconds
    dsn = database.reader_dsn.get_secret_value()
    if not database_evidence.may_read_all(dsn, patience):
        dsn = postgres.dsn_of(database.recovery_dsn.get_secret_value(), database.name)
    version = database_evidence.dump_version(database)
    with database_evidence.snapshot(dsn, patience) as taken:
        arguments = database_evidence.dump_arguments(database, taken)
        yield Piece(
            part,
            postgres.describe(dsn),
            partial(database_evidence.dumping, dsn, arguments, known.evidence.dump_seconds),
            "pg_dump",
            version,
            tuple(arguments),
            f"one snapshot, taken at {taken.taken_at} with WAL at {taken.wal}",
        )


def _archive(store: ObjectStore, bucket: str, prefix: str) -> Iterator[bytes]:
    """A tar of all objects below the prefix, byte for byte; memory: a few pieces of one object.

    What has a name that cannot be asked for is named in a last member.
    """
    unreadable: list[str] = []
    for each in store.list(bucket, prefix):
        pieces = store.get_pieces(bucket, each.key, _WHOLE)
        try:
            first = next(pieces, b"")
        except BadInput:
            unreadable.append(ascii(each.key)[:_NAME_MARKS])
            continue
        stamp = int(each.modified.timestamp())
        name = each.key.removeprefix(prefix)
        yield from _member(name, each.size, stamp, _chained(first, pieces))
    if unreadable:
        data = json_bytes(unreadable)
        yield from _member(_UNREADABLE, len(data), 0, [data])
    yield bytes(2 * tarfile.BLOCKSIZE)


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _member(name: str, size: int, stamp: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size, stamp, 0o400
    yield header.tobuf(tarfile.PAX_FORMAT)
    written = 0
    for piece in pieces:
        written += len(piece)
        yield piece
    if written != size:
        raise Conflict(f"{name} of the sealed log changed while it was read: read it again")
    yield bytes(-size % tarfile.BLOCKSIZE)
