"""A backup into a scratch database beside production, mended from the segments, proven.

Production is not touched. The scratch database counts only when its mark says `restored` for this
very backup; a half-loaded one of this incident is dropped and made anew. What is believed in the
end is neither the dump nor the mark but the proof: every signed record hashes to the signed root.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import dump_tools, postgres, postgres_admin
from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.domain.backups import Backup
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Status, Verdict, leaf_hash
from tasks.domain.ledger.segments import SegmentError
from tasks.work.log_heads import Head, latest_head
from tasks.work.log_segments import segment_lines, stored_segments
from tasks.work.log_store import LogStore
from tasks.work.recovery import TABLE, Fence, Mark, Site, Stage, has_readable_table
from tasks.work.signed_tree import signed_leaves
from tasks.work.table_verification import verify_table

JOBS = 2
RESTORE_SECONDS = 3600.0

_ROWS = (
    "COPY (SELECT seq, record, leaf FROM public.audit_records WHERE seq < {} ORDER BY seq)"
    " TO STDOUT (FORMAT BINARY)"
)
_FILL = "COPY public.audit_records (seq, record, leaf) FROM STDIN (FORMAT BINARY)"
_USER_RELATIONS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""
_NO_SPARE = "DROP TABLE IF EXISTS public.audit_recovery_spare"
_MAKE_SPARE = """
CREATE TABLE IF NOT EXISTS public.audit_recovery_spare AS
SELECT seq, record, leaf FROM public.audit_records WHERE false
"""
_SET_ASIDE = """
WITH newer AS (
    DELETE FROM public.audit_records WHERE seq >= %s RETURNING seq, record, leaf
)
INSERT INTO public.audit_recovery_spare SELECT seq, record, leaf FROM newer
"""
_DELETE = "DELETE FROM public.audit_records WHERE seq = ANY(%s)"
_NAMED_RANGES = 50


@dataclass(frozen=True, slots=True)
class Restored:
    """A scratch database that holds exactly the signed log (and perhaps a tail already).

    `replaced` are records of the backup that were not as signed, `added` those that it lacked;
    both came from segments or, where the signed leaf proves them, from the damaged table.
    """

    database: str
    backup: Backup
    signed: int
    replaced: int
    added: int
    settings_left: tuple[str, ...]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the report."""
        return {
            "database": self.database,
            "backup": self.backup.key,
            "backup_sha256": self.backup.sha256,
            "backup_size": self.backup.log_size,
            "signed": self.signed,
            "replaced": self.replaced,
            "from_segments": self.added,
            "settings_left": list(self.settings_left),
            "verified": True,
            "root": self.verdict.root,
        }


def restore_beside(site: Site, backup: Backup, archive: Path, head: Head, fence: Fence) -> Restored:
    """Make, or find again, the proven scratch database of this incident.

    After the swap it is production: then that is proven again and nothing is made.

    `archive` comes from `fetch_backup`, `head` from `latest_head`. Raises NotProven when the head
    is refused by the anchor, when a signed record can be had from nowhere (naming the ranges) or
    when the result does not verify; Malformed for an archive that cannot be read; Conflict when
    another's database stands under the scratch name. Production is untouched in every case.
    """
    _require_trusted(site, head)
    size = head.checkpoint.size
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        served = postgres_admin.databases(admin, [site.names.production])
        if any(site.is_ours(state, Stage.IN_SERVICE) for state in served.values()):
            verdict = _proven(site, head, site.names.production)
            return Restored(site.names.production, backup, size, 0, 0, (), verdict)
        mark, left = _loaded(site, admin, backup, archive, size, fence)
        replaced, added, verdict = _complete(site, admin, mark, head, fence)
    return Restored(site.names.scratch, backup, size, replaced, added, tuple(left), verdict)


def catch_up(site: Site, admin: Connection[TupleRow], mark: Mark, fence: Fence) -> None:
    """Complete the restored scratch database to the newest head and prove it again.

    The log may have been sealed further since the restore. Nothing is done when it was not.
    Raises NotProven as `restore_beside` does; production is untouched.
    """
    head = latest_head(site.log, site.trust)
    if not mark.is_at(head):
        _require_trusted(site, head)
        _complete(site, admin, mark, head, fence)


def _require_trusted(site: Site, head: Head) -> None:
    if head.refused:
        raise NotProven(
            f"expected the newest checkpoint to verify, found {head.refused[0].detail}: newer "
            "heads than the usable one exist; find out who wrote them before restoring"
        )
    site.anchored(head)


