"""Checkpoints (C2SP tlog-checkpoint): the signed statement "this log has these n records".

    origin LF size LF base64(root) LF [extension LF]...

The size is decimal without leading zeros, the root 32 bytes in canonical base64. Extension lines
are read over, as the specification asks; ours have none.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from tasks.domain.ledger.hashing import EMPTY_ROOT, HASH_SIZE
from tasks.domain.ledger.notes import NoteError, NoteSigner, NoteVerifier, open_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


class CheckpointError(NoteError):
    """The signed text is not a checkpoint, or not of the log that was asked for."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Head of a log: `size` records whose RFC 6962 root is `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise CheckpointError("expected an origin of one line that is not empty")
        if not _SIZE.fullmatch(str(self.size)):
            raise CheckpointError(f"expected a size of 0 to 19 digits, found {self.size}")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"expected a root of {HASH_SIZE} bytes, found {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("a log without records has the root of the empty tree")

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note; CheckpointError when it is not exactly a checkpoint."""
    lines = text.split("\n")
    if len(lines) <= _LINES or lines[-1] or not all(lines[:-1]):
        raise CheckpointError("expected origin, size and root, each on a line of its own")
    origin, size, packed = lines[:_LINES]
    if not size.isascii() or not _SIZE.fullmatch(size):
        raise CheckpointError(f"expected a decimal size without leading zeros, found {size[:40]!r}")
    try:
        root = base64.b64decode(packed.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise CheckpointError("the root is not base64") from error
    if base64.b64encode(root).decode() != packed:
        raise CheckpointError("the root is base64 with stray bits")
    return Checkpoint(origin, int(size), root)


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> str:
    """The signed note."""
    return signer.sign(checkpoint.text)


def open_checkpoint(note: str, verifier: NoteVerifier, origin: str) -> Checkpoint:
    """The checkpoint, if `verifier` signed the note and it speaks of the log `origin`.

    NoteSignatureError when nobody trusted signed it, NoteError or CheckpointError otherwise.
    """
    checkpoint = parse_checkpoint(open_note(note, (verifier,)))
    if checkpoint.origin != origin:
        raise CheckpointError(
            f"expected a checkpoint of {origin!r}, found one of {checkpoint.origin[:80]!r}"
        )
    return checkpoint
