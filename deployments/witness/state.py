"""What a witness remembers: of each log the note of the latest head that it cosigned.

    identity            the verifier key of the witness whose state this is
    <sha256>.note       SHA-256 of the origin in hex: the note of the kept head
    <sha256>.evidence   two signed notes of one log that contradict each other

A note is on the disk before its cosignature leaves. A witness that forgot would sign a second
history, so one without its state does not start, and two never share one.
"""

import fcntl
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from tasks.domain.errors import BadInput
from tasks.domain.ledger import Checkpoint, NoteError, NoteVerifier, Trust

_IDENTITY = "identity"
_MAX_EVIDENCE = 100


class StateDamaged(BadInput):
    """A kept note is not one that the log signed: nothing may be cosigned until it is mended."""


def make_state(directory: Path, witness: NoteVerifier) -> None:
    """The state of a new witness, which has seen nothing. BadInput when there is one already."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(directory.iterdir()):
        raise BadInput(
            f"expected {directory} to be empty, found files: a witness that is begun anew would "
            "sign a second history; make a new key with a new state"
        )
    _write(directory, _IDENTITY, witness.encoded + "\n")


class State:
    """An opened state directory; nobody else can open it meanwhile."""

    def __init__(self, directory: Path, witness: NoteVerifier) -> None:
        self._directory = directory
        try:
            found = (directory / _IDENTITY).read_text(encoding="utf-8").strip()
            self._lock = os.open(directory / _IDENTITY, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BadInput(
                f"expected the state of this witness in {directory}, found {error.strerror}: "
                "restore it; only for a new key, run once with --new"
            ) from error
        if found != witness.encoded:
            raise BadInput(f"expected the state of {witness}, found {found[:100]!r} in {directory}")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"expected {directory} to be free, found a witness using it") from error

    def close(self) -> None:
        """Let another process open the directory."""
        os.close(self._lock)

    def kept(self, trust: Trust) -> Mapping[str, Checkpoint]:
        """The latest cosigned head of one log by its origin; empty before the first."""
        try:
            note = (self._directory / _note_file(trust.origin)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise StateDamaged(f"the kept head of {trust.origin!r} cannot be read") from error
        try:
            return {trust.origin: trust.open_signed(note).checkpoint}
        except NoteError as error:
            raise StateDamaged(f"the kept head of {trust.origin!r}: {error}") from error

    def keep(self, origin: str, note: str) -> None:
        """Remember the note of a head; on the disk when this returns, or the old one still is."""
        _write(self._directory, _note_file(origin), note)

    def keep_evidence(self, origin: str, contradicting: str) -> None:
        """Keep a note that the log signed beside the one that it contradicts; each pair once."""
        kept = (self._directory / _note_file(origin)).read_text(encoding="utf-8")
        text = f"{kept}\n{contradicting}"
        name = f"{sha256(text.encode()).hexdigest()}.evidence"
        known = {each.name for each in self._directory.glob("*.evidence")}
        if name not in known and len(known) < _MAX_EVIDENCE:
            _write(self._directory, name, text)


def _note_file(origin: str) -> str:
    return f"{sha256(origin.encode()).hexdigest()}.note"


def _write(directory: Path, name: str, text: str) -> None:
    """Whole or not at all, and durable: the file, then its name."""
    unfinished = directory / f".unfinished-{name}"
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(directory / name)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
