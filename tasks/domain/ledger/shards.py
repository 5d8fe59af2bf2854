"""One stretch of a log that somebody else hashes, and whether their answer is one to it.

Pure, and the same for processes and for the workers of a cluster. An answer is refused unless it
is whole, about exactly this stretch of this verification, made by the same code with the same
kernel, and adds up: with the signed tree where it gives hashes, with itself where it counts.

What no check of an answer can tell: a worker under foreign control may say `as signed` of records
that it never read, and copy the tree's nodes, which are public. `Comparison` carries no proof of
reading, so whoever needs one hashes a sample again (see `tasks.work.crews`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.domain.errors import BadInput
from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_count, block_range
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.hashing import node_hash
from tasks.domain.ledger.records import MAX_LINE_BYTES
from tasks.domain.ledger.tree import CompactRange, cover
from tasks.domain.ledger.verdicts import MISSING, UNDECIDED, Finding

Part = tuple[Comparison, tuple[Finding, ...]]
"""How the records of a stretch compare, and what is wrong beside them."""


class AnswerError(BadInput):
    """The answer is none to what was asked, or does not add up; nothing in it counts."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What made an answer: a hash over the code's files, and the kernel that hashed."""

    code: str
    kernel: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Blocks `begin` <= index < `end` of the log whose signed head has `size` and `root`.

    `tail`: the unsigned records after the head belong to it. `run`: drawn anew for each
    verification, so that an answer of yesterday is none of today.
    """

    source: str
    origin: str
    size: int
    root: bytes
    begin: int
    end: int
    tail: bool
    run: str

    @property
    def name(self) -> str:
        """SHA-256 over all of it, in hex: what an answer must name."""
        fields = [self.source, self.origin, self.size, self.root.hex()]
        told = json.dumps([*fields, self.begin, self.end, self.tail, self.run])
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def first(self) -> int:
        """The first seq."""
        return min(self.size, self.begin * BLOCK)

    @property
    def last(self) -> int:
        """The seq after the last signed one."""
        return min(self.size, self.end * BLOCK)

    def __str__(self) -> str:
        return f"records {self.first:,} to {self.last:,} of the {self.source}"


def check_part(shard: Shard, part: Part, signed: SignedBlocks) -> None:
    """AnswerError unless the part can be what comparing the shard came to."""
    done, beside = part
    _same(shard, "the source", shard.source, done.source)
    _same(shard, "its range", (shard.first, shard.last), (done.begin, done.end))
    for each in (*done.findings, *beside):
        _check_finding(shard, each)
    _check_counts(shard, done)
    _check_supposed(shard, done, signed)
    if done.whole is not None:
        _check_tree(shard, done.whole, signed)


def _check_counts(shard: Shard, done: Comparison) -> None:
    """Every record of the range is as signed, or supposed to be, or something is said of it."""
    due = shard.last - shard.first
    good = done.matched + sum(count for _, count in done.supposed)
    limit = done.records * (MAX_LINE_BYTES + 1)
    _require(0 <= done.size <= limit, shard, "bytes read", f"at most {limit}", done.size)
    _require(0 <= good <= due, shard, "records as signed", f"at most {due}", good)
    _require(done.records >= good, shard, "records read", f"at least {good}", done.records)
    placed = [each for each in done.findings if each.first is not None]
    missing = _covered(shard, [each for each in placed if each.code in MISSING])
    _require(good + missing <= due, shard, "records", f"{due} with those missing", good + missing)
    if all(each.code not in UNDECIDED for each in placed) and len(placed) == len(done.findings):
        told = good + _covered(shard, placed)
        _require(told >= due, shard, "records", f"{due} accounted for", told)
    if not done.findings:
        exact = done.records == due or (shard.tail and done.records >= due)
        _require(exact, shard, "records read without a finding", due, done.records)
        links = (done.first_link, done.last_links if shard.last < shard.size else frozenset())
        _require(not due or None not in links, shard, "links of its seams", "both", "not both")


def _check_supposed(shard: Shard, done: Comparison, signed: SignedBlocks) -> None:
    """Only of whole blocks whose signed root is unknown may it be left open whether they match."""
    at = shard.first
    for first, count in done.supposed:
        block = block_range(first // BLOCK, shard.size) if first >= 0 else range(0)
        inside = at <= first == block.start and block.stop == first + count <= shard.last
        unknown = inside and signed.block_root(first // BLOCK) is None
        _require(unknown, shard, "records left open", "a block without a root", (first, count))
        at = first + count
    if done.matched and signed.block_root(shard.begin) is None:
        _same(shard, "records as signed without a root", 0, done.matched)


def _check_tree(shard: Shard, whole: CompactRange, signed: SignedBlocks) -> None:
    """The range over what was read is the signed tree's over the same records."""
    places = cover(shard.first, shard.last)
    found = (whole.begin, whole.end, len(whole.nodes))
    _same(shard, "the range of its tree", (shard.first, shard.last, len(places)), found)
    roots = [signed.block_root(index) for index in range(shard.begin, block_count(shard.last))]
    known = [root for root in roots if root is not None]
    if len(known) < len(roots) or not known:
        return  # the merged whole is compared with the signed root itself
    same = _roots(whole, len(places), shard) == _roots_of(known, shard)
    _require(same, shard, "its tree", "the nodes of the signed one", "others")


def _roots(whole: CompactRange, places: int, shard: Shard) -> tuple[list[bytes], bytes]:
    """The range's nodes over full blocks, and the root over the last, partial block."""
    full = len(cover(shard.first, shard.last // BLOCK * BLOCK)) if shard.last % BLOCK else places
    rest = list(whole.nodes[full:])
    root = rest.pop() if rest else b""
    while rest:
        root = node_hash(rest.pop(), root)
    return list(whole.nodes[:full]), root


def _roots_of(known: Sequence[bytes], shard: Shard) -> tuple[list[bytes], bytes]:
    partial = known[-1] if shard.last % BLOCK else b""
    signed = CompactRange.empty(shard.first)
    for at, root in enumerate(known[: len(known) - bool(partial)]):
        first = (shard.begin + at) * BLOCK
        signed = signed.merge(CompactRange(first, first + BLOCK, (root,)))
    return list(signed.nodes), partial


def _check_finding(shard: Shard, finding: Finding) -> None:
    """A finding is about this source, and about records of this stretch when it names any."""
    _same(shard, "a finding's source", shard.source, finding.source)
    _require(finding.count >= 1, shard, "a finding's count", "1 or more", finding.count)
    if finding.first is None:
        return
    low = shard.first if shard.begin else min(finding.first, shard.first)
    high = max(finding.first + 1, shard.last) if shard.tail else shard.last
    inside = low <= finding.first < high
    _require(inside, shard, "a finding's place", f"{low} to {high}", finding.first)


def _covered(shard: Shard, findings: Sequence[Finding]) -> int:
    """How many signed records of the range the findings are about, each counted once."""
    total, at = 0, shard.first
    for first, count in sorted((each.first or 0, each.count) for each in findings):
        end = min(shard.last, first + count)
        total += max(0, end - max(at, first))
        at = max(at, end)
    return total


def _same(shard: Shard, what: str, expected: object, found: object) -> None:
    _require(expected == found, shard, what, expected, found)


def _require(holds: bool, shard: Shard, what: str, expected: object, found: object) -> None:  # noqa: FBT001  an assertion with words
    if not holds:
        raise AnswerError(
            f"{shard}: expected {what} to be {expected}, found {str(found)[:100]}; "
            "the answer does not count"
        )
