r"""Keys of signed notes (C2SP signed-note v1): Ed25519 of a log, Ed25519 of a witness.

    key id    = first 4 bytes of SHA-256(name || 0x0A || type || 32-byte public key)
    verifier  = name "+" hex(key id) "+" base64(type || public key)
    signer    = "PRIVATE+KEY+" name "+" hex(key id) "+" base64(type || 32-byte seed)

Type 0x01 signs the text itself. Type 0x04 (C2SP tlog-cosignature v1) signs a time with it:

    message   = "cosignature/v1\ntime " seconds since 1970 "\n" text
    signature = 8-byte big-endian seconds || 64-byte Ed25519 signature
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tasks.domain.errors import BadInput

_PRIVATE = "PRIVATE+KEY+"
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_TIME_SIZE = 8
_SIGNATURE_SIZE = 64
_LATEST = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that a datetime can hold."""


class NoteError(BadInput):
    """The note or key is malformed."""


class NoteSignatureError(NoteError):
    """The note is well formed, but no trusted key signed it, or one's signature is wrong."""


class KeyType(IntEnum):
    """First byte of a packed key: what its signatures cover."""

    LOG = 0x01
    WITNESS = 0x04


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key that may sign notes: `name`, 4-byte `key_id`, 32-byte `public`."""

    name: str
    key_id: bytes
    public: bytes
    type: KeyType = KeyType.LOG

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """From `name+hash+base64`; NoteError when it is anything else."""
        name, key_id, kind, public = _parse_key(vkey, "verifier key")
        if key_id != _key_id(name, kind, public):
            raise NoteError(f"the verifier key {name!r} does not have the hash that it names")
        return cls(name, key_id, public, kind)

    @property
    def encoded(self) -> str:
        """The form that `parse` reads."""
        return f"{self}+{base64.b64encode(bytes([self.type]) + self.public).decode()}"

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}"

    def check(self, text: str, signature: bytes) -> datetime | None:
        """When a witness signed, None for a log; NoteSignatureError when the signature is wrong."""
        signed, at = text.encode(), None
        if self.type is KeyType.WITNESS:
            seconds = int.from_bytes(signature[:_TIME_SIZE], "big")
            if len(signature) != _TIME_SIZE + _SIGNATURE_SIZE or seconds > _LATEST:
                raise NoteSignatureError(f"the cosignature by {self} has no time and signature")
            signed, signature = _with_time(text, seconds), signature[_TIME_SIZE:]
            at = datetime.fromtimestamp(seconds, UTC)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, signed)
        except InvalidSignature as error:
            raise NoteSignatureError(f"the signature by {self} is wrong") from error
        return at


class NoteSigner:
    """A private key that signs notes under a name. Never printed: `repr` shows the name only."""

    __slots__ = ("_key", "name", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey, kind: KeyType = KeyType.LOG) -> None:
        check_name(name)
        public = key.public_key().public_bytes_raw()
        self.name = name
        self.verifier = NoteVerifier(name, _key_id(name, kind, public), public, kind)
        self._key = key

    def __repr__(self) -> str:
        return f"NoteSigner({self.name!r})"

    @classmethod
    def from_seed(cls, name: str, seed: bytes, kind: KeyType = KeyType.LOG) -> Self:
        """From a 32-byte Ed25519 seed."""
        try:
            return cls(name, Ed25519PrivateKey.from_private_bytes(seed), kind)
        except ValueError as error:
            raise NoteError(f"expected a seed of 32 bytes, found {len(seed)}") from error

    @classmethod
    def generate(cls, name: str, kind: KeyType = KeyType.LOG) -> Self:
        """A new random key."""
        return cls(name, Ed25519PrivateKey.generate(), kind)

    @classmethod
    def parse(cls, key: str) -> Self:
        """From `PRIVATE+KEY+name+hash+base64`; NoteError (without the key) when malformed."""
        if not key.startswith(_PRIVATE):
            raise NoteError(f"expected a signer key that begins with {_PRIVATE}")
        name, key_id, kind, seed = _parse_key(key.removeprefix(_PRIVATE), "signer key")
        signer = cls.from_seed(name, seed, kind)
        if signer.verifier.key_id != key_id:
            raise NoteError(f"the signer key {name!r} does not have the hash that it names")
        return signer

    @property
    def encoded(self) -> str:
        """The secret form that `parse` reads."""
        packed = bytes([self.verifier.type]) + self._key.private_bytes_raw()
        return f"{_PRIVATE}{self.verifier}+{base64.b64encode(packed).decode()}"

    def signature(self, text: str, at: datetime | None = None) -> bytes:
        """What stands after the key id. A witness signs a time, `at`; a log has none."""
        if self.verifier.type is KeyType.LOG:
            return self._key.sign(text.encode())
        if at is None:
            raise NoteError(f"expected the time at which {self.name!r} cosigns, found none")
        seconds = int(at.timestamp())
        return seconds.to_bytes(_TIME_SIZE, "big") + self._key.sign(_with_time(text, seconds))


def check_name(name: str) -> None:
    """NoteError unless this may be the name of a key."""
    if not name or not name.isprintable() or "+" in name or any(c.isspace() for c in name):
        raise NoteError("a key name is not empty and has no spaces, plus signs or control marks")


def strict_base64(text: str, what: str) -> bytes:
    """The bytes; NoteError for anything but the one way to write them."""
    try:
        blob = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteError(f"the {what} is not base64") from error
    if base64.b64encode(blob).decode() != text:
        raise NoteError(f"the {what} is base64 with stray bits")
    return blob


def _with_time(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _key_id(name: str, kind: KeyType, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def _parse_key(key: str, what: str) -> tuple[str, bytes, KeyType, bytes]:
    """(name, key id, type, 32 bytes) of `name+hash+base64`; the base64 itself may hold `+`."""
    parts = key.strip().split("+", 2)
    if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):  # noqa: PLR2004  three fields
        raise NoteError(f"expected a {what} of the form name+8 hex digits+base64")
    check_name(parts[0])
    blob = strict_base64(parts[2], what)
    if len(blob) != 33 or blob[0] not in tuple(KeyType):  # noqa: PLR2004  type byte and 32 bytes
        raise NoteError(f"expected an Ed25519 {what}: type 1 or 4, and 32 bytes")
    return parts[0], bytes.fromhex(parts[1]), KeyType(blob[0]), blob[1:]
