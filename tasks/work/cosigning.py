"""Cosigning: witnesses sign a head before it is one, each with the time at which it saw it.

A witness keeps the last head that it cosigned. Usually that is the stored one; after a crash
between witnessing and writing it is ahead of it, so on a 409 the proof begins where the witness
says it is. A witness that contradicts the head stops the sealing, however many others sign: then
two histories were signed with the log's key, or the table lost what was witnessed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tasks.clients import witness
from tasks.clients.errors import ClientError, Malformed, Transient
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    Checkpoint,
    MerkleTree,
    NoteError,
    NoteVerifier,
    Trust,
    note_text,
    parse_checkpoint,
    signatures,
)
from tasks.domain.ledger.witness import AddCheckpoint

_TRIES = 3
"""The first, the one from the size that the witness named, one more if that moved meanwhile."""

_EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Whom to ask: submission prefixes (URLs), and how long to wait for each answer."""

    urls: tuple[str, ...] = ()
    timeout_seconds: float = 10.0


NO_WITNESSES = Witnesses()


@dataclass(frozen=True, slots=True)
class _Said:
    """What one witness answered: valid lines by key, or why there are none."""

    url: str
    lines: dict[NoteVerifier, str]
    error: ClientError | NotProven | None = None


def cosign(note: str, tree: MerkleTree, since: int, trust: Trust, witnesses: Witnesses) -> str:
    """The note with the witnesses' lines below the log's.

    `tree` is that of the note's head, `since` the size of the head before (0 without one). Raises
    NotProven when a witness contradicts the head, or when too few cosign for a reason that waiting
    does not mend; Transient when too few answer. The message says which witness said what.
    """
    if not witnesses.urls:
        said: list[_Said] = []
    else:
        with ThreadPoolExecutor(len(witnesses.urls)) as pool:
            said = list(
                pool.map(lambda url: _ask(url, note, tree, since, trust, witnesses), witnesses.urls)
            )
    lines: dict[NoteVerifier, str] = {}
    for each in said:
        lines |= each.lines
    failed = [each for each in said if each.error is not None]
    told = "; ".join(f"{each.url}: {str(each.error)[:_EXCERPT]}" for each in failed)
    if any(isinstance(each.error, NotProven) for each in failed):
        raise NotProven(f"a witness contradicts the head, nothing is sealed: {told}")
    if len(lines) < trust.quorum:
        text = (
            f"expected cosignatures by {trust.quorum} witnesses, found {len(lines)}, nothing is "
            f"sealed: {told or 'no other witness is named'}"
        )
        waiting_helps = any(isinstance(each.error, Transient) for each in failed)
        raise Transient(text) if waiting_helps else NotProven(text)
    return note + "".join(lines.values())


def _ask(
    url: str, note: str, tree: MerkleTree, since: int, trust: Trust, witnesses: Witnesses
) -> _Said:
    head = parse_checkpoint(note_text(note))
    old = since
    try:
        for _ in range(_TRIES):
            request = AddCheckpoint(old, tuple(tree.consistency_proof(old)), note)
            try:
                answer = witness.add_checkpoint(
                    url, request, timeout_seconds=witnesses.timeout_seconds
                )
            except witness.OtherHead as error:
                _check_place(error.size, old, head)
                old = error.size
            else:
                return _Said(url, _valid_lines(answer, note, trust))
        raise Transient("its head moves all the time: another sealer is at it")
    except witness.Contradicted as error:
        return _Said(url, {}, NotProven(str(error)))
    except (ClientError, NotProven) as error:
        return _Said(url, {}, error)


def _check_place(size: int, asked: int, head: Checkpoint) -> None:
    if size > head.size:
        raise NotProven(
            f"it has cosigned {size} records, more than the {head.size} to be sealed: records were "
            "lost since, or another sealer has the log's key"
        )
    if size == asked == head.size:
        raise NotProven(f"it has cosigned another head of {size} records: there are two histories")
    if size == asked:
        raise Malformed(f"expected it to take a proof from {size} records, which it says it has")


def _valid_lines(answer: str, note: str, trust: Trust) -> dict[NoteVerifier, str]:
    """The lines by trusted witnesses; those of others are read over. Malformed for a wrong one."""
    text = note_text(note)
    valid: dict[NoteVerifier, str] = {}
    for line in answer.splitlines(keepends=True):
        try:
            for found in signatures(f"{text}\n{line}", trust.witnesses):
                valid[found.verifier] = line
        except NoteError as error:
            raise Malformed(f"its cosignature is refused: {error}") from error
    if not valid:
        raise Malformed("its answer has no signature by a witness that is trusted")
    return valid


def by_log(note: str, trust: Trust) -> str:
    """The note with the log's own signatures alone, to be cosigned afresh."""
    text = note_text(note)
    lines = note[len(text) + 1 :].splitlines(keepends=True)
    keys = [each.verifier for each in trust.log_keys]
    return f"{text}\n" + "".join(line for line in lines if signatures(f"{text}\n{line}", keys))
