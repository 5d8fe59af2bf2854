"""Some blocks that others called good, hashed again by this process.

The answer of a worker under foreign control can say `as signed` of what it never read; nobody knows
beforehand which blocks are drawn here. Of a worker that lies about a share f of all blocks, r drawn
ones let through (1 - f) ** r: four find one that lies about half of them in 15 of 16 nights.
"""

from collections.abc import Callable, Sequence
from random import SystemRandom

from tasks.domain.errors import NotProven
from tasks.domain.ledger.blocks import BLOCK, block_count, block_range
from tasks.domain.ledger.shards import Part
from tasks.domain.ledger.verdicts import INFORMATIONAL, Finding
from tasks.work.shard_jobs import Cut, ShardJob

HashHere = Callable[[int], Part]
"""Compares one block by this process."""


def recheck(
    cut: Cut, jobs: Sequence[ShardJob], parts: Sequence[Part], count: int, hash_here: HashHere
) -> None:
    """NotProven when one of `count` blocks that were called good is not; then nothing counts."""
    good = [
        index
        for job, part in zip(jobs, parts, strict=True)
        for index in range(job.shard.begin, min(job.shard.end, block_count(cut.head.size)))
        if not _says(part, index, cut.head.size)
    ]
    for index in SystemRandom().sample(good, min(count, len(good))):
        found = _says(hash_here(index), index, cut.head.size)
        if found:
            codes = ", ".join(sorted({each.code.value for each in found}))
            raise NotProven(
                f"a worker called records {index * BLOCK:,} and on as signed, this process finds "
                f"{codes}: none of the workers' answers counts; verify with processes, and look "
                "who runs code on the cluster"
            )


def _says(part: Part, index: int, size: int) -> list[Finding]:
    """What is said against the block; of findings without a place, each may be about it."""
    done, beside = part
    block = block_range(index, size)
    return [
        each
        for each in (*done.findings, *beside)
        if each.code not in INFORMATIONAL
        and (each.first is None or each.first < block.stop)
        and (each.first is None or each.first + each.count > block.start)
    ]
