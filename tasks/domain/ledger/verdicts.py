"""What a verification says: findings with codes, and one verdict over them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tasks.domain.ledger.kernel import KERNEL


class Code(StrEnum):
    """What was found. The values are a stable contract with reports and programs."""

    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    INSERTED = "INSERTED"
    REORDERED = "REORDERED"
    TRUNCATED = "TRUNCATED"
    SEQ_MISMATCH = "SEQ_MISMATCH"
    CHAIN_BREAK = "CHAIN_BREAK"
    NONCANONICAL = "NONCANONICAL"
    UNPARSEABLE = "UNPARSEABLE"
    SEGMENT_DIGEST = "SEGMENT_DIGEST"
    SEGMENT_TORN = "SEGMENT_TORN"
    TILES_BAD = "TILES_BAD"
    BAD_CHECKPOINT = "BAD_CHECKPOINT"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    QUORUM = "QUORUM"
    STALE = "STALE"
    ROLLBACK = "ROLLBACK"
    FORK = "FORK"
    SPLIT_VIEW = "SPLIT_VIEW"
    AHEAD = "AHEAD"
    UNSIGNED_TAIL = "UNSIGNED_TAIL"
    LOST = "LOST"
    SOURCE_MISSING = "SOURCE_MISSING"
    STRAY = "STRAY"
    UNPROVEN = "UNPROVEN"


INFORMATIONAL = frozenset({Code.UNSIGNED_TAIL, Code.STRAY, Code.AHEAD})
"""Codes that do not speak against the log."""


MISSING = frozenset({Code.DELETED, Code.TRUNCATED, Code.LOST})
"""Codes of records that are not there; `count` says how many."""

ALTERED = frozenset(
    {
        Code.MODIFIED,
        Code.INSERTED,
        Code.REORDERED,
        Code.SEQ_MISMATCH,
        Code.CHAIN_BREAK,
        Code.NONCANONICAL,
        Code.UNPARSEABLE,
    }
)
"""Codes of records that are not what was written; `count` says how many."""


UNDECIDED = frozenset(
    {
        Code.TILES_BAD,
        Code.BAD_CHECKPOINT,
        Code.BAD_SIGNATURE,
        Code.QUORUM,
        Code.STALE,
        Code.UNPROVEN,
    }
)
"""Codes about what records are judged by: they speak neither for the records nor against them."""


class Layout(StrEnum):
    """How a log is written: with signed tree heads, or as rlhf-audit-trail 0.1 did."""

    SEALED = "sealed"
    LEGACY = "legacy"


class Status(StrEnum):
    """`verified`: everything signed is as signed. `unverifiable`: could not tell."""

    VERIFIED = "verified"
    TAMPERED = "tampered"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation: `count` consecutive records from `first` (seq) in `source`.

    `source` is "table", "store", "directory", "api" or "anchor"; `first` is None when the finding
    is about a whole artefact, which `detail` names. `expected` and `found` are hex hashes.
    """

    code: Code
    source: str
    first: int | None = None
    count: int = 1
    detail: str = ""
    expected: str = ""
    found: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-able; empty fields left out."""
        pairs = {
            "code": self.code.value,
            "source": self.source,
            "seq": self.first,
            "count": self.count,
            "detail": self.detail,
            "expected": self.expected,
            "found": self.found,
        }
        return {name: value for name, value in pairs.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of verifying one source. `records` were hashed, `signed` of them under the head."""

    status: Status
    source: str
    records: int
    signed: int
    findings: tuple[Finding, ...] = ()
    origin: str = ""
    root: str = ""
    seconds: float = 0.0
    bytes: int = 0
    reason: str = ""
    layout: Layout = Layout.SEALED
    kernel: str = KERNEL.name
    scope: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for `--json` and the journal."""
        return {
            "verdict": self.status.value,
            "source": self.source,
            "records": self.records,
            "findings": [finding.as_json() for finding in self.findings],
            "checkpoint": {"origin": self.origin, "size": self.signed, "root": self.root},
            "seconds": round(self.seconds, 4),
            "bytes": self.bytes,
            "reason": self.reason,
            "layout": self.layout.value,
            "kernel": self.kernel,
            "scope": self.scope or "full",
        }

    def damaged(self) -> tuple[int, int]:
        """(records altered or slipped in, records missing), by the findings about the table."""
        about = [finding for finding in self.findings if finding.source == "table"]
        return (
            _records(finding for finding in about if finding.code in ALTERED),
            _records(finding for finding in about if finding.code in MISSING),
        )


def _records(findings: Iterable[Finding]) -> int:
    """How many records they are about: one with two findings is one record."""
    total, end = 0, 0
    placed = [one for one in findings if one.first is not None]
    for first, last in sorted((one.first or 0, (one.first or 0) + one.count) for one in placed):
        total += max(0, last - max(first, end))
        end = max(end, last)
    return total


_WORST = (Status.TAMPERED, Status.UNVERIFIABLE, Status.VERIFIED)


def combine(table: Verdict, *others: Verdict) -> Verdict:
    """One verdict over the table, the object store and the anchor: the worst status, all findings.

    Sizes and hashes are the table's. Verdicts about different signed heads do not add up to one:
    then nothing is verified.
    """
    every = (table, *others)
    reasons = [f"{one.source}: {one.reason}" for one in every if one.reason]
    statuses = [one.status for one in every]
    if len({(one.signed, one.root) for one in every if one.root}) > 1:
        statuses.append(Status.UNVERIFIABLE)
        reasons.append("they were compared with different signed heads: verify again")
    return Verdict(
        status=min(statuses, key=_WORST.index),
        source="+".join(one.source for one in every),
        records=table.records,
        signed=table.signed,
        findings=tuple(finding for one in every for finding in one.findings),
        origin=next((one.origin for one in every if one.origin), ""),
        root=next((one.root for one in every if one.root), ""),
        seconds=max(one.seconds for one in every),
        bytes=sum(one.bytes for one in every),
        reason="; ".join(reasons),
        layout=table.layout,
        scope=table.scope,
    )
