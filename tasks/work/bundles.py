"""Auditor bundles: proofs about a sealed log that outsiders verify offline, without trust in us.

What is enclosed is proven first: every root, path and line leads to the head that the policy
accepts. The finished bundle is then put to the verifier that travels in it (`bundle_verifier`),
which shares no code with what made it. Proofs, not lines, unless lines were asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import (
    Checkpoint,
    NoteError,
    Trust,
    Verdict,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tasks.domain.ledger.bundle_files import (
    MAX_OLDER_HEADS,
    POLICY,
    README,
    VERDICT,
    VERIFIER,
    Selection,
    checkpoint_path,
    consistency_path,
    lines_path,
    policy_text,
    readme_text,
    record_path,
    verdict_text,
)
from tasks.domain.ledger.proof_texts import ConsistencyText, InclusionText, extra_leaf
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, SegmentError, pick
from tasks.domain.ledger.tiled import TiledTree
from tasks.domain.ledger.tiles import leaf_tiles
from tasks.work import bundle_verifier
from tasks.work.bundle_sinks import BundleSink, write_bundle
from tasks.work.log_files import LogStore
from tasks.work.log_heads import Head, open_head, stored_sizes
from tasks.work.log_segments import segment_lines, stored_segments
from tasks.work.proving import continue_anchor
from tasks.work.signed_tree import read_tree
from tasks.work.verification import verify_log

_LINES_BYTES = 8 * 1024 * 1024
"""Lines go into files of about so much; a verifier reads them one at a time."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is asked for: proofs of these records, their lines, all leaf hashes."""

    selection: Selection
    with_lines: bool = False
    full: bool = False

    def lines(self, size: int) -> tuple[tuple[int, int], ...]:
        """The (first, last) ranges of lines; BadInput when nobody said which."""
        if not self.with_lines:
            return ()
        if not self.selection.ranges and not self.full:
            raise BadInput("expected --records (or --full, for all) with --with-lines, found none")
        whole = ((0, size - 1),) if size else ()
        return self.selection.ranges or whole


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle that verifies. `verdict`: the log's own, which need not be good."""

    checkpoint: Checkpoint
    verdict: Verdict
    older: int
    files: int


def make_bundle(log: LogStore, trust: Trust, target: Path, contents: Contents) -> Made:
    """Verify the log and write the bundle about its newest good head to `target`, new.

    A damaged segment does not prevent it: the verdict says so, and proofs are not made of lines.
    NotProven, and nothing written, when head, tiles, an older head or the anchor do not fit each
    other; BadInput for records that are not sealed, or a target that exists.
    """
    verdict = verify_log(log, trust)
    if not verdict.root:
        raise NotProven(f"{log} has no head that counts, nothing can be proven: {verdict.reason}")
    try:
        head = open_head(log, verdict.signed, trust)
    except NoteError as error:
        raise NotProven(f"{log}: the newest head changed meanwhile: {error}") from error
    contents.selection.check(head.checkpoint.size)
    lines = contents.lines(head.checkpoint.size)
    older = _older_heads(log, trust, head.checkpoint)
    policy = policy_text(trust)

    def fill(sink: BundleSink) -> None:
        tree = read_tree(log, head.checkpoint.size)
        _add_heads(sink, tree, head, older, trust)
        _add_records(sink, tree, head, contents.selection)
        if contents.full:
            _add_leaves(sink, tree, head.checkpoint)
        for first, last in lines:
            _add_lines(sink, log, tree, first, last)
        about = readme_text(head.checkpoint, contents.selection.ranges, lines=bool(lines))
        sink.add(README, about.encode())
        sink.add(POLICY, policy.encode())
        sink.add(VERDICT, verdict_text(verdict).encode())
        sink.add(VERIFIER, verifier_source())

    def check(path: Path) -> None:
        report = bundle_verifier.verify_bundle(str(path), bundle_verifier.read_policy(policy))
        if report.code != bundle_verifier.PROVED:
            said = "; ".join([*report.problems, *report.gaps])
            raise NotProven(f"the bundle that was made does not verify, it was removed: {said}")

    files = write_bundle(target, fill, check)
    return Made(head.checkpoint, verdict, len(older), files)


