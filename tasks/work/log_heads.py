"""The heads of a sealed log: signed notes under `checkpoints/`, all of them kept."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    Checkpoint,
    CheckpointError,
    Code,
    Finding,
    NoQuorum,
    NoteError,
    NoteSignatureError,
    Signature,
    Trust,
)
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.segments import Segment
from tasks.work.log_files import LogStore

CHECKPOINTS = "checkpoints/"
COSIGNED = "cosigned/"
"""Later cosignatures of heads, `<size>-<seconds since 1970>`: the same text, signed again."""

MAX_RECORDS = 1 << 34
"""A head that claims more is refused: a stolen key must not make us look for them for ever."""
SIZE_NAME = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
MOST_OPENED = 1000
"""Heads that are opened of those that nothing speaks for: anybody can plant thousands."""
_COSIGNED_NAME = re.compile(r"(0|[1-9][0-9]{0,18})-([1-9][0-9]{0,11})", re.ASCII)
_MAX_COSIGNED = 10
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint that verifies. `refused` are newer ones that do not: never ignore."""

    checkpoint: Checkpoint
    note: str
    refused: tuple[Finding, ...] = ()
    cosigned: tuple[Signature, ...] = ()


def stored_sizes(log: LogStore) -> list[int]:
    """Sizes for which the log has a file under `checkpoints/`, ascending."""
    names = (path.removeprefix(CHECKPOINTS) for path in log.paths(CHECKPOINTS))
    return sorted(int(name) for name in names if SIZE_NAME.fullmatch(name))


def segment_ends(paths: Iterable[str]) -> set[int]:
    """Where the segments among these paths end: a sealer writes one up to every head."""
    parsed = (Segment.parse(path) for path in paths)
    return {each.first + each.count for each in parsed if each is not None}


def worth_opening(sizes: Sequence[int], ends: Callable[[], Collection[int]]) -> Iterator[int]:
    """Of ascending sizes those to open, the newest first; then those at which a segment ends.

    `ends` is asked for only where there are too many to open all of them.
    """
    yield from reversed(sizes[-MOST_OPENED:])
    if len(sizes) > MOST_OPENED:
        older = set(sizes[:-MOST_OPENED]).intersection(ends())
        yield from sorted(older, reverse=True)[:MOST_OPENED]


def open_head(log: LogStore, size: int, trust: Trust, *, witnessed: bool = True) -> Head:
    """The stored checkpoint of this size; NoteError (or a subclass) when it does not verify.

    `witnessed=False`: the log's signature is enough, for heads that a witnessed one covers.
    """
    try:
        note = log.read(f"{CHECKPOINTS}{size}", MAX_NOTE_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    except Malformed as error:
        raise NoteError(str(error)) from error
    opened = trust.open(note) if witnessed else trust.open_signed(note)
    if size > MAX_RECORDS:
        raise CheckpointError(f"signed for {size} records, more than the {MAX_RECORDS} of any log")
    if opened.checkpoint.size != size:
        raise CheckpointError(
            f"stored as size {size}, but signed for size {opened.checkpoint.size}"
        )
    return Head(opened.checkpoint, note, cosigned=opened.cosigned)


def refusal(log: LogStore, size: int, error: NoteError) -> Finding:
    """The finding for a stored checkpoint that does not verify."""
    match error:
        case NoQuorum():
            code = Code.QUORUM
        case NoteSignatureError():
            code = Code.BAD_SIGNATURE
        case _:
            code = Code.BAD_CHECKPOINT
    return Finding(code, log.source, detail=f"{CHECKPOINTS}{size}: {error}")


def latest_head(log: LogStore, trust: Trust) -> Head:
    """The checkpoint of the highest size that verifies.

    NotFound when the log has none at all, NotProven when none of those verifies.
    """
    sizes = stored_sizes(log)
    if not sizes:
        raise NotFound(f"{log} has no checkpoint; expected a signed note under {CHECKPOINTS}")
    refused: list[Finding] = []
    for size in worth_opening(sizes, lambda: segment_ends(log.paths("seg/"))):
        try:
            head = open_head(log, size, trust)
        except NoteError as error:
            refused.append(refusal(log, size, error))
        else:
            return replace(_with_later_cosignatures(log, head, trust), refused=tuple(refused))
    raise NotProven(
        f"{log}: none of {len(refused)} checkpoints verifies; the newest: {refused[0].detail}"
    )


def cosigned_path(size: int, at: datetime) -> str:
    """Where the note of the head of this size goes that witnesses cosigned again."""
    return f"{COSIGNED}{size}-{int(at.timestamp())}"


def _with_later_cosignatures(log: LogStore, head: Head, trust: Trust) -> Head:
    """The head with the newest signature of each witness; `note` stays as it was first written.

    Those tell only how fresh the head is: a file that does not verify is read over.
    """
    if trust.max_age is None:
        return head
    names = (_COSIGNED_NAME.fullmatch(path.removeprefix(COSIGNED)) for path in log.paths(COSIGNED))
    later = sorted(int(name[2]) for name in names if name and int(name[1]) == head.checkpoint.size)
    newest = {each.verifier: each for each in head.cosigned}
    for seconds in later[-_MAX_COSIGNED:]:
        path = f"{COSIGNED}{head.checkpoint.size}-{seconds}"
        try:
            opened = trust.open(log.read(path, MAX_NOTE_BYTES).decode("utf-8"))
        except (NoteError, Malformed, UnicodeDecodeError):
            continue
        if opened.checkpoint != head.checkpoint:
            continue
        for each in opened.cosigned:
            known = newest.get(each.verifier)
            if known is None or (each.at or _LONG_AGO) > (known.at or _LONG_AGO):
                newest[each.verifier] = each
    return replace(head, cosigned=tuple(newest.values()))
