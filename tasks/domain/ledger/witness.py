r"""What a witness is asked and what it decides: C2SP tlog-witness, `add-checkpoint`.

    request = "old " size "\n" *63(base64(32-byte hash) "\n") "\n" checkpoint-note

A witness keeps one head of each log, the latest that it cosigned. It cosigns another only when a
key of the log signed that and the proof shows that it appends to the kept one. So of two histories
it signs one. Refusals carry the specification's HTTP status; what it leaves open is decided here:

- size 0 as old size also fits a log whose kept head has size 0;
- the same size with another root is 409, as it says, with our size as the body. The caller, which
  named that very size, knows by this that there are two histories.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from tasks.domain.ledger.checkpoints import Checkpoint, CheckpointError, parse_checkpoint
from tasks.domain.ledger.hashing import EMPTY_ROOT, HASH_SIZE
from tasks.domain.ledger.note_keys import NoteError, NoteSignatureError, strict_base64
from tasks.domain.ledger.notes import MAX_NOTE_BYTES, note_text
from tasks.domain.ledger.proofs import ProofError, verify_consistency
from tasks.domain.ledger.trust import Trust

ADD_CHECKPOINT = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
"""Content type of a 409: the body is the size of the latest cosigned head and a newline."""

MAX_PROOF = 63
MAX_REQUEST_BYTES = 32 + MAX_PROOF * 45 + MAX_NOTE_BYTES

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_SIZE_BODY = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class WitnessRefusal(NoteError):
    """Why the head is not cosigned. `size`: of the kept head, where the answer must name it.

    `is_evidence`: the log signed two heads that do not continue each other.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        size: int | None = None,
        is_evidence: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.size = size
        self.is_evidence = is_evidence


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: `proof` (hashes of 32 bytes) leads from `old_size` records to the note's head."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def encoded(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old_size}", *(base64.b64encode(each).decode() for each in self.proof)]
        return ("\n".join([*lines, "", ""]) + self.note).encode()

    @classmethod
    def parse(cls, body: bytes) -> "AddCheckpoint":
        """From a body; WitnessRefusal with 400 for anything but the one form."""
        try:
            return cls._parsed(body)
        except WitnessRefusal:
            raise
        except NoteError as error:
            raise _malformed(str(error)) from error

    @classmethod
    def _parsed(cls, body: bytes) -> "AddCheckpoint":
        if len(body) > MAX_REQUEST_BYTES:
            raise _malformed(f"expected at most {MAX_REQUEST_BYTES} bytes")
        try:
            head, separator, note = body.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError as error:
            raise _malformed("the request is not UTF-8") from error
        old, *lines = head.split("\n")
        size = _OLD.fullmatch(old)
        if not separator or size is None:
            raise _malformed("expected `old SIZE`, hashes, an empty line and a checkpoint")
        if len(lines) > MAX_PROOF:
            raise _malformed(f"expected at most {MAX_PROOF} hashes, found {len(lines)}")
        proof = tuple(strict_base64(line, "consistency proof") for line in lines)
        if any(len(each) != HASH_SIZE for each in proof):
            raise _malformed(f"expected hashes of {HASH_SIZE} bytes")
        return cls(int(size[1]), proof, note)


def judge(
    request: AddCheckpoint, logs: Mapping[str, Trust], kept: Mapping[str, Checkpoint]
) -> Checkpoint:
    """The head to keep and to cosign; WitnessRefusal otherwise.

    `logs` are the known logs and `kept` the latest cosigned heads, by origin. Who calls must hold
    what `kept` says from before this until the new head is stored.
    """
    trust = logs.get(origin_of(request))
    if trust is None:
        raise WitnessRefusal(HTTPStatus.NOT_FOUND, "expected a log that this witness knows")
    try:
        head = trust.open_signed(request.note).checkpoint
    except NoteSignatureError as error:
        raise WitnessRefusal(HTTPStatus.FORBIDDEN, str(error)) from error
    except NoteError as error:
        raise _malformed(str(error)) from error
    if request.old_size > head.size:
        raise _malformed(f"expected an old size of at most {head.size}, found {request.old_size}")
    _check_growth(request, head, kept.get(trust.origin))
    return head


def origin_of(request: AddCheckpoint) -> str:
    """Which log the request's checkpoint claims to be of; WitnessRefusal with 400 if of none."""
    try:
        return parse_checkpoint(note_text(request.note)).origin
    except NoteError as error:
        raise _malformed(str(error)) from error


def parse_size_body(body: bytes) -> int:
    """The size in the body of a 409; CheckpointError when it is none."""
    found = _SIZE_BODY.fullmatch(body)
    if found is None:
        raise CheckpointError("expected a decimal size and a newline")
    return int(found[1])


def _check_growth(request: AddCheckpoint, head: Checkpoint, latest: Checkpoint | None) -> None:
    size = latest.size if latest else 0
    if request.old_size != size:
        raise WitnessRefusal(
            HTTPStatus.CONFLICT, f"expected a proof from {size}, the latest head", size=size
        )
    if latest is not None and head.size == size and head.root != latest.root:
        raise WitnessRefusal(
            HTTPStatus.CONFLICT,
            f"another head of {size} records was cosigned: the log has two histories",
            size=size,
            is_evidence=True,
        )
    old_root = latest.root if latest else EMPTY_ROOT
    try:
        verify_consistency(size, head.size, old_root, head.root, request.proof)
    except ProofError as error:
        raise WitnessRefusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the head of {head.size} records does not continue that of {size}: {error}",
            is_evidence=True,
        ) from error


def _malformed(message: str) -> WitnessRefusal:
    return WitnessRefusal(HTTPStatus.BAD_REQUEST, message)