def verifier_source() -> bytes:
    """The single-file verifier, as it is enclosed in bundles."""
    return Path(bundle_verifier.__file__).read_bytes()


def _older_heads(log: LogStore, trust: Trust, newest: Checkpoint) -> list[Head]:
    """The stored heads before the newest, at most a thousand of them, and the kept one."""
    sizes = [size for size in stored_sizes(log) if size < newest.size][-MAX_OLDER_HEADS:]
    heads = []
    for size in sizes:
        try:
            heads.append(open_head(log, size, trust, witnessed=False))
        except NoteError as error:
            raise NotProven(f"{log}: checkpoints/{size} does not verify: {error}") from error
    anchor = trust.open_anchor()
    if anchor is not None and anchor.size < newest.size and anchor.size not in sizes:
        heads.append(Head(anchor, trust.anchor))
    return heads


def _add_heads(
    sink: BundleSink, tree: TiledTree, newest: Head, older: list[Head], trust: Trust
) -> None:
    new = newest.checkpoint
    continue_anchor(tree, new, trust)
    sink.add(checkpoint_path(new.size), newest.note.encode())
    for head in older:
        old = head.checkpoint
        hashes = tree.consistency_proof(old.size)
        verify_consistency(old.size, new.size, old.root, new.root, hashes)
        sink.add(checkpoint_path(old.size), head.note.encode())
        text = ConsistencyText(old.size, tuple(hashes), newest.note)
        sink.add(consistency_path(old.size), text.render().encode())


def _add_records(sink: BundleSink, tree: TiledTree, head: Head, selection: Selection) -> None:
    size, root = head.checkpoint.size, head.checkpoint.root
    for first, last in selection.ranges:
        for seq in range(first, last + 1):
            leaf, hashes = tree.node(0, seq), tree.inclusion_proof(seq)
            verify_inclusion(seq, size, leaf, root, hashes)
            text = InclusionText(seq, tuple(hashes), head.note, extra_leaf(leaf))
            sink.add(record_path(seq), text.render().encode())


def _add_leaves(sink: BundleSink, tree: TiledTree, checkpoint: Checkpoint) -> None:
    parts = []
    for tile in leaf_tiles(checkpoint.size):
        data = tree.tile(0, tile.index)
        sink.add(tile.path, data)
        parts.append(data)
    if tree_root(b"".join(parts)) != checkpoint.root:
        raise NotProven("the leaf hashes of the tiles do not give the signed root")


def _add_lines(sink: BundleSink, log: LogStore, tree: TiledTree, first: int, last: int) -> None:
    """The lines, each proven by its leaf, in files of about 8 MiB."""
    start, pending, size = first, list[bytes](), 0
    for seq, line in _proven_lines(log, tree, first, last):
        pending.append(line + b"\n")
        size += len(line) + 1
        if size >= _LINES_BYTES or seq == last:
            sink.add(lines_path(start, seq), b"".join(pending))
            start, pending, size = seq + 1, [], 0


def _proven_lines(
    log: LogStore, tree: TiledTree, first: int, last: int
) -> Iterator[tuple[int, bytes]]:
    """(seq, line) of `first` to `last`; NotProven at the first that is missing or not as signed."""
    available = stored_segments(log)
    expected = first
    for start in range(first - first % SEGMENT_LINES, last + 1, SEGMENT_LINES):
        stored = pick(available, Segment(start, min(SEGMENT_LINES, tree.size - start)))
        try:
            batches = () if stored is None else segment_lines(log, stored, last + 1 - start)
            for begin, lines in batches:
                for seq, line in enumerate(lines, begin):
                    if seq < first:
                        continue
                    if leaf_hash(line) != tree.node(0, seq):
                        raise NotProven(f"{log}: record {seq} is not as signed, in a segment")
                    expected = seq + 1
                    yield seq, line
        except (SegmentError, NotFound, Malformed) as error:
            raise NotProven(f"{log}: the line of record {expected} cannot be read: {error}") from (
                error
            )
        if expected < min(start + SEGMENT_LINES, last + 1):
            raise NotProven(f"{log}: no segment has the line of record {expected}")
