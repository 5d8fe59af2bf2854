"""What comparing a stretch of a log came to, and stretches put together exactly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tasks.domain.ledger.findings import FindingList, joined_findings
from tasks.domain.ledger.tree import CompactRange
from tasks.domain.ledger.verdicts import Code, Finding


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of records `begin` <= seq < `end` (and, at the log's end, the tail beyond it).

    `records` and `size` (bytes) were read, `matched` are as signed; `supposed` (first, count)
    look right, but their block's signed root is unknown: only the whole tree can say. `whole` is
    the tree over the range, None unless it was read without a gap. `first_link` is the `_prev` of
    its first record, `last_links` what the record after it may carry: the seams between ranges.
    """

    source: str
    findings: tuple[Finding, ...]
    begin: int
    end: int
    records: int
    size: int
    matched: int
    supposed: tuple[tuple[int, int], ...]
    whole: CompactRange | None
    first_link: bytes | None
    last_links: frozenset[bytes] | None


def joined(source: str, parts: Sequence[Comparison]) -> Comparison:
    """One comparison over ranges that follow each other; their seams are checked.

    Merging is exact and associative: any cut of the log at block ends gives the same as one run.
    """
    breaks = FindingList(source)
    for left, right in pairwise(parts):
        if left.end != right.begin or left.last_links is None or right.first_link is None:
            continue
        if right.first_link not in left.last_links:
            detail = "signed as it stands, but not chained to the record before"
            breaks.add(Code.CHAIN_BREAK, right.begin, detail=detail)
    whole = parts[0].whole
    for part in parts[1:]:
        follows = whole is not None and part.whole is not None and whole.end == part.whole.begin
        whole = whole.merge(part.whole) if follows and whole and part.whole else None
    return replace(
        parts[0],
        findings=joined_findings([*(part.findings for part in parts), breaks.finish()]),
        end=parts[-1].end,
        records=sum(part.records for part in parts),
        size=sum(part.size for part in parts),
        matched=sum(part.matched for part in parts),
        supposed=tuple(run for part in parts for run in part.supposed),
        whole=whole,
        last_links=parts[-1].last_links,
    )
