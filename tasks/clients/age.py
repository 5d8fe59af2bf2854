"""Encryption to named recipients in the age format (age-encryption.org/v1), as a stream.

Whoever encrypts needs no secret: the responder can seal evidence and cannot read it again. Any age
program opens it with the identity of one of the recipients.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyrage

from tasks.clients.errors import Denied, Malformed
from tasks.domain.errors import BadInput

_READ_BYTES = 256 * 1024


class Source(Protocol):
    """What is read from."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class Target(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of the bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """What went in and what came out: SHA-256 in hex, sizes in bytes."""

    plain_sha256: str
    plain_size: int
    sha256: str
    size: int


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise BadInput for none at all, or for one that is no age recipient (age1...)."""
    _parsed(recipients)


def encrypt(source: Source, target: Target, recipients: Sequence[str]) -> Sealed:
    """Encrypt a stream with a key of its own, for each of the recipients; memory stays flat.

    Both sides are hashed on the way. What reading or writing raises is raised as it is: what was
    written until then opens with no identity, since the last chunk is missing.
    """
    reading, writing = _Reading(source), _Writing(target)
    keys = _parsed(recipients)
    try:
        pyrage.encrypt_io(reading, writing, keys)
    except pyrage.EncryptError as error:
        raise (reading.error or writing.error or _refused(error)) from error
    return Sealed(reading.digest(), reading.size, writing.digest(), writing.size)


def decrypt(source: Source, target: Target, identity: str) -> Sealed:
    """Decrypt a stream with one recipient's identity (AGE-SECRET-KEY-1...).

    Raises Denied when it is none of the recipients', Malformed when the stream was altered or cut
    off: then what was written to `target` must not be used.
    """
    try:
        key = pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError as error:
        raise BadInput(
            "expected an age identity, AGE-SECRET-KEY-1..., found another text"
        ) from error
    reading, writing = _Reading(source), _Writing(target)
    try:
        pyrage.decrypt_io(reading, writing, [key])
    except (pyrage.DecryptError, OSError) as error:  # a damaged chunk is an OSError there
        raise (reading.error or writing.error or _unreadable(error)) from error
    return Sealed(writing.digest(), writing.size, reading.digest(), reading.size)


def _parsed(recipients: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    if not recipients:
        raise BadInput(
            "expected at least one age recipient, found none: evidence would be in clear"
        )
    keys = []
    for place, text in enumerate(recipients, 1):
        try:
            keys.append(pyrage.x25519.Recipient.from_str(text.strip()))
        except pyrage.RecipientError as error:
            raise BadInput(
                f"expected recipient {place} as age1..., found {text[:12]!a}: {error}"
            ) from error
    return keys


def _refused(error: Exception) -> BadInput:
    return BadInput(f"expected to encrypt, found: {str(error)[:200]}")


def _unreadable(error: Exception) -> Exception:
    said = str(error)
    if "matching keys" in said.lower():
        return Denied("expected the identity of one of the recipients, found another one")
    return Malformed(
        f"expected a whole age file, found one that is altered or cut off: {said[:200]}"
    )


class _Reading:
    """Hashes what is read, and keeps the error that ended it: the library only keeps its text."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._rest = memoryview(b"")
        self.size = 0
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """From a larger block: the library asks for a few kilobytes at a time."""
        if not self._rest:
            try:
                self._rest = memoryview(self._source.read(_READ_BYTES))
            except Exception as error:  # whatever the caller's source raises is the caller's
                self.error = error
                raise
            self._hash.update(self._rest)
            self.size += len(self._rest)
        part = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(part) :]
        return bytes(part)

    def digest(self) -> str:
        return self._hash.hexdigest()


class _Writing:
    """Hashes what is written, and keeps the error that ended it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0
        self.error: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._target.write(data)
        except Exception as error:  # whatever the caller's target raises is the caller's
            self.error = error
            raise
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def digest(self) -> str:
        return self._hash.hexdigest()
