r"""Proofs as text that others can read: C2SP tlog-proof v1, and the body of a witness request.

Inclusion (C2SP tlog-proof; `.tlog-proof`), hashes from the leaf's sibling upwards:

    c2sp.org/tlog-proof@v1 LF
    [extra SP base64(...) LF]
    index SP seq LF
    *(base64(hash) LF)
    LF checkpoint-note

Consistency (C2SP tlog-witness, body of `add-checkpoint`), from the older head to the note's:

    old SP size LF
    *(base64(hash) LF)
    LF checkpoint-note

`extra` is authenticated by nothing. Ours says which record is meant, so that a proof stands alone:
`leaf ` and 64 hex digits, or `line ` and the record's line. Either is believed only after the
proof leads from it to the signed root.
"""

import base64
import re
from dataclasses import dataclass

from tasks.domain.errors import BadInput
from tasks.domain.ledger.hashing import HASH_SIZE, leaf_hash
from tasks.domain.ledger.note_keys import NoteError, strict_base64
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.records import MAX_LINE_BYTES

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
"""C2SP tlog-witness; more than any tree of 2**63 leaves needs."""
MAX_PROOF_BYTES = 2 * MAX_LINE_BYTES + 2 * MAX_NOTE_BYTES

_NUMBER = r"(0|[1-9][0-9]{0,18})"
_INDEX = re.compile(rf"index {_NUMBER}", re.ASCII)
_OLD = re.compile(rf"old {_NUMBER}", re.ASCII)
_LEAF = re.compile(rb"leaf ([0-9a-f]{64})")
_LINE_MARK = b"line "


class ProofTextError(BadInput):
    """The text is not a proof in the form that was asked for."""


@dataclass(frozen=True, slots=True)
class InclusionText:
    """Record `index` is in the tree of the checkpoint in `note`, proven by `hashes`."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes = b""

    def render(self) -> str:
        """The one way to write it."""
        extra = f"extra {base64.b64encode(self.extra).decode()}\n" if self.extra else ""
        return f"{HEADER}\n{extra}index {self.index}\n{_packed(self.hashes)}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> "InclusionText":
        """From text; ProofTextError says which line is not as specified."""
        lines, note = _parts(text)
        if lines[0] != HEADER:
            raise ProofTextError(f"expected {HEADER} in the first line, found {lines[0][:80]!r}")
        extra = b""
        rest = lines[1:]
        if rest and rest[0].startswith("extra "):
            extra, rest = _unpacked(rest[0].removeprefix("extra "), "extra data"), rest[1:]
        match = _INDEX.fullmatch(rest[0]) if rest else None
        if match is None:
            raise ProofTextError("expected a line `index N` before the hashes")
        return cls(int(match[1]), _hashes(rest[1:]), note, extra)

    def meant(self) -> tuple[bytes, bytes | None]:
        """(leaf hash, line or None) by `extra`; ProofTextError when it does not say."""
        leaf = _LEAF.fullmatch(self.extra)
        if leaf is not None:
            return bytes.fromhex(leaf[1].decode()), None
        if self.extra.startswith(_LINE_MARK):
            line = self.extra[len(_LINE_MARK) :]
            return leaf_hash(line), line
        raise ProofTextError(
            "the proof does not say which record it is about: give the line or its leaf hash"
        )


@dataclass(frozen=True, slots=True)
class ConsistencyText:
    """The tree of the checkpoint in `note` appends to the one of `old` leaves."""

    old: int
    hashes: tuple[bytes, ...]
    note: str

    def render(self) -> str:
        """The one way to write it."""
        return f"old {self.old}\n{_packed(self.hashes)}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> "ConsistencyText":
        """From text; ProofTextError says which line is not as specified."""
        lines, note = _parts(text)
        match = _OLD.fullmatch(lines[0])
        if match is None:
            raise ProofTextError(f"expected `old SIZE` in the first line, found {lines[0][:80]!r}")
        return cls(int(match[1]), _hashes(lines[1:]), note)


def extra_leaf(leaf: bytes) -> bytes:
    """What `extra` says about a record of which only the leaf hash is shown."""
    return b"leaf " + leaf.hex().encode()


def extra_line(line: bytes) -> bytes:
    """What `extra` says about a record whose line is shown."""
    return _LINE_MARK + line


def is_consistency(text: str) -> bool:
    """Whether the text claims to be a consistency proof."""
    return text.startswith("old ")


def _parts(text: str) -> tuple[list[str], str]:
    """(lines before the first empty one, the note after it)."""
    head, separator, note = text.partition("\n\n")
    if not separator or not note:
        raise ProofTextError("expected a proof, an empty line and a checkpoint")
    return head.split("\n"), note


def _packed(hashes: tuple[bytes, ...]) -> str:
    return "".join(f"{base64.b64encode(each).decode()}\n" for each in hashes)


def _hashes(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_HASHES:
        raise ProofTextError(f"expected at most {MAX_HASHES} hashes, found {len(lines)}")
    hashes = tuple(_unpacked(line, "hash") for line in lines)
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofTextError(f"expected hashes of {HASH_SIZE} bytes, one a line")
    return hashes


def _unpacked(text: str, what: str) -> bytes:
    try:
        return strict_base64(text, what)
    except NoteError as error:
        raise ProofTextError(str(error)) from error
