"""Keys of rlhf-audit-trail 0.1: its RSA signatures, and the encryption of its files.

A signature is RSA-PSS with SHA-256, MGF1 over SHA-256 and the longest salt, over the 64 hex digits
of an event's hash. An encrypted file is salt (16) | IV (16) | AES-256-CBC with PKCS#7, under
PBKDF2-HMAC-SHA256 with 100,000 rounds, so 20 ms a file. Nothing authenticates it: a flipped bit
decrypts to another text, which only the event's hash gives away.
"""

import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from tasks.domain.errors import BadInput

MAX_KEY_BYTES = 64 * 1024
ENVELOPE_BYTES = 16 + 16 + 16
"""An encrypted file is at most this much longer than its text."""

_BLOCK = 16
_ROUNDS = 100_000
_MIN_BITS, _MAX_BITS = 2048, 16384
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)


class KeyFileError(BadInput):
    """The file is not an RSA public key in PEM."""


class DecryptionError(BadInput):
    """The bytes are not an encrypted file under this password."""


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """The public key that a log's events are signed for. `fingerprint`: SHA-256 of its DER, hex."""

    public: rsa.RSAPublicKey
    fingerprint: str

    @classmethod
    def parse(cls, pem: bytes) -> "LegacyKey":
        """Read a PEM file; KeyFileError says what else it is."""
        if len(pem) > MAX_KEY_BYTES:
            raise KeyFileError(f"expected a key file of at most {MAX_KEY_BYTES} bytes, found more")
        label = _PEM.search(pem)
        if label is None:
            raise KeyFileError("expected a PEM file with -----BEGIN PUBLIC KEY-----, found no PEM")
        if b"PRIVATE" in label[1]:
            raise KeyFileError(
                "expected the public key, found a private one: it belongs to the log's writer alone"
            )
        try:
            public = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            kind = label[1].decode("ascii")
            raise KeyFileError(f"expected a PEM public key, found a broken {kind}") from error
        if not isinstance(public, rsa.RSAPublicKey):
            raise KeyFileError(f"expected an RSA key, found {type(public).__name__}")
        if not _MIN_BITS <= public.key_size <= _MAX_BITS:
            raise KeyFileError(
                f"expected an RSA key of {_MIN_BITS} to {_MAX_BITS} bits, found {public.key_size}"
            )
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(public, hashlib.sha256(der).hexdigest())

    def has_signed(self, digest: bytes, signature: bytes | None) -> bool:
        """Whether the signature over the event's hash (32 bytes) is by this key; never raises."""
        if not signature:
            return False
        try:
            self.public.verify(signature, digest.hex().encode(), _PADDING, hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def looks_encrypted(stored: bytes) -> bool:
    """Whether the bytes have the size of an encrypted file and are no text.

    The first mark says nothing: one salt in 256 begins with a brace. That 48 random bytes or more
    are UTF-8 happens once in 10^11 files.
    """
    if not _is_envelope(stored):
        return False
    try:
        stored.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def decrypt(stored: bytes, password: bytes) -> bytes:
    """The text of an encrypted file; DecryptionError when it is none under this password.

    A wrong password passes here once in 256 files, with a text that makes no sense.
    """
    if not _is_envelope(stored):
        raise DecryptionError(
            f"expected salt, IV and blocks of {_BLOCK} bytes, found {len(stored)} bytes"
        )
    salt, start, blocks = stored[:16], stored[16:32], stored[32:]
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, _ROUNDS).derive(password)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(start)).decryptor()
    padded = decryptor.update(blocks) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= _BLOCK or padded[-count:] != bytes([count]) * count:
        raise DecryptionError("the padding is wrong: another password, or a damaged file")
    return padded[:-count]


def _is_envelope(stored: bytes) -> bool:
    return len(stored) >= ENVELOPE_BYTES and len(stored) % _BLOCK == 0
