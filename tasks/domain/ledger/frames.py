"""Following a zstd frame through the pieces that it comes in: where it ends, and whether it did.

RFC 8878 section 3.1.1: a frame is a header, blocks whose headers say how long they are, and perhaps
a checksum. A decompressor that reads from a stream says neither that the frame was cut off nor that
other bytes follow it; this does, and copies nothing.
"""

from collections.abc import Generator, Iterable

_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_WINDOW_BYTES = (1, 0)  # by the flag of a single segment
_DICTIONARY_BYTES = (0, 1, 2, 4)
_SIZE_BYTES = (0, 2, 4, 8)
_BLOCK_HEADER = 3
_CHECKSUM = 4
_REPEATED_BYTE = 1


class Frame:
    """One frame that comes in pieces; `read` ends where it ends, or behind what is no frame's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._grammar = _grammar()
        self._wanted, self._skipped = next(self._grammar)
        self._held = b""
        self.ended = False
        """Whether the last byte of the frame has been read."""
        self._beyond = False

    def read(self, _size: int = -1) -> bytes:
        """The next piece, of whatever size; empty after the frame."""
        if self.ended:
            return b""
        piece = next(self._pieces, b"")
        end = self._follow(piece)
        self._beyond = end < len(piece)
        return piece[:end]

    def is_followed(self) -> bool:
        """Whether bytes stand behind the end."""
        return self._beyond or next(self._pieces, b"") != b""

    def _follow(self, piece: bytes) -> int:
        """How much of the piece belongs to the frame."""
        at = 0
        while not self.ended:
            if self._skipped > len(piece) - at:
                self._skipped -= len(piece) - at
                return len(piece)
            at += self._skipped
            self._skipped = 0
            part = piece[at : at + self._wanted - len(self._held)]
            self._held += part
            at += len(part)
            if len(self._held) < self._wanted:
                return len(piece)
            try:
                self._wanted, self._skipped = self._grammar.send(self._held)
            except StopIteration:
                self.ended = True
            self._held = b""
        return at


def _grammar() -> Generator[tuple[int, int], bytes, None]:
    """Yields (bytes to look at, bytes to pass over before them); is sent what was looked at."""
    begin = yield len(_MAGIC) + 1, 0
    if not begin.startswith(_MAGIC):
        return
    descriptor = begin[-1]
    single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    size = _SIZE_BYTES[descriptor >> 6] or single
    passed = _WINDOW_BYTES[single] + _DICTIONARY_BYTES[descriptor & 3] + size
    is_last = False
    while not is_last:
        word = int.from_bytes((yield _BLOCK_HEADER, passed), "little")
        is_last = bool(word & 1)
        passed = 1 if word >> 1 & 3 == _REPEATED_BYTE else word >> 3
    yield 0, passed + _CHECKSUM * has_checksum