def _complete(
    site: Site, admin: Connection[TupleRow], mark: Mark, head: Head, fence: Fence
) -> tuple[int, int, Verdict]:
    """The scratch database, made exact up to the head and marked; (replaced, added, verdict).

    Rows beyond the head wait beside the log, for the carry-over to judge them (again): what it
    wrote there went by a shorter head.
    """
    size = head.checkpoint.size
    if size < mark.signed:
        raise NotProven(
            f"expected a signed head of at least {mark.signed} records, which {site.names.scratch} "
            f"was restored to, found {size}: checkpoints were removed; production is untouched"
        )
    with postgres.connect(
        site.dsn_of(site.names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        if not has_readable_table(scratch):
            raise NotProven(
                f"expected table {TABLE} with seq, record and leaf in the backup (SHA-256 "
                f"{mark.backup[:12]}), found none: choose another backup; production is untouched"
            )
        if mark.stage is Stage.RESTORING:
            scratch.execute(_NO_SPARE)
        if mark.stage is Stage.RESTORING or size > mark.signed:
            _set_aside_newer(scratch, size)
        replaced, added = _mend(site, scratch, head)
        lacking = postgres_admin.missing_privileges(scratch, TABLE, site.needed)
        scratch.execute("ANALYZE public.audit_records")
    if lacking:
        raise NotProven(
            "expected the restored table to grant what the system needs, found missing "
            f"{', '.join(lacking)}: choose a backup that grants it; production is untouched"
        )
    verdict = _proven(site, head, site.names.scratch)
    fence()
    done = replace(mark, stage=Stage.RESTORED, signed=size, root=head.checkpoint.root.hex())
    postgres_admin.comment_on(admin, site.names.scratch, done.text())
    return replaced, added, verdict


def _loaded(
    site: Site,
    admin: Connection[TupleRow],
    backup: Backup,
    archive: Path,
    signed: int,
    fence: Fence,
) -> tuple[Mark, list[str]]:
    """The scratch database's mark after making sure that the dump is in it, whole."""
    names = site.names
    state = postgres_admin.databases(admin, [names.scratch]).get(names.scratch)
    if state is not None:
        known = site.is_ours(state)
        if known is not None and known.stage is Stage.RESTORED and known.backup == backup.sha256:
            return known, []
        if known is None and (state.comment or not _is_empty(site)):
            raise Conflict(
                f"expected no database {names.scratch}, or the scratch of {site.incident}, found "
                "one without our mark: rename or drop it by hand, then try again"
            )
        fence()
        _drop(admin, names.scratch)
    mark = Mark(site.incident, Stage.RESTORING, backup.sha256, signed)
    production = names.production in postgres_admin.databases(admin, [names.production])
    fence()
    postgres_admin.create_database(
        admin, names.scratch, site.owner, names.production if production else None
    )
    postgres_admin.comment_on(admin, names.scratch, mark.text())
    postgres_admin.withhold_grants(admin, names.scratch)  # nobody else writes there until the swap
    left: list[str] = []
    if production:
        left = postgres_admin.copy_settings(admin, names.production, names.scratch)
    dump_tools.restore_archive(
        archive,
        site.dsn_of(names.scratch),
        role=site.owner,
        jobs=JOBS,
        timeout_seconds=RESTORE_SECONDS,
        binaries=site.binaries,
    )
    return mark, left


def _is_empty(site: Site) -> bool:
    """Whether the scratch holds nothing: ours, killed between CREATE DATABASE and the mark."""
    with postgres.connect(
        site.dsn_of(site.names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        row = scratch.execute(_USER_RELATIONS).fetchone()
        return row is not None and row[0] == 0


def _drop(admin: Connection[TupleRow], name: str) -> None:
    """Drop our own scratch; the pg_restore of a killed attempt may still be connected to it."""
    postgres_admin.allow_connections(admin, name, allowed=False)
    postgres_admin.end_sessions(admin, name, timeout_seconds=10)
    postgres_admin.drop_database(admin, name)


def _set_aside_newer(scratch: Connection[TupleRow], size: int) -> None:
    """Rows after the signed head: candidates for the carry-over, not the log yet."""
    with scratch.transaction():
        scratch.execute(_MAKE_SPARE)
        scratch.execute(_SET_ASIDE, (size,))


def _mend(site: Site, scratch: Connection[TupleRow], head: Head) -> tuple[int, int]:
    """Make the signed region exact; (records replaced, records added). All or nothing."""
    size = head.checkpoint.size
    leaves = signed_leaves(site.log, head.checkpoint)
    wanted = bytearray(b"\x01") * size
    wrong: list[int] = []
    for seq, record, leaf in _rows(scratch, size):
        signed = leaves[seq * HASH_SIZE : (seq + 1) * HASH_SIZE]
        if leaf == signed and leaf_hash(record) == signed:
            wanted[seq] = 0
        else:
            wrong.append(seq)
    missing = wanted.count(1) - len(wrong)
    if not wrong and not missing:
        return 0, 0
    with scratch.transaction():
        scratch.execute(_DELETE, (wrong,))
        _fill(scratch, _from_segments(site.log, leaves, wanted))
        if wanted.count(1):
            _fill(scratch, _from_production(site, leaves, wanted))
        if wanted.count(1):
            raise NotProven(
                f"LOST: signed records {_ranges(wanted)} are in no backup, segment or table as "
                "they were signed: find another copy; production is untouched"
            )
    return len(wrong), missing


def _fill(scratch: Connection[TupleRow], lines: Iterable[tuple[int, bytes, bytes]]) -> None:
    with scratch.cursor().copy(_FILL) as copy:
        copy.set_types(["int8", "bytea", "bytea"])
        for row in lines:
            copy.write_row(row)


def _rows(connection: Connection[TupleRow], below: int) -> Iterator[tuple[int, bytes, bytes]]:
    with connection.cursor().copy(_ROWS.format(int(below))) as copy:
        copy.set_types(["int8", "bytea", "bytea"])
        yield from cast("Iterator[tuple[int, bytes, bytes]]", copy.rows())


def _from_segments(
    log: LogStore, leaves: bytes, wanted: bytearray
) -> Iterator[tuple[int, bytes, bytes]]:
    """Wanted records that segments hold as signed, also from damaged ones; clears `wanted`."""
    size = len(wanted)
    for segment in sorted(stored_segments(log), key=lambda each: -each.count):
        end = min(segment.first + segment.count, size)
        if not wanted[segment.first : end].count(1):
            continue
        try:
            for first, lines in segment_lines(log, segment, end - segment.first):
                yield from _as_signed(enumerate(lines, first), leaves, wanted)
        except (SegmentError, NotFound, Malformed):
            continue  # torn or gone: what it lacks stays wanted, from another source


def _from_production(
    site: Site, leaves: bytes, wanted: bytearray
) -> Iterator[tuple[int, bytes, bytes]]:
    """Wanted records that the damaged table still holds as signed."""
    try:
        with postgres.connect(
            site.dsn_of(site.names.production), timeout_seconds=site.timeout_seconds
        ) as production:
            if has_readable_table(production):
                rows = ((seq, record) for seq, record, _ in _rows(production, len(wanted)))
                yield from _as_signed(rows, leaves, wanted)
    except NotFound:
        return


def _as_signed(
    lines: Iterable[tuple[int, bytes]], leaves: bytes, wanted: bytearray
) -> Iterator[tuple[int, bytes, bytes]]:
    for seq, line in lines:
        if wanted[seq]:
            leaf = leaf_hash(line)
            if leaf == leaves[seq * HASH_SIZE : (seq + 1) * HASH_SIZE]:
                wanted[seq] = 0
                yield seq, line, leaf


def _ranges(wanted: bytearray) -> str:
    """The seqs that are still wanted, as "3..7, 9"; at most fifty ranges."""
    named: list[str] = []
    at = wanted.find(1)
    while at >= 0 and len(named) < _NAMED_RANGES:
        end = wanted.find(0, at)
        last = (len(wanted) if end < 0 else end) - 1
        named.append(str(at) if at == last else f"{at}..{last}")
        at = wanted.find(1, last + 1)
    return ", ".join(named) + (" and more" if at >= 0 else "")


def _proven(site: Site, head: Head, database: str) -> Verdict:
    """The verdict over the database; NotProven unless it verifies at the whole head."""
    verdict = verify_table(site.dsn_of(database), site.log, site.trust)
    if verdict.status is not Status.VERIFIED or verdict.signed < head.checkpoint.size:
        found = "; ".join(
            f"{each.code.value} at {each.first} ({each.count})" for each in verdict.findings[:10]
        )
        raise NotProven(
            f"expected the restored table to verify at {head.checkpoint.size} signed records, "
            f"found {verdict.status.value} at {verdict.signed}: {found} {verdict.reason}: "
            "production is untouched"
        )
    return verdict
