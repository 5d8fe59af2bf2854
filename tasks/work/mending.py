"""A restored table made exact: compared with the signed leaves, mended from segments, proven.

What a restore beside production and a restore drill share. A backup is believed in nothing: each of
its records must hash to the leaf that was signed. What does not, and what is missing, is taken from
sealed segments, or from another source where the signed leaf proves it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres_admin
from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Status, Trust, Verdict, leaf_hash
from tasks.domain.ledger.blocks import BLOCK
from tasks.domain.ledger.segments import SegmentError
from tasks.work.log_heads import Head
from tasks.work.log_segments import segment_lines, stored_segments
from tasks.work.log_store import LogStore
from tasks.work.recovery import TABLE, has_readable_table
from tasks.work.signed_tree import signed_leaves
from tasks.work.table_verification import verify_table
from tasks.work.trusted import Progress

SignedRow = tuple[int, bytes, bytes]
"""seq, record, leaf."""

Source = Callable[[bytes, bytearray], Iterator[SignedRow]]
"""Given the signed leaves and which seqs are wanted (1) it yields what it has, clearing those."""

_ROWS = (
    "COPY (SELECT seq, record, leaf FROM public.audit_records WHERE seq < {} ORDER BY seq)"
    " TO STDOUT (FORMAT BINARY)"
)
_SUMMARY = """
SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), -1)
  FROM public.audit_records WHERE seq < %s
"""
_FILL = "COPY public.audit_records (seq, record, leaf) FROM STDIN (FORMAT BINARY)"
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
_WORKERS = 2
"""Of the proof: as many processes as have just loaded the backup, and wait now."""
_WORTH_WORKERS = 4 * BLOCK
"""Records; to start a process costs as much as to prove some 100,000 of them."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What was wrong with a restored table, in records.

    `replaced` were not as signed; `added` were missing, of which `taken_out` lie before the last
    record that the backup has: a backup that nobody altered lacks only what is newer than itself.
    `altered` names the seqs that were replaced or taken out, as "3..7, 9".
    """

    replaced: int = 0
    added: int = 0
    taken_out: int = 0
    altered: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether the backup held nothing but what was signed."""
        return not self.replaced and not self.taken_out


def require_table(restored: Connection[TupleRow], backup: str) -> None:
    """Raises NotProven when the backup (SHA-256) had no audit table of the types that we read."""
    if not has_readable_table(restored):
        raise NotProven(
            f"expected table {TABLE} with seq, record and leaf in the backup (SHA-256 "
            f"{backup[:12]}), found none: choose another backup; production is untouched"
        )


def require_grants(restored: Connection[TupleRow], needed: Mapping[str, Sequence[str]]) -> None:
    """Raises NotProven when roles lack table privileges without which the system cannot work."""
    lacking = postgres_admin.missing_privileges(restored, TABLE, needed)
    if lacking:
        raise NotProven(
            "expected the restored table to grant what the system needs, found missing "
            f"{', '.join(lacking)}: choose a backup that grants it; production is untouched"
        )


def drop_spare(restored: Connection[TupleRow]) -> None:
    """Remove a table of our spare rows' name that came with the backup."""
    restored.execute(_NO_SPARE)


def set_aside_newer(restored: Connection[TupleRow], size: int) -> None:
    """Rows after the signed head: candidates for the carry-over, not the log yet."""
    with restored.transaction():
        restored.execute(_MAKE_SPARE)
        restored.execute(_SET_ASIDE, (size,))


def made_exact(
    restored: Connection[TupleRow],
    dsn: str,
    log: LogStore,
    trust: Trust,
    head: Head,
    beside: Source | None = None,
    *,
    leaves: bytes | None = None,
    progress: Progress | None = None,
) -> tuple[Mended, Verdict]:
    """Mend and prove; the records of a backup that looks clean are read only once, for the proof.

    Looks: the server says that seqs are without gaps. What the proof then finds is mended by
    comparing every row, and proven again: hashing all records first would cost every good backup
    half as much as its proof. `dsn` is that of the same database. Raises as `mend` and `proven` do.
    """
    looks_clean = _end_of_clean(restored, head.checkpoint.size)
    mended = mend(restored, log, head, beside, leaves=leaves, clean_to=looks_clean)
    try:
        return mended, proven(dsn, log, trust, head, progress)
    except NotProven:
        if not looks_clean:
            raise
    more = mend(restored, log, head, beside, leaves=leaves)
    mended = Mended(more.replaced, mended.added + more.added, more.taken_out, more.altered)
    return mended, proven(dsn, log, trust, head, progress)


