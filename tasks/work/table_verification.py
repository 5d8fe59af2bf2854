"""Verifying the table: its rows as they are stored, in one snapshot, against the signed head."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import Malformed, NotFound, Transient
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Code, Finding, Status, Trust, Verdict, leaf_hashes
from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_count
from tasks.domain.ledger.compare import Comparer
from tasks.domain.ledger.comparison import Comparison, joined
from tasks.domain.ledger.judgement import Subject
from tasks.domain.ledger.scope import FULL, Scope
from tasks.domain.ledger.shards import Part
from tasks.work import audit_table
from tasks.work.comparisons import compare_with_api
from tasks.work.crews import Crew, Processes
from tasks.work.heap import keep_freed_memory
from tasks.work.log_files import LogStore
from tasks.work.placed_shards import PlacedTable, PlacedTree, own_reader
from tasks.work.rechecks import recheck
from tasks.work.shard_jobs import Cut, ShardJob
from tasks.work.trusted import Progress, Run, begin
from tasks.work.verification import TABLE, blocks_to_check, compare_rows


def verify_table(
    dsn: str,
    log: LogStore,
    trust: Trust,
    progress: Progress | None = None,
    *,
    scope: Scope = FULL,
    workers: int = 1,
    crew: Crew | None = None,
    size: int | None = None,
    now: datetime | None = None,
    leaves_too: bool = False,
) -> Verdict:
    """The rows of `audit_records` against the newest head of `log`. `dsn`: a read-only role.

    `crew`: who hashes, instead of so many `workers` of this machine; other machines read the table
    by the DSN of their own settings, in the snapshot that is taken here.

    `leaves_too`: NotProven when a signed record's stored leaf is not its hash, which no verdict is
    about: the system that is to serve the table shows it to its users.

    A missing table or database under a signed head is tampered: all that was signed is gone. Errors
    of reaching the server (Transient, Denied) are raised, because they say nothing about the
    records. Memory: one block of lines a process, whatever the table's length.
    """
    run = begin(TABLE, log, trust, now, size)
    if isinstance(run, Verdict):
        return run
    scope = scope.within(run.trusted.signed.size)
    try:
        with audit_table.reading(dsn) as connection, audit_table.snapshot(connection) as shared:
            _check_is_table(connection)
            wider = _with_incomplete(connection, scope)
            tell = run.teller(progress, wider)
            who = crew or Processes(workers)
            runs = _with_tail(blocks_to_check(wider, run.trusted.signed.size, who), wider)
            if who.is_remote or (who.width > 1 and len(runs) > 1):
                signed, head = run.trusted.signed, run.trusted.head.checkpoint
                cut = Cut.of(TABLE, head, signed)
                tree = PlacedTree.of(log, head, signed) if who.is_remote else None
                jobs = [_job(cut, tree, dsn, shared, *each, leaves_too) for each in runs]
                answers = who.compare(cut, jobs, tell)
                once_more = partial(_one_block, connection, signed)
                recheck(cut, jobs, answers, who.rechecked, once_more)
                parts = [part for part, _ in answers]
            else:
                signed = run.trusted.signed
                parts = [_compare(connection, signed, *each, tell, leaves_too) for each in runs]
    except NotFound as error:
        if not _is_missing(dsn):
            raise Transient(f"reading the table failed, though it is there: {error}") from error
        return _missing(run, postgres.describe(dsn), error)
    except Malformed as error:
        reason = f"the table cannot be read whole: {error}"
        finding = Finding(Code.SOURCE_MISSING, TABLE, detail=reason)
        subject = Subject(TABLE, run.trusted.head.checkpoint, scope)
        return subject.verdict(Status.UNVERIFIABLE, reason, (*run.trusted.findings, finding))
    return run.judge(joined(TABLE, parts), scope=scope)


def compare_api_with_table(
    dsn: str, log: LogStore, trust: Trust, size: int, root: bytes, head: int | None = None
) -> Verdict:
    """`compare_with_api`, with the table's rows for what the API shows beyond the signed size."""

    def rows(first: int, end: int) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        with audit_table.reading(dsn) as connection, audit_table.snapshot(connection):
            yield from audit_table.stored_rows(connection, first, end)

    return compare_with_api(log, trust, size, root, rows, head=head)


@dataclass(frozen=True, slots=True)
class _Job:
    """One stretch for a worker process, in the same snapshot as the others."""

    dsn: str
    shared: str
    signed: SignedBlocks
    begin: int
    end: int
    leaves_too: bool


