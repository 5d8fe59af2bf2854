"""The kernel in C, `_kernel.c`: two messages at a time and without Python's lock."""

from array import array
from collections.abc import Sequence
from types import ModuleType

from tasks.domain.ledger.kernel_protocol import EventParts
from tasks.domain.ledger.lines import Lines


class ShaExtensions:
    """Our C, two messages at a time and without Python's lock. `module` is `_kernel`."""

    name = "sha-ni"

    def __init__(self, module: ModuleType) -> None:
        self._c = module

    def split(self, text: bytes, most: int, longest: int) -> tuple[Sequence[bytes], bytes]:
        """As `Kernel.split`."""
        spans, end = self._c.split(text, most, longest)
        found = Lines(text, spans, end)
        found.size -= len(found)  # the newlines
        return found, text[end:]

    def rows(self, text: bytes, columns: int) -> tuple[Sequence[int], list[Sequence[bytes]], bytes]:
        """As `Kernel.rows`."""
        numbers, is_run, spans, end = self._c.copy_rows(text, columns)
        seqs = array("q", numbers)
        found: Sequence[int] = range(seqs[0], seqs[0] + len(seqs)) if is_run and seqs else seqs
        return found, [Lines.at(text, each) for each in spans], text[end:]

    def leaf_hashes(self, lines: Sequence[bytes]) -> bytes:
        """As `Kernel.leaf_hashes`."""
        placed = _placed(lines)
        hashes: bytes = self._c.leaf_hashes(placed.text, placed.spans)
        return hashes

    def pair_hashes(self, level: bytes) -> bytes:
        """As `Kernel.pair_hashes`."""
        hashes: bytes = self._c.pair_hashes(level)
        return hashes

    def is_chained(self, lines: Sequence[bytes], leaves: bytes) -> bool:
        """As `Kernel.is_chained`."""
        placed = _placed(lines)
        return bool(self._c.first_unchained(placed.text, placed.spans, leaves) < 0)

    def read_event(self, event: bytes) -> EventParts | None:
        """As `Kernel.read_event`."""
        parts: EventParts | None = self._c.read_event(event)
        return parts


def _placed(lines: Sequence[bytes]) -> Lines:
    return lines if isinstance(lines, Lines) else Lines.of(lines)
