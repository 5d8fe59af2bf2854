"""Checkpoints (C2SP tlog-checkpoint): the signed statement "this log has these n records".

    origin LF size LF base64(root) LF [extension LF]...

The size is decimal without leading zeros, the root 32 bytes in canonical base64. Extension lines
are read over, as the specification asks; ours have none. Whose signature counts: `trust`.
"""

import base64
import re
from dataclasses import dataclass

from tasks.domain.ledger.hashing import EMPTY_ROOT, HASH_SIZE
from tasks.domain.ledger.note_keys import NoteError, NoteSigner, strict_base64
from tasks.domain.ledger.notes import sign_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
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
    if not _SIZE.fullmatch(size):
        raise CheckpointError(f"expected a decimal size without leading zeros, found {size[:40]!r}")
    try:
        root = strict_base64(packed, "root")
    except NoteError as error:
        raise CheckpointError(str(error)) from error
    return Checkpoint(origin, int(size), root)


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> str:
    """The signed note."""
    return sign_note(checkpoint.text, signer)