def _job(
    cut: Cut,
    tree: PlacedTree | None,
    dsn: str,
    shared: str,
    begin: int,
    end: int,
    leaves_too: bool,  # noqa: FBT001  as `_Job` says it
) -> ShardJob:
    """One stretch; with a `tree` for another machine, and then without our secrets."""
    tail = end >= block_count(cut.signed.size)
    shard = cut.shard(begin, end, tail=tail)
    if tree is not None:
        return ShardJob(shard, _check_placed, PlacedTable(tree, shared, begin, end, leaves_too))
    return ShardJob(shard, _check, _Job(dsn, shared, cut.signed, begin, end, leaves_too))


def _one_block(connection: Connection[TupleRow], signed: SignedBlocks, index: int) -> Part:
    return _compare(connection, signed, index, index + 1, None, leaves_too=False), ()


def _check(job: _Job) -> Part:
    with audit_table.reading(job.dsn) as connection, audit_table.snapshot(connection, job.shared):
        done = _compare(connection, job.signed, job.begin, job.end, None, job.leaves_too)
    return done, ()


def _check_placed(job: PlacedTable) -> Part:
    _, signed = job.tree.open()
    return _check(_Job(own_reader(), job.shared, signed, job.begin, job.end, job.leaves_too))


def _compare(
    connection: Connection[TupleRow],
    signed: SignedBlocks,
    begin: int,
    end: int,
    tell: Callable[[int], None] | None,
    leaves_too: bool,  # noqa: FBT001  as `_Job` says it
) -> Comparison:
    """Blocks `begin` <= index < `end`; the last one brings the unsigned tail with it."""
    keep_freed_memory()
    first = None if begin == 0 else begin * BLOCK
    stop = None if end >= block_count(signed.size) else end * BLOCK
    if leaves_too:
        with closing(_with_right_leaves(connection, signed.size, first, stop)) as checked:
            return compare_rows(checked, signed, begin * BLOCK, stop, tell)
    with closing(audit_table.stored_rows(connection, first, stop, bulk=True)) as rows:
        return compare_rows(rows, signed, begin * BLOCK, stop, tell)


def _with_right_leaves(
    connection: Connection[TupleRow], size: int, first: int | None, stop: int | None
) -> Generator[tuple[Sequence[int], Sequence[bytes], bytes]]:
    """Rows with the hashes that their lines have; NotProven when a signed one's is another."""
    with closing(audit_table.rows_with_leaves(connection, first, stop)) as read:
        for seqs, records, stored in read:
            leaves = leaf_hashes(records)
            if b"".join(stored) != leaves:
                for at, seq in enumerate(seqs):
                    if seq < size and stored[at] != leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE]:
                        raise NotProven(
                            f"expected the leaf that is stored with record {seq} to be its hash, "
                            "found another: production is untouched"
                        )
            yield seqs, records, leaves


def _with_tail(runs: list[tuple[int, int]], scope: Scope) -> list[tuple[int, int]]:
    """The runs; at least one, at the end, that brings the unsigned tail with it."""
    last = scope.since // BLOCK
    return runs if runs and runs[-1][0] >= last else [*runs, (last, last + 1)]


def _with_incomplete(connection: Connection[TupleRow], scope: Scope) -> Scope:
    """The scope, and the older blocks whose number of rows alone shows that some are missing."""
    if scope.is_full:
        return scope
    counts = audit_table.counts_by_block(connection, scope.since, BLOCK)
    wrong = [each for each in range(scope.since // BLOCK) if counts.get(each, 0) != BLOCK]
    return scope.with_blocks([0, *wrong] if -1 in counts else wrong)


def _check_is_table(connection: Connection[TupleRow]) -> None:
    if audit_table.is_table(connection) is False:
        raise Malformed("audit_records is no table, but a view: each role may see other rows")


def _is_missing(dsn: str) -> bool:
    """Whether the table, or its whole database, is not there: looked at again, by itself."""
    try:
        with audit_table.reading(dsn) as connection:
            return audit_table.is_table(connection) is None
    except NotFound:
        return True


def _missing(run: Run, where: str, error: NotFound) -> Verdict:
    head = run.trusted.head.checkpoint
    reason = f"{where} has no audit_records, expected {head.size} signed records: {error}"
    missing = Finding(Code.SOURCE_MISSING, TABLE, detail=reason)
    nothing = Comparer(TABLE, run.trusted.signed).finish()
    status = Status.TAMPERED if head.size else Status.UNVERIFIABLE
    findings = (*run.trusted.findings, missing, *nothing.findings)
    return Subject(TABLE, head).verdict(status, reason, findings, nothing)