def mend(
    restored: Connection[TupleRow],
    log: LogStore,
    head: Head,
    beside: Source | None = None,
    *,
    leaves: bytes | None = None,
    clean_to: int = 0,
) -> Mended:
    """Make the signed region exact. All or nothing.

    `beside` is asked for what no segment has; `leaves` are those of `signed_leaves`. Rows before
    `clean_to` are taken as they are, without looking at them. Raises NotProven that names the
    ranges which are to be had from nowhere, or when the log's tiles do not give the signed root.
    """
    size = head.checkpoint.size
    if clean_to == size:
        return Mended()
    if leaves is None:
        leaves = signed_leaves(log, head.checkpoint)
    wanted = bytearray(b"\x01") * size
    wrong: list[int] = []
    if clean_to:
        wanted[:clean_to] = bytes(clean_to)
        end = clean_to
    else:
        wrong, end = _compare(restored, leaves, wanted)
    if not wrong and not wanted.count(1):
        return Mended()
    replaced = len({seq for seq in wrong if seq >= 0})
    missing = wanted.count(1) - replaced
    taken_out = wanted[:end].count(1) - replaced
    altered = ranges(wanted[:end])
    with restored.transaction():
        restored.execute(_DELETE, (wrong,))
        _fill(restored, _from_segments(log, leaves, wanted))
        if beside is not None and wanted.count(1):
            _fill(restored, beside(leaves, wanted))
        if wanted.count(1):
            raise NotProven(
                f"LOST: signed records {ranges(wanted)} are in no backup, segment or table as "
                "they were signed: find another copy; production is untouched"
            )
    return Mended(len(wrong), missing, taken_out, altered)


def signed_rows(
    connection: Connection[TupleRow], leaves: bytes, wanted: bytearray
) -> Iterator[SignedRow]:
    """Wanted records that the audit table of another database still holds as signed."""
    rows = ((seq, record) for seq, record, _ in _rows(connection, len(wanted)))
    try:
        yield from _as_signed(rows, leaves, wanted)
    except BaseException:
        # a COPY that was left half-way holds the connection's lock: only closing ends it
        connection.close()
        raise


def proven(
    dsn: str, log: LogStore, trust: Trust, head: Head, progress: Progress | None = None
) -> Verdict:
    """The verdict over the database; NotProven unless it verifies at the whole of this head.

    Not at a newer one: the log goes on being sealed while a backup is loaded.
    """
    size = head.checkpoint.size
    workers = _WORKERS if size >= _WORTH_WORKERS else 1
    verdict = verify_table(dsn, log, trust, progress, workers=workers, size=size, leaves_too=True)
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


def ranges(wanted: bytearray) -> str:
    """The seqs that are still wanted, as "3..7, 9"; at most fifty ranges."""
    named: list[str] = []
    at = wanted.find(1)
    while at >= 0 and len(named) < _NAMED_RANGES:
        end = wanted.find(0, at)
        last = (len(wanted) if end < 0 else end) - 1
        named.append(str(at) if at == last else f"{at}..{last}")
        at = wanted.find(1, last + 1)
    return ", ".join(named) + (" and more" if at >= 0 else "")


def _end_of_clean(restored: Connection[TupleRow], size: int) -> int:
    """How many rows there are if nothing but newer ones seems to be missing; else 0."""
    row = restored.execute(_SUMMARY, (size,)).fetchone()
    count, first, last = row if row is not None else (0, 0, -1)
    return int(count) if (first, last) == (0, count - 1) else 0


def _compare(
    restored: Connection[TupleRow], leaves: bytes, wanted: bytearray
) -> tuple[list[int], int]:
    """Clear what is there as signed; (seqs of rows that are not, end of the rows)."""
    wrong: list[int] = []
    end = 0
    for seq, record, leaf in _rows(restored, len(wanted)):
        end = max(end, seq + 1)
        signed = leaves[seq * HASH_SIZE : (seq + 1) * HASH_SIZE] if seq >= 0 else b""
        if record is not None and leaf == signed and leaf_hash(record) == signed:
            wanted[seq] = 0
        else:
            wrong.append(seq)
    for seq in wrong:  # also where a second row of the same seq is right: both are made anew
        if seq >= 0:
            wanted[seq] = 1
    return wrong, end


def _fill(restored: Connection[TupleRow], lines: Iterable[SignedRow]) -> None:
    with restored.cursor().copy(_FILL) as copy:
        copy.set_types(["int8", "bytea", "bytea"])
        for row in lines:
            copy.write_row(row)


def _rows(connection: Connection[TupleRow], below: int) -> Iterator[SignedRow]:
    with connection.cursor().copy(_ROWS.format(int(below))) as copy:
        copy.set_types(["int8", "bytea", "bytea"])
        yield from cast("Iterator[SignedRow]", copy.rows())


def _from_segments(log: LogStore, leaves: bytes, wanted: bytearray) -> Iterator[SignedRow]:
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


def _as_signed(
    lines: Iterable[tuple[int, bytes | None]], leaves: bytes, wanted: bytearray
) -> Iterator[SignedRow]:
    """Rows of an attacked table come here: any seq, and a NULL where the table forbids it."""
    for seq, line in lines:
        if line is not None and 0 <= seq < len(wanted) and wanted[seq]:
            leaf = leaf_hash(line)
            if leaf == leaves[seq * HASH_SIZE : (seq + 1) * HASH_SIZE]:
                wanted[seq] = 0
                yield seq, line, leaf
