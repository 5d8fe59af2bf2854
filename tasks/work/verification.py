"""Verifying records against the signed head: rows of the table, or a sealed log by itself.

Both put the records as they are stored to the same comparer. `verified` is said only when what was
to be hashed reproduces the signed tree; what could not be judged is `unverifiable`. By default
everything is hashed; a `Scope` takes the new records and a sample of the older ones.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from tasks.domain.ledger import Checkpoint, Code, Finding, Trust, Verdict
from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_count
from tasks.domain.ledger.compare import Comparer
from tasks.domain.ledger.comparison import Comparison, joined
from tasks.domain.ledger.scope import FULL, Scope
from tasks.domain.ledger.segments import SEGMENT_LINES
from tasks.domain.ledger.shards import Part
from tasks.work.crews import Crew, Processes
from tasks.work.log_files import LogStore
from tasks.work.log_heads import stored_sizes
from tasks.work.log_segments import segments_by_block, strays
from tasks.work.parallel import stretches
from tasks.work.placed_shards import PlacedStore, PlacedTree, check_placed_store
from tasks.work.rechecks import recheck
from tasks.work.shard_jobs import Cut, ShardJob
from tasks.work.store_check import StoreCheck, StoreJob, check_store
from tasks.work.trusted import Progress, begin

TABLE = "table"

Batches = Iterable[tuple[Sequence[int], Sequence[bytes]]]
"""Rows as they are stored: seqs, and the line of each."""

HashedBatches = Iterable[tuple[Sequence[int], Sequence[bytes], bytes]]
"""With the leaf hashes of the lines, 32 bytes each."""


def verify_rows(
    batches: Batches,
    log: LogStore,
    trust: Trust,
    progress: Progress | None = None,
    *,
    now: datetime | None = None,
) -> Verdict:
    """Rows of the table, read by the caller, against the newest head of `log`: all of them."""
    run = begin(TABLE, log, trust, now)
    if isinstance(run, Verdict):
        return run
    return run.judge(compare_rows(batches, run.trusted.signed, tell=run.teller(progress, FULL)))


def verify_log(
    log: LogStore,
    trust: Trust,
    progress: Progress | None = None,
    *,
    scope: Scope = FULL,
    workers: int = 1,
    crew: Crew | None = None,
    size: int | None = None,
    now: datetime | None = None,
) -> Verdict:
    """A sealed log by itself: every checkpoint, tile and line of every segment in the scope.

    `crew`: who hashes, instead of so many `workers` of this machine. `size`: of the head to verify
    against, the newest one by default.
    """
    run = begin(log.source, log, trust, now, size)
    if isinstance(run, Verdict):
        return run
    scope = scope.within(run.trusted.signed.size)
    signed = run.trusted.signed
    check = StoreCheck(log, trust, signed, segments_by_block(log), stored_sizes(log))
    wider = scope.with_blocks(_blocks_without_segment(check, scope))
    head = run.trusted.head.checkpoint
    who = crew or Processes(workers)
    done, beside = _check_store(check, head, wider, who, run.teller(progress, wider))
    beside += [*check.upper_tiles(), *strays(log)]
    if run.trusted.tiles and not any(each.code is Code.TILES_BAD for each in beside):
        beside.append(Finding(Code.TILES_BAD, log.source, detail=run.trusted.tiles))
    return run.judge(done, beside, scope)


def compare_rows(
    batches: Batches | HashedBatches,
    signed: SignedBlocks,
    begin: int = 0,
    end: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> Comparison:
    """The rows of the records `begin` <= seq < `end`; without `end`, of all that follow."""
    comparer = Comparer(TABLE, signed, begin, end)
    for batch in batches:
        comparer.add(*batch)
        if tell is not None:
            tell(len(batch[0]))
    return comparer.finish()


def blocks_to_check(scope: Scope, size: int, crew: Crew) -> list[tuple[int, int]]:
    """The scope as runs of neighbouring blocks (begin, end), ascending, for that crew."""
    runs = [(index, index + 1) for index in scope.sampled]
    first, end = scope.since // BLOCK, block_count(size)
    return [*runs, *stretches(first, end, crew.width, crew.least_blocks)]


def _blocks_without_segment(check: StoreCheck, scope: Scope) -> list[int]:
    """Older blocks that the listing alone shows to be incomplete."""
    return [
        index
        for index in range(scope.since // BLOCK)
        if all(each.count < SEGMENT_LINES for each in check.segments.get(index, ()))
    ]


def _check_store(
    check: StoreCheck, head: Checkpoint, scope: Scope, crew: Crew, tell: Callable[[int], None]
) -> tuple[Comparison, list[Finding]]:
    source = check.log.source
    runs = blocks_to_check(scope, check.signed.size, crew)
    if crew.is_remote or (crew.width > 1 and len(runs) > 1):
        cut = Cut.of(source, head, check.signed)
        jobs = _jobs(cut, check, runs, crew)
        parts = crew.compare(cut, jobs, tell)
        recheck(cut, jobs, parts, crew.rechecked, partial(_one_block, check))
    else:
        parts = [check.blocks(begin, end, tell) for begin, end in runs]
    empty = Comparer(source, check.signed, check.signed.size).finish()
    done = joined(source, [part for part, _ in parts] or [empty])
    return done, [finding for _, findings in parts for finding in findings]


def _one_block(check: StoreCheck, index: int) -> Part:
    return check.blocks(index, index + 1, lambda _: None)


def _jobs(
    cut: Cut, check: StoreCheck, runs: Sequence[tuple[int, int]], crew: Crew
) -> list[ShardJob]:
    if not crew.is_remote:
        return [ShardJob(cut.shard(*run), check_store, StoreJob(check, *run)) for run in runs]
    tree = PlacedTree.of(check.log, cut.head, check.signed)
    return [
        ShardJob(cut.shard(*run), check_placed_store, PlacedStore.of(tree, check, *run))
        for run in runs
    ]
