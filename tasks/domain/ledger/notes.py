r"""Signed notes (C2SP signed-note v1): a text and who signed it.

    note      = text "\n" 1*signature
    signature = em dash SP key-name SP base64(4-byte key id || signature) "\n"

The text ends with a newline and is signed with it. Lines of unknown keys are ignored, so keys can
be added; a line of a known key that does not verify spoils the note.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.ledger.note_keys import (
    NoteError,
    NoteSignatureError,
    NoteSigner,
    NoteVerifier,
    check_name,
    strict_base64,
)

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 100

_DASH = "\u2014"
_LEAST_SIGNATURE = 5


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that is right: whose, and when a witness made it."""

    verifier: NoteVerifier
    at: datetime | None


def sign_note(text: str, signer: NoteSigner) -> str:
    """The note: text, empty line, one signature line."""
    check_text(text)
    return f"{text}\n{signature_line(text, signer)}"


def signature_line(text: str, signer: NoteSigner, at: datetime | None = None) -> str:
    """The line that a signer, or a witness at a time, puts below the text."""
    packed = base64.b64encode(signer.verifier.key_id + signer.signature(text, at)).decode()
    return f"{_DASH} {signer.name} {packed}\n"


def note_text(note: str) -> str:
    """The text of a well-formed note, whoever signed it; NoteError when it is none."""
    return _split(note)[0]


def signatures(note: str, verifiers: Iterable[NoteVerifier]) -> list[Signature]:
    """Those by the given keys, in the note's order; other keys' lines are read over.

    NoteError when the note is malformed, or one key signed it twice; NoteSignatureError when the
    signature of a given key is wrong.
    """
    text, lines = _split(note)
    known = {(each.name, each.key_id): each for each in verifiers}
    found: list[Signature] = []
    for name, key_id, signature in lines:
        verifier = known.get((name, key_id))
        if verifier is None:
            continue
        if any(each.verifier is verifier for each in found):
            raise NoteError(f"the note has two signatures by {verifier}")
        found.append(Signature(verifier, verifier.check(text, signature)))
    return found


def open_note(note: str, verifiers: Iterable[NoteVerifier]) -> str:
    """The text, if at least one of the keys signed it and none of their signatures is wrong.

    NoteError when the note is malformed, NoteSignatureError when it proves nothing.
    """
    trusted = list(verifiers)
    if not signatures(note, trusted):
        wanted = ", ".join(sorted(str(each) for each in trusted))
        raise NoteSignatureError(f"expected a signature by one of [{wanted}], found none")
    return note_text(note)


def check_text(text: str) -> None:
    """NoteError unless this may be the text of a note."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends with a newline")
    if any(mark < " " and mark != "\n" for mark in text):
        raise NoteError("the text of a note has no control characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("the text of a note is not valid UTF-8") from error


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"expected a note of at most {MAX_NOTE_BYTES} bytes")
    text, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise NoteError("expected text, an empty line and signature lines")
    text += "\n"
    check_text(text)
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"expected at most {MAX_SIGNATURES} signatures, found {len(lines)}")
    return text, [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    fields = line.split(" ")
    if len(fields) != 3 or fields[0] != _DASH:  # noqa: PLR2004  dash, name, base64
        raise NoteError("expected a signature line: em dash, key name, base64")
    check_name(fields[1])
    blob = strict_base64(fields[2], "signature")
    if len(blob) < _LEAST_SIGNATURE:
        raise NoteError("the signature is shorter than its key id and one byte")
    return fields[1], blob[:4], blob[4:]
