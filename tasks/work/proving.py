"""Proofs for outsiders: one record is in the sealed log, one head continues another.

Each is made from O(log n) tiles and verified here before anybody gets it: nothing that a store
says goes into a proof that does not lead to a head which the trust policy accepts.
"""

from dataclasses import dataclass

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import (
    Checkpoint,
    Finding,
    NoteError,
    ProofError,
    SignedHead,
    Trust,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from tasks.domain.ledger.proof_texts import (
    ConsistencyText,
    InclusionText,
    extra_leaf,
    extra_line,
)
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, SegmentError, pick
from tasks.domain.ledger.tree import Tree
from tasks.work.log_files import LogStore
from tasks.work.log_heads import latest_head, open_head
from tasks.work.log_segments import segment_lines, stored_segments
from tasks.work.signed_tree import read_tree


@dataclass(frozen=True, slots=True)
class RecordProof:
    """A proof that holds, of the record whose leaf hash is `leaf`; its `line` if asked for.

    `refused`: newer heads than the proof's that do not verify. They do not spoil the proof; they
    must be told.
    """

    text: InclusionText
    leaf: bytes
    checkpoint: Checkpoint
    line: bytes | None = None
    refused: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class GrowthProof:
    """A proof that holds: the newest head appends to the older one."""

    text: ConsistencyText
    old: Checkpoint
    new: Checkpoint
    refused: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """What a proof from outside shows: this leaf is record `index` of the head's log."""

    index: int
    leaf: bytes
    head: SignedHead
    line: bytes | None = None


def prove_record(log: LogStore, trust: Trust, seq: int, *, with_line: bool = False) -> RecordProof:
    """The proof that record `seq` is in the log's newest good head.

    BadInput: not sealed yet. NotProven: the log cannot prove it, because a tile, the line or the
    anchor does not fit the signed root. NotFound: no head at all.
    """
    head = latest_head(log, trust)
    checkpoint = head.checkpoint
    if not 0 <= seq < checkpoint.size:
        raise BadInput(
            f"expected a record of 0 to {checkpoint.size - 1}, found {seq}: the newest head that"
            f" verifies covers {checkpoint.size} records, newer ones are not sealed yet"
        )
    tree = read_tree(log, checkpoint.size)
    continue_anchor(tree, checkpoint, trust)
    leaf = tree.node(0, seq)
    hashes = tree.inclusion_proof(seq)
    verify_inclusion(seq, checkpoint.size, leaf, checkpoint.root, hashes)
    line = _line(log, checkpoint, seq, leaf) if with_line else None
    extra = extra_leaf(leaf) if line is None else extra_line(line)
    text = InclusionText(seq, tuple(hashes), head.note, extra)
    return RecordProof(text, leaf, checkpoint, line, head.refused)


def prove_growth(log: LogStore, trust: Trust, since: int) -> GrowthProof:
    """The proof that the newest good head appends to the stored head of `since` records.

    NotFound: no such head is stored. NotProven: the two are not one history.
    """
    head = latest_head(log, trust)
    new = head.checkpoint
    if since > new.size:
        raise BadInput(f"expected a size of 0 to {new.size}, the newest head's, found {since}")
    old = open_head(log, since, trust, witnessed=False).checkpoint
    tree = read_tree(log, new.size)
    continue_anchor(tree, new, trust)
    hashes = tree.consistency_proof(old.size)
    verify_consistency(old.size, new.size, old.root, new.root, hashes)
    return GrowthProof(ConsistencyText(since, tuple(hashes), head.note), old, new, head.refused)


def check_record(
    text: InclusionText, trust: Trust, *, line: bytes | None = None, leaf: bytes | None = None
) -> CheckedRecord:
    """Verify a proof from outside, about the given line or leaf hash, else the one it names.

    ProofError when it proves nothing under this trust; ProofTextError (bad input) when neither the
    caller nor the proof says which record is meant.
    """
    if line is not None:
        leaf = leaf_hash(line)
    elif leaf is None:
        leaf, line = text.meant()
    head = _open(text.note, trust)
    checkpoint = head.checkpoint
    verify_inclusion(text.index, checkpoint.size, leaf, checkpoint.root, text.hashes)
    return CheckedRecord(text.index, leaf, head, line)


def check_growth(
    text: ConsistencyText, old_note: str, trust: Trust
) -> tuple[Checkpoint, Checkpoint]:
    """(old, new) heads between which the proof holds; ProofError when it does not."""
    try:
        old = trust.open_signed(old_note).checkpoint
    except NoteError as error:
        raise ProofError(f"the older head does not count: {error}") from error
    new = _open(text.note, trust).checkpoint
    if old.size != text.old:
        raise ProofError(f"the proof begins at size {text.old}, the older head has {old.size}")
    verify_consistency(old.size, new.size, old.root, new.root, text.hashes)
    return old, new


def continue_anchor(tree: Tree, head: Checkpoint, trust: Trust) -> None:
    """Prove that the head continues the one that the policy's owner kept, if they kept one."""
    anchor = trust.open_anchor()
    if anchor is None:
        return
    if anchor.size > head.size:
        raise ProofError(
            f"expected a head of at least {anchor.size} records, the anchor's, found {head.size}:"
            " newer heads were removed"
        )
    proof = tree.consistency_proof(anchor.size)
    try:
        verify_consistency(anchor.size, head.size, anchor.root, head.root, proof)
    except ProofError as error:
        raise ProofError(f"the head does not continue the anchor: {error}") from error


def _open(note: str, trust: Trust) -> SignedHead:
    """The proof's head with its quorum, on the right side of the anchor's size."""
    try:
        head = trust.open(note)
    except NoteError as error:
        raise ProofError(f"the proof's checkpoint does not count: {error}") from error
    anchor, found = trust.open_anchor(), head.checkpoint
    if anchor is not None and anchor.size == found.size and anchor.root != found.root:
        raise ProofError(
            f"the proof is of another history than the anchor of {anchor.size} records"
        )
    return head


def _line(log: LogStore, checkpoint: Checkpoint, seq: int, leaf: bytes) -> bytes:
    """The record's line, proven by its leaf; NotProven when no segment has it."""
    first = seq - seq % SEGMENT_LINES
    wanted = Segment(first, min(SEGMENT_LINES, checkpoint.size - first))
    stored = pick(stored_segments(log), wanted)
    if stored is None:
        raise NotProven(f"{log}: {wanted.path} is missing, with the line of record {seq}")
    try:
        for start, lines in segment_lines(log, stored, seq - first + 1):
            if seq < start + len(lines):
                line = lines[seq - start]
                if leaf_hash(line) != leaf:
                    raise NotProven(f"{log}: {stored.path}: record {seq} is not as signed")
                return line
    except (SegmentError, NotFound, Malformed) as error:
        raise NotProven(f"{log}: {stored.path} cannot be read to record {seq}: {error}") from error
    raise NotProven(f"{log}: {stored.path} ends before record {seq}")
