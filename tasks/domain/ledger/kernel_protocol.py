"""What a kernel computes: the ledger's work on many lines, nodes, rows or events at once."""

from collections.abc import Sequence
from typing import Protocol

HASH_SIZE = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"

EventParts = tuple[bytes, str, str, str, str, str, str, bytes]
"""Shape, link, event id, hash, session id, signature, time; what the hash is over."""


class Kernel(Protocol):
    """SHA-256 as RFC 6962 section 2.1 uses it, over many lines or nodes at once."""

    name: str

    def split(self, text: bytes, most: int, longest: int) -> tuple[Sequence[bytes], bytes]:
        """The lines that a newline ends, and the text behind them.

        At most `most` lines, and none from the first one longer than `longest` bytes on.
        """

    def rows(self, text: bytes, columns: int) -> tuple[Sequence[int], list[Sequence[bytes]], bytes]:
        """Rows of PostgreSQL's COPY (FORMAT binary) without its header, and the text behind them.

        The first of the columns is a bigint, -1 where it is NULL; each other one is a sequence of
        its values, empty where they are NULL. ValueError for rows of any other form.
        """

    def leaf_hashes(self, lines: Sequence[bytes]) -> bytes:
        """SHA-256(0x00 || line) of each line, n * 32 bytes."""

    def pair_hashes(self, level: bytes) -> bytes:
        """SHA-256(0x01 || left || right); `level` is 2k * 32 bytes, the answer k * 32."""

    def is_chained(self, lines: Sequence[bytes], leaves: bytes) -> bool:
        """Whether each line but the first begins with `{"_prev":"` and the leaf before, in hex."""

    def read_event(self, event: bytes) -> EventParts | None:
        """A legacy event in its writer's own form; None when this kernel does not say.

        Its shape, and as they stand: link (empty without one), event id, hash, session id,
        signature (null, or in quotes), time; and what the hash is over. See `legacy_shapes`.
        """
