r"""Signed notes (C2SP signed-note v1) with Ed25519 keys.

    note      = text "\n" 1*signature
    signature = em dash SP key-name SP base64(4-byte key id || 64-byte signature) "\n"
    key id    = first 4 bytes of SHA-256(name || 0x0A || 0x01 || 32-byte public key)
    verifier  = name "+" hex(key id) "+" base64(0x01 || public key)
    signer    = "PRIVATE+KEY+" name "+" hex(key id) "+" base64(0x01 || 32-byte seed)

The text ends with a newline and is signed with it. Lines of unknown keys are ignored, so keys can
be added; a line of a known key that does not verify spoils the note.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tasks.domain.errors import BadInput

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 100

_ED25519 = b"\x01"
_DASH = "\u2014"
_PRIVATE = "PRIVATE+KEY+"
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_LEAST_SIGNATURE = 5


class NoteError(BadInput):
    """The note or key is malformed."""


class NoteSignatureError(NoteError):
    """The note is well formed, but no trusted key signed it, or one's signature is wrong."""


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key that may sign notes: `name`, 4-byte `key_id`, 32-byte `public`."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> "NoteVerifier":
        """From `name+hash+base64`; NoteError when it is anything else."""
        name, key_id, public = _parse_key(vkey, "verifier key")
        if key_id != _key_id(name, public):
            raise NoteError(f"the verifier key {name!r} does not have the hash that it names")
        return cls(name, key_id, public)

    @property
    def encoded(self) -> str:
        """The form that `parse` reads."""
        packed = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class NoteSigner:
    """A private key that signs notes under a name. Never printed: `repr` shows the name only."""

    __slots__ = ("_key", "name", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        _check_name(name)
        public = key.public_key().public_bytes_raw()
        self.name = name
        self.verifier = NoteVerifier(name, _key_id(name, public), public)
        self._key = key

    def __repr__(self) -> str:
        return f"NoteSigner({self.name!r})"

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "NoteSigner":
        """From a 32-byte Ed25519 seed."""
        try:
            return cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        except ValueError as error:
            raise NoteError(f"expected a seed of 32 bytes, found {len(seed)}") from error

    @classmethod
    def generate(cls, name: str) -> "NoteSigner":
        """A new random key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, key: str) -> "NoteSigner":
        """From `PRIVATE+KEY+name+hash+base64`; NoteError (without the key) when malformed."""
        if not key.startswith(_PRIVATE):
            raise NoteError(f"expected a signer key that begins with {_PRIVATE}")
        name, key_id, seed = _parse_key(key.removeprefix(_PRIVATE), "signer key")
        signer = cls.from_seed(name, seed)
        if signer.verifier.key_id != key_id:
            raise NoteError(f"the signer key {name!r} does not have the hash that it names")
        return signer

    @property
    def encoded(self) -> str:
        """The secret form that `parse` reads."""
        packed = base64.b64encode(_ED25519 + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{packed}"

    def sign(self, text: str) -> str:
        """The note: text, empty line, one signature line."""
        _check_text(text)
        packed = base64.b64encode(self.verifier.key_id + self._key.sign(text.encode())).decode()
        return f"{text}\n{_DASH} {self.name} {packed}\n"


def open_note(note: str, verifiers: Iterable[NoteVerifier]) -> str:
    """The text, if at least one of the keys signed it and none of their signatures is wrong.

    NoteError when the note is malformed, NoteSignatureError when it proves nothing.
    """
    text, signatures = _split(note)
    trusted = {(each.name, each.key_id): each for each in verifiers}
    seen: set[tuple[str, bytes]] = set()
    for name, key_id, signature in signatures:
        verifier = trusted.get((name, key_id))
        if verifier is None:
            continue
        if (name, key_id) in seen:
            raise NoteError(f"the note has two signatures by {name}+{key_id.hex()}")
        seen.add((name, key_id))
        if not verifier.verifies(text, signature):
            raise NoteSignatureError(f"the signature by {name}+{key_id.hex()} is wrong")
    if not seen:
        wanted = ", ".join(sorted(f"{name}+{key_id.hex()}" for name, key_id in trusted))
        raise NoteSignatureError(f"expected a signature by one of [{wanted}], found none")
    return text


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"expected a note of at most {MAX_NOTE_BYTES} bytes")
    text, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise NoteError("expected text, an empty line and signature lines")
    text += "\n"
    _check_text(text)
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"expected at most {MAX_SIGNATURES} signatures, found {len(lines)}")
    return text, [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    fields = line.split(" ")
    if len(fields) != 3 or fields[0] != _DASH:  # noqa: PLR2004  dash, name, base64
        raise NoteError("expected a signature line: em dash, key name, base64")
    _check_name(fields[1])
    blob = _strict_base64(fields[2], "signature")
    if len(blob) < _LEAST_SIGNATURE:
        raise NoteError("the signature is shorter than its key id and one byte")
    return fields[1], blob[:4], blob[4:]


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _parse_key(key: str, what: str) -> tuple[str, bytes, bytes]:
    """(name, key id, 32 bytes) of `name+hash+base64`; the base64 itself may hold `+`."""
    parts = key.strip().split("+", 2)
    if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):  # noqa: PLR2004  three fields
        raise NoteError(f"expected a {what} of the form name+8 hex digits+base64")
    _check_name(parts[0])
    blob = _strict_base64(parts[2], what)
    if blob[:1] != _ED25519 or len(blob) != 33:  # noqa: PLR2004  type byte and 32 bytes
        raise NoteError(f"expected an Ed25519 {what}: type 1 and 32 bytes")
    return parts[0], bytes.fromhex(parts[1]), blob[1:]


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or "+" in name or any(c.isspace() for c in name):
        raise NoteError("a key name is not empty and has no spaces, plus signs or control marks")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends with a newline")
    if any(mark < " " and mark != "\n" for mark in text):
        raise NoteError("the text of a note has no control characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("the text of a note is not valid UTF-8") from error


def _strict_base64(text: str, what: str) -> bytes:
    try:
        blob = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteError(f"the {what} is not base64") from error
    if base64.b64encode(blob).decode() != text:
        raise NoteError(f"the {what} is base64 with stray bits")
    return blob
