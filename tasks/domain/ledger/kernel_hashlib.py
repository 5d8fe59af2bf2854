"""The kernel that works everywhere: Python's own SHA-256, a call a hash."""

from collections.abc import Sequence
from hashlib import sha256

from tasks.domain.ledger.kernel_protocol import LEAF_PREFIX, NODE_PREFIX, EventParts

_NO_MORE_ROWS = b"\xff\xff"


class Hashlib:
    """Python's own, a call a hash."""

    name = "hashlib"

    def split(self, text: bytes, most: int, longest: int) -> tuple[Sequence[bytes], bytes]:
        """As `Kernel.split`."""
        *lines, rest = text.split(b"\n", most)
        if max(map(len, lines), default=0) <= longest:
            return lines, rest
        good = next(at for at, line in enumerate(lines) if len(line) > longest)
        return lines[:good], b"\n".join([*lines[good:], rest])

    def rows(self, text: bytes, columns: int) -> tuple[Sequence[int], list[Sequence[bytes]], bytes]:
        """As `Kernel.rows`."""
        rows: list[list[bytes]] = []
        at = 0
        while (row := _row(text, at, columns)) is not None:
            values, at = row
            rows.append(values)
        seqs = [int.from_bytes(row[0], signed=True) if row[0] else -1 for row in rows]
        return seqs, [[row[each] for row in rows] for each in range(1, columns)], text[at:]

    def leaf_hashes(self, lines: Sequence[bytes]) -> bytes:
        """As `Kernel.leaf_hashes`."""
        digest, prefix = sha256, LEAF_PREFIX
        return b"".join([digest(prefix + line).digest() for line in lines])

    def pair_hashes(self, level: bytes) -> bytes:
        """As `Kernel.pair_hashes`."""
        digest, prefix = sha256, NODE_PREFIX
        return b"".join(
            [digest(prefix + level[at : at + 64]).digest() for at in range(0, len(level), 64)]
        )

    def is_chained(self, lines: Sequence[bytes], leaves: bytes) -> bool:
        """As `Kernel.is_chained`."""
        links = leaves.hex().encode()
        starts = [b'{"_prev":"%b"' % links[at : at + 64] for at in range(0, len(links) - 64, 64)]
        return [line[:75] for line in lines[1:]] == starts

    def read_event(self, _event: bytes) -> EventParts | None:
        """As `Kernel.read_event`: regular expressions do it instead."""
        return None


def _row(text: bytes, at: int, columns: int) -> tuple[list[bytes], int] | None:
    """One row's values, NULL as none, and where it ends; None when there is no whole one more."""
    begin = text[at : at + 2]
    if len(begin) < 2 or begin == _NO_MORE_ROWS:  # noqa: PLR2004 - an int16
        return None
    values: list[bytes] = []
    is_right = int.from_bytes(begin) == columns
    at += 2
    while is_right and len(values) < columns:
        head = text[at : at + 4]
        if len(head) < 4:  # noqa: PLR2004 - an int32
            return None
        length = int.from_bytes(head, signed=True)
        is_right = length >= -1 and (bool(values) or length in {-1, 8})
        end = at + 4 + max(0, length)
        if is_right and end > len(text):
            return None
        values.append(text[at + 4 : end])
        at = end
    if not is_right:
        raise ValueError("expected rows of a bigint and the other columns asked for")
    return values, at
