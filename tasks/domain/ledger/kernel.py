"""Which SHA-256 does the ledger's work: our C for x86 with SHA extensions, else hashlib.

The C is built with the package where a compiler is, and absent elsewhere. A module that is there
proves nothing: before it is believed it must agree with hashlib about lines of every length around
the block boundaries and some random ones. The same verdicts come out of both, only later.
"""

import random
from array import array
from collections.abc import Sequence
from hashlib import sha256
from types import ModuleType
from typing import Final, Protocol

from tasks.domain.ledger.lines import Lines

HASH_SIZE = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"

_NO_MORE_ROWS = b"\xff\xff"
_TESTED_LENGTHS = [*range(200), 435, 1_000, 70_000]


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


def difference(kernel: Kernel, seed: int = 0) -> str:
    """What this kernel computes otherwise than hashlib; empty when they agree.

    Lengths around every boundary of a block, and the tree's and the chain's functions.
    """
    known, noise = Hashlib(), random.Random(seed)  # noqa: S311 - test data
    lengths = [*_TESTED_LENGTHS, *(noise.randrange(2_000) for _ in range(50))]
    lines = [noise.randbytes(length).replace(b"\n", b" ") for length in lengths]
    leaves = known.leaf_hashes(lines)
    if kernel.leaf_hashes(lines) != leaves:
        return "leaf hashes"
    if kernel.pair_hashes(leaves[:-HASH_SIZE]) != known.pair_hashes(leaves[:-HASH_SIZE]):
        return "node hashes"
    found, rest = kernel.split(b"\n".join(lines), len(lines) - 2, max(lengths))
    if list(found) != lines[:-2] or rest != b"\n".join(lines[-2:]):
        return "lines of a text"
    rows = b"".join(
        b"\0\2\0\0\0\x08%b\0\0\0\x0bhello world" % bytes([0] * 7 + [n]) for n in (3, 4, 6)
    )
    if _listed(kernel.rows(rows[:-1], 2)) != _listed(known.rows(rows[:-1], 2)):
        return "rows of a table"
    links = [LEAF_PREFIX.hex().encode() * HASH_SIZE]
    chain: list[bytes] = []
    for line in lines[:20]:
        chain.append(b'{"_prev":"%b",%b}' % (links[-1], line))
        links.append(known.leaf_hashes(chain[-1:]).hex().encode())
    broken = [*chain[:7], *chain[8:]]
    for each in (chain, broken):
        if kernel.is_chained(each, known.leaf_hashes(each)) is (each is broken):
            return "links of the chain"
    return ""


def chosen(module: ModuleType | None, why_not: str) -> tuple[Kernel, str]:
    """The kernel to use, and why it is not the C one; `module` is that one where it was loaded."""
    if module is None:
        return Hashlib(), why_not
    native = ShaExtensions(module)
    try:
        wrong = difference(native)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        return Hashlib(), f"the C kernel failed its self-test: {error}"
    if wrong:
        return Hashlib(), f"the C kernel failed its self-test: it computes other {wrong}"
    return native, ""


def _listed(
    rows: tuple[Sequence[int], list[Sequence[bytes]], bytes],
) -> tuple[list[int], list[list[bytes]], bytes]:
    seqs, columns, rest = rows
    return list(seqs), [list(each) for each in columns], rest


def _placed(lines: Sequence[bytes]) -> Lines:
    return lines if isinstance(lines, Lines) else Lines.of(lines)


def _loaded() -> tuple[ModuleType | None, str]:
    try:
        from tasks.domain.ledger import _kernel  # noqa: PLC0415 - it may be absent
    except ImportError as error:
        return None, f"the C kernel is not there: {error}"
    return _kernel, ""


_CHOSEN = chosen(*_loaded())
KERNEL: Final = _CHOSEN[0]
WHY_NOT_NATIVE: Final = _CHOSEN[1]
