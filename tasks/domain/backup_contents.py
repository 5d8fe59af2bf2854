"""What is inside a backup: its audit records, each compared with the leaf that was signed.

This is a screen, which finds the backup that is worth a restore; the proof is made after it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice

from tasks.domain.copy_text import CopiedRow
from tasks.domain.ledger import HASH_SIZE, RecordError, leaf_hash, parse_line

_NAMED_RANGES = 20
_SAID_RANGES = 5


class Inside(StrEnum):
    """What looking into a backup has shown."""

    CLEAN = "clean"  # what it holds of the signed log is as it was signed
    POISONED = "poisoned"  # signed records are altered or missing inside it
    UNREADABLE = "unreadable"
    NO_LOG = "no audit log"


@dataclass(frozen=True, slots=True)
class Span:
    """`count` consecutive records from `first`."""

    first: int
    count: int

    def __str__(self) -> str:
        """As `7` or `3..9`."""
        return (
            str(self.first) if self.count == 1 else f"{self.first}..{self.first + self.count - 1}"
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """One backup, looked into. Sizes and counts in records.

    `size`: where it ends within the signed log; `beyond`: rows after the signed head, which nobody
    can judge yet. `altered` and `missing` name the first twenty ranges, the numbers count all.
    `last_at`: time of the last signed record in it; `checkpoint`: the newest head that it reaches.
    `digest`: SHA-256 (hex) of the bytes that were looked into, where nobody signed one.
    """

    status: Inside
    size: int = 0
    beyond: int = 0
    altered: tuple[Span, ...] = ()
    missing: tuple[Span, ...] = ()
    altered_records: int = 0
    missing_records: int = 0
    last_at: datetime | None = None
    checkpoint: int | None = None
    why: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """In a few words, for a plan."""
        if self.status is Inside.CLEAN:
            return ", ".join([self.status.value, *self._reach()])
        if self.status is not Inside.POISONED:
            return f"{self.status}: {self.why}" if self.why else self.status.value
        words = [
            f"{count} records {what} ({_listed(spans)})"
            for what, count, spans in (
                ("altered", self.altered_records, self.altered),
                ("missing", self.missing_records, self.missing),
            )
            if count
        ]
        return f"{self.status}: {', '.join(words)}"

    def _reach(self) -> list[str]:
        """How far it goes, as far as it says."""
        said: list[str] = []
        if self.last_at is not None:
            said.append(f"its last signed record is of {self.last_at:%Y-%m-%d %H:%M:%S}Z")
        if self.checkpoint:
            said.append(f"it reaches the signed head of {self.checkpoint} records")
        if self.beyond:
            said.append(f"{self.beyond} rows after the newest head are judged by nobody")
        return said


_AS_SIGNED, _WRONG = 1, 2


def _listed(spans: tuple[Span, ...]) -> str:
    return ", ".join(map(str, spans[:_SAID_RANGES])) + ", ..." * (len(spans) > _SAID_RANGES)


def inspect(
    rows: Iterable[CopiedRow], leaves: bytes, *, at_least: int = 0, heads: Iterable[int] = ()
) -> Contents:
    """Judge the rows of a backup, in any order. Memory: one byte for each signed record.

    `leaves`: all signed leaf hashes; `at_least`: the records that its manifest promises; `heads`:
    sizes of the signed checkpoints. Errors of reading the rows are the caller's.
    """
    signed = len(leaves) // HASH_SIZE
    seen = bytearray(signed)
    end, beyond, strange, last = 0, 0, 0, (-1, b"")
    for row in rows:
        seq = row.seq
        if seq >= signed:
            beyond += 1
            continue
        if seq < 0:
            strange += 1
            continue
        leaf = leaves[seq * HASH_SIZE : (seq + 1) * HASH_SIZE]
        is_whole = row.record is not None and leaf_hash(row.record) == leaf
        if is_whole and row.leaf in (leaf, None) and not seen[seq]:
            seen[seq] = _AS_SIGNED
            if row.record is not None and seq > last[0]:
                last = (seq, row.record)
        else:
            seen[seq] = _WRONG
        end = max(end, seq + 1)
    end = max(end, min(at_least, signed))
    altered, missing = seen.count(_WRONG, 0, end) + strange, seen.count(0, 0, end)
    return Contents(
        Inside.POISONED if altered or missing else Inside.CLEAN,
        size=end,
        beyond=beyond,
        altered=_spans(seen, _WRONG, end),
        missing=_spans(seen, 0, end),
        altered_records=altered,
        missing_records=missing,
        last_at=_time_of(last[1]),
        checkpoint=max((size for size in heads if size <= end), default=None),
    )


def _spans(seen: bytearray, what: int, end: int) -> tuple[Span, ...]:
    runs = re.compile(b"[%c]+" % what).finditer(seen, 0, end)
    return tuple(Span(run.start(), run.end() - run.start()) for run in islice(runs, _NAMED_RANGES))


def _time_of(line: bytes) -> datetime | None:
    """The event's own time, which a signature covers; None when it tells none with its zone."""
    if not line:
        return None
    try:
        at = datetime.fromisoformat(str(parse_line(line).get("timestamp")))
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (RecordError, ValueError, OverflowError):
        return None
