"""The signed head beside what others know of the log: the anchor kept elsewhere, the API's head."""

from collections.abc import Callable
from datetime import datetime

from tasks.clients.errors import NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    Checkpoint,
    Code,
    Finding,
    NoteError,
    Status,
    Trust,
    Verdict,
    leaf_hashes,
)
from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.judgement import Subject
from tasks.work.log_files import LogStore
from tasks.work.log_heads import open_head
from tasks.work.trusted import Trusted, read_trusted
from tasks.work.verification import Batches

ReadRows = Callable[[int, int], Batches]
"""Rows `first` <= seq < `end` of the table."""

MAX_AHEAD = 1_000_000
"""Records beyond the last checkpoint that are hashed to compare the API's head."""


def compare_with_anchor(
    log: LogStore,
    trust: Trust,
    anchor: Checkpoint | None,
    *,
    size: int | None = None,
    now: datetime | None = None,
) -> Verdict:
    """Whether the newest head continues the one that was kept elsewhere (RFC 9162 2.1.4).

    ROLLBACK: it is shorter. FORK: it has another past. The kept root is computed again from the
    leaves of the signed tree, which shows as much as a consistency proof between the two.
    """
    subject = Subject("anchor")
    if anchor is None or anchor.size == 0:
        return subject.verdict(Status.VERIFIED, "there is no anchor yet", ())
    try:
        trusted = read_trusted(log, trust, now, size)
    except NotFound as error:
        text = f"every checkpoint is gone, the anchor has {anchor.size} records: {error}"
        return _tampered(subject, Finding(Code.ROLLBACK, "anchor", detail=text))
    except (NotProven, NoteError) as error:
        return subject.verdict(Status.UNVERIFIABLE, str(error), ())
    return _judge_anchor(log, trust, trusted, anchor)


def _judge_anchor(log: LogStore, trust: Trust, trusted: Trusted, anchor: Checkpoint) -> Verdict:
    subject = Subject("anchor", trusted.head.checkpoint)
    if trusted.head.checkpoint.size < anchor.size and _is_still_stored(log, trust, anchor):
        text = f"the head of {anchor.size} records that was kept is stored, but counts no more"
        return subject.verdict(Status.UNVERIFIABLE, text, trusted.findings)
    try:
        finding = broken_with(anchor, trusted.head.checkpoint, trusted.signed)
    except NotProven as error:
        return subject.verdict(Status.UNVERIFIABLE, str(error), ())
    if finding is not None:
        return _tampered(subject, finding)
    return subject.verdict(Status.VERIFIED, "the head continues the anchor", ())


def broken_with(anchor: Checkpoint, head: Checkpoint, signed: SignedBlocks) -> Finding | None:
    """What shows that the head, whose tree is `signed`, does not continue the anchor; else None.

    NotProven when the tree is not readable where the anchor ends.
    """
    if head.size < anchor.size:
        text = (
            f"expected a head of {anchor.origin} of at least {anchor.size} records (the anchor),"
            f" found {head.size}: newer checkpoints were removed from the object store"
        )
        return Finding(Code.ROLLBACK, "anchor", detail=text)
    root = head.root if head.size == anchor.size else signed.root_at(anchor.size)
    if root is None:
        raise NotProven("the tiles are damaged: the anchor's past cannot be compared")
    if root == anchor.root:
        return None
    text = (
        f"expected the head of {anchor.origin} at {head.size} to continue the anchor at"
        f" {anchor.size}, found another history: somebody signed two logs"
    )
    return Finding(Code.FORK, "anchor", detail=text, expected=anchor.root.hex(), found=root.hex())


def _is_still_stored(log: LogStore, trust: Trust, anchor: Checkpoint) -> bool:
    """Whether the kept head is there as the log signed it, however few witnesses count today."""
    try:
        return open_head(log, anchor.size, trust, witnessed=False).checkpoint == anchor
    except (NoteError, NotFound):
        return False


def compare_with_api(
    log: LogStore,
    trust: Trust,
    size: int,
    root: bytes,
    rows: ReadRows = lambda _, __: (),
    *,
    head: int | None = None,
    now: datetime | None = None,
) -> Verdict:
    """Whether the head that the API shows, `size` records with `root`, is part of the signed log.

    SPLIT_VIEW: it shows others another history. AHEAD: it is newer than the last checkpoint, as it
    may be; then the table's `rows` (first, end) beyond the signed size must lead to its root.
    """
    subject = Subject("api")
    try:
        trusted = read_trusted(log, trust, now, head)
    except (NotFound, NotProven, NoteError) as error:
        return subject.verdict(Status.UNVERIFIABLE, str(error), ())
    subject = Subject("api", trusted.head.checkpoint)
    ahead = max(0, size - trusted.signed.size)
    try:
        expected = _expected_root(trusted, size, rows)
    except (NotFound, NotProven) as error:
        finding = Finding(Code.UNPROVEN, "api", detail=str(error))
        return subject.verdict(Status.UNVERIFIABLE, str(error), (finding,))
    if expected != root:
        text = f"the API shows another history of {size} records than the one that was signed"
        finding = Finding(
            Code.SPLIT_VIEW, "api", detail=text, expected=expected.hex(), found=root.hex()
        )
        return _tampered(subject, finding)
    detail = "shown by the API, not signed yet; the table has the same"
    newer = [Finding(Code.AHEAD, "api", trusted.signed.size, ahead, detail)] if ahead else []
    text = f"the API shows the signed history at {size} records"
    return subject.verdict(Status.VERIFIED, text, newer)


def _expected_root(trusted: Trusted, size: int, rows: ReadRows) -> bytes:
    """Root that a log of `size` records must have; NotProven when nothing leads to one."""
    signed = trusted.signed
    if size > signed.size + MAX_AHEAD:
        raise NotProven(
            f"the API shows {size} records, more than {MAX_AHEAD} beyond the {signed.size} that"
            " are signed: seal them first"
        )
    root: bytes | None
    if size == signed.size:
        return trusted.head.checkpoint.root
    if size > signed.size:
        root = signed.root_with(_leaves_after(signed.size, size, rows(signed.size, size)))
    else:
        root = signed.root_at(size)
    if root is None:
        damage = trusted.tiles or "the tiles are damaged"
        raise NotProven(f"{damage}: the API's root cannot be compared")
    return root


def _tampered(subject: Subject, finding: Finding) -> Verdict:
    return subject.verdict(Status.TAMPERED, finding.detail, (finding,))


def _leaves_after(first: int, end: int, batches: Batches) -> bytes:
    """Leaf hashes of the rows `first` <= seq < `end`; NotProven unless they are all there."""
    leaves: list[bytes] = []
    due = first
    for seqs, lines in batches:
        rows = [(seq, line) for seq, line in zip(seqs, lines, strict=True) if due <= seq < end]
        if [seq for seq, _ in rows] != list(range(due, due + len(rows))):
            break
        leaves.append(leaf_hashes([line for _, line in rows]))
        due += len(rows)
    if due < end:
        raise NotProven(f"the API shows {end} records, the table ends its unbroken run at {due}")
    return b"".join(leaves)
