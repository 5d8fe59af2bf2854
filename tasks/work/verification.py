"""Verifying a source against the signed head: the table, or a sealed log by itself.

Both read all records as they are stored and put them to the same comparer. `verified` is said only
when the whole signed region reproduces the signed root; what could not be judged is
`unverifiable`, never verified.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tasks.clients import postgres
from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    INFORMATIONAL,
    UNDECIDED,
    Code,
    Finding,
    MerkleTree,
    NoteError,
    Status,
    Trust,
    Verdict,
)
from tasks.domain.ledger.compare import Comparer, Comparison
from tasks.domain.ledger.segments import SegmentError, pick, segments_of
from tasks.domain.ledger.tiles import TILE_WIDTH, tile_data, tiles_of
from tasks.work import audit_table
from tasks.work.log_heads import Head, latest_head, open_head, refusal, stored_sizes
from tasks.work.log_segments import segment_lines, stored_segments, strays
from tasks.work.log_store import LogStore
from tasks.work.signed_tree import signed_leaves

Progress = Callable[[int, int], None]
"""Called with (records done, records signed); done may exceed signed by the unsigned tail."""


@dataclass(frozen=True, slots=True)
class _Trusted:
    head: Head
    leaves: bytes


@dataclass(frozen=True, slots=True)
class _Run:
    """One verification in the making: when it began, of what, against which trusted head."""

    source: str
    began: float
    head: Head | None = None

    def verdict(
        self, status: Status, reason: str, findings: tuple[Finding, ...], done: Comparison | None
    ) -> Verdict:
        checkpoint = self.head.checkpoint if self.head else None
        return Verdict(
            status=status,
            source=self.source,
            records=done.records if done else 0,
            signed=checkpoint.size if checkpoint else 0,
            findings=findings,
            origin=checkpoint.origin if checkpoint else "",
            root=checkpoint.root.hex() if checkpoint else "",
            seconds=time.perf_counter() - self.began,
            bytes=done.size if done else 0,
            reason=reason,
        )


def verify_table(
    dsn: str,
    log: LogStore,
    trust: Trust,
    progress: Progress | None = None,
) -> Verdict:
    """Every row of `audit_records` against the newest head of `log`. `dsn`: a read-only role.

    Memory: the signed leaf hashes and one batch of rows. A missing table or database under a
    signed head is tampered: all that was signed is gone. Errors of reaching the server (Transient,
    Denied) are raised, because they say nothing about the records.
    """
    began = time.perf_counter()
    trusted = _trusted(log, trust, _Run("table", began))
    if isinstance(trusted, Verdict):
        return trusted
    run = _Run("table", began, trusted.head)
    comparer = Comparer("table", trusted.leaves)
    signed = trusted.head.checkpoint.size
    done = 0
    try:
        with audit_table.reading(dsn) as connection, audit_table.snapshot(connection):
            for seqs, records in audit_table.stored_rows(connection):
                comparer.add(seqs, records)
                done += len(records)
                if progress is not None:
                    progress(done, signed)
    except NotFound as error:
        return _source_missing(run, comparer, postgres.describe(dsn), error)
    except Malformed as error:
        reason = f"the table cannot be read whole after {done} records: {error}"
        finding = Finding(Code.SOURCE_MISSING, "table", detail=reason)
        findings = (*trusted.head.refused, finding)
        return run.verdict(Status.UNVERIFIABLE, reason, findings, None)
    return _judge(run, comparer.finish(), trusted.head.refused)


def verify_log(log: LogStore, trust: Trust, progress: Progress | None = None) -> Verdict:
    """A sealed log by itself: every checkpoint, every tile, every line of every segment."""
    began = time.perf_counter()
    trusted = _trusted(log, trust, _Run(log.source, began))
    if isinstance(trusted, Verdict):
        return trusted
    tree = MerkleTree(trusted.leaves)
    beside = [
        *trusted.head.refused,
        *_check_older_heads(log, trust, tree),
        *_check_tiles(log, tree),
        *strays(log),
    ]
    comparer = Comparer(log.source, trusted.leaves)
    available = stored_segments(log)
    done = 0
    for wanted in segments_of(trusted.head.checkpoint.size):
        stored = pick(available, wanted)
        if stored is None:
            continue
        try:
            for first, lines in segment_lines(log, stored, wanted.count):
                comparer.add(range(first, first + len(lines)), lines)
                done += len(lines)
                if progress is not None:
                    progress(done, tree.size)
        except (SegmentError, Malformed) as error:
            code = error.code if isinstance(error, SegmentError) else Code.SEGMENT_TORN
            detail = f"{stored.path}: {error}"
            beside.append(Finding(code, log.source, stored.first, wanted.count, detail))
    return _judge(_Run(log.source, began, trusted.head), comparer.finish(), tuple(beside))


def _trusted(log: LogStore, trust: Trust, run: _Run) -> _Trusted | Verdict:
    """Head and leaves to judge by, or the verdict that there is nothing to judge by."""
    try:
        head = latest_head(log, trust)
    except NotFound as error:
        finding = Finding(Code.BAD_CHECKPOINT, log.source, detail=str(error))
        return run.verdict(Status.UNVERIFIABLE, str(error), (finding,), None)
    except NotProven as error:
        findings = tuple(_check_all_heads(log, trust))
        return run.verdict(Status.UNVERIFIABLE, str(error), findings, None)
    try:
        return _Trusted(head, signed_leaves(log, head.checkpoint))
    except (NotProven, Malformed) as error:
        finding = Finding(Code.TILES_BAD, log.source, detail=str(error))
        run = _Run(run.source, run.began, head)
        return run.verdict(Status.UNVERIFIABLE, str(error), (*head.refused, finding), None)


def _check_all_heads(log: LogStore, trust: Trust) -> list[Finding]:
    """Findings for the newest hundred stored checkpoints, none of which verifies."""
    findings = []
    for size in stored_sizes(log)[-100:]:
        try:
            open_head(log, size, trust)
        except NoteError as error:
            findings.append(refusal(log, size, error))
    return findings


def _check_older_heads(log: LogStore, trust: Trust, tree: MerkleTree) -> list[Finding]:
    """Every older checkpoint verifies and is a prefix of the newest: the log only ever grew."""
    findings = []
    for size in stored_sizes(log):
        if size >= tree.size:
            continue
        try:
            old = open_head(log, size, trust, witnessed=False).checkpoint
        except NoteError as error:
            findings.append(refusal(log, size, error))
            continue
        if old.root != tree.root(size):
            findings.append(
                Finding(
                    Code.FORK,
                    log.source,
                    detail=f"checkpoints/{size} is signed, but not a part of this history",
                    expected=old.root.hex(),
                    found=tree.root(size).hex(),
                )
            )
    return findings


def _check_tiles(log: LogStore, tree: MerkleTree) -> list[Finding]:
    """The tiles above the leaves, which others read proofs from, hold what the leaves give."""
    findings = []
    for tile in tiles_of(tree.size):
        if tile.level == 0:
            continue
        expected = tile_data(tree, tile)
        try:
            good = log.read(tile.path, TILE_WIDTH * len(tree.root())) == expected
        except (NotFound, Malformed):
            good = False
        if not good:
            detail = f"{tile.path} is missing or not what the leaves give"
            findings.append(Finding(Code.TILES_BAD, log.source, detail=detail))
    return findings


def _source_missing(run: _Run, comparer: Comparer, where: str, error: NotFound) -> Verdict:
    signed = run.head.checkpoint.size if run.head else 0
    refused = run.head.refused if run.head else ()
    reason = f"{where} has no audit_records, expected {signed} signed records: {error}"
    missing = Finding(Code.SOURCE_MISSING, "table", detail=reason)
    done = comparer.finish()
    status = Status.TAMPERED if signed else Status.UNVERIFIABLE
    return run.verdict(status, reason, (*refused, missing, *done.findings), done)


def _judge(run: _Run, done: Comparison, beside: tuple[Finding, ...]) -> Verdict:
    signed = run.head.checkpoint.size if run.head else 0
    findings = (*beside, *done.findings)
    against = [each for each in findings if each.code not in INFORMATIONAL | UNDECIDED]
    undecided = [each for each in findings if each.code in UNDECIDED]
    if against or done.matched != signed:
        codes = ", ".join(sorted({each.code for each in against}))
        reason = f"{done.matched} of {signed} signed records are as signed; found {codes}"
        return run.verdict(Status.TAMPERED, reason, findings, done)
    if undecided:
        reason = (
            f"the {signed} records of the newest good head are as signed, but what they are judged"
            f" by is damaged: {undecided[0].detail}"
        )
        return run.verdict(Status.UNVERIFIABLE, reason, findings, done)
    tail = done.records - signed
    reason = f"all {signed} signed records are as signed"
    if tail:
        reason += f"; {tail} newer ones are chained, and not signed yet"
    return run.verdict(Status.VERIFIED, reason, findings, done)
