"""Keys, signatures and encryption of the legacy layout, and what else a key file may be."""

import hashlib
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tasks.domain.ledger.legacy_keys import (
    ENVELOPE_BYTES,
    DecryptionError,
    KeyFileError,
    LegacyKey,
    decrypt,
    looks_encrypted,
)
from tests.domain.ledger.legacy_log import encrypted, private_key, public_pem, signature_of

KEY = LegacyKey.parse(public_pem())
DIGEST = hashlib.sha256(b"event").digest()
SIGNATURE = bytes.fromhex(signature_of(DIGEST.hex()))
TEXT = b'{"data":{}}'
SEALED = encrypted(TEXT, b"password")


def pem_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem():
    return private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_a_signature_of_the_writer_is_good_for_its_hash_and_its_key_alone():
    assert KEY.has_signed(DIGEST, SIGNATURE)
    assert not KEY.has_signed(hashlib.sha256(b"other").digest(), SIGNATURE)
    assert not LegacyKey.parse(public_pem("stranger")).has_signed(DIGEST, SIGNATURE)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"",
        b"x",
        SIGNATURE[:-1],
        SIGNATURE + b"\0",
        SIGNATURE[::-1],
        bytes(256),
        b"\xff" * 256,
    ],
)
def test_what_is_no_signature_is_no_signature(signature):
    assert KEY.has_signed(DIGEST, signature) is False


def test_the_fingerprint_is_of_the_key_not_of_the_file():
    assert LegacyKey.parse(b"a comment\n" + public_pem()).fingerprint == KEY.fingerprint
    assert len(KEY.fingerprint) == 64


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "no PEM"),
        (b"ssh-rsa AAAA", "no PEM"),
        (b"\xff" * 100, "no PEM"),
        (b"x" * 70_000, "at most 65536"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "broken PUBLIC KEY"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "broken CERTIFICATE"),
        (public_pem()[:200], "broken PUBLIC KEY"),
        (private_pem(), "private one"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "expected an RSA key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "expected an RSA key"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "found 1024"),  # noqa: S505 - too short
    ],
)
def test_what_is_no_rsa_public_key_is_refused_with_its_reason(pem, reason):
    with pytest.raises(KeyFileError, match=reason):
        LegacyKey.parse(pem)


def test_a_file_is_decrypted_with_its_password():
    assert decrypt(SEALED, b"password") == TEXT
    assert looks_encrypted(SEALED)
    assert not looks_encrypted(TEXT * 16)


def test_another_password_or_another_size_is_no_decryption():
    results = set()
    for at in range(4):  # one in 256 passes for padding, with a text that makes no sense
        try:
            results.add(decrypt(SEALED, b"other%d" % at))
        except DecryptionError:
            results.add(None)
    assert TEXT not in results
    assert None in results
    for stored in (b"", SEALED[:-1], SEALED[:32], SEALED + b"x"):
        with pytest.raises(DecryptionError):
            decrypt(stored, b"password")
    assert len(SEALED) <= len(TEXT) + ENVELOPE_BYTES


def test_a_flipped_bit_of_the_iv_alters_the_text_in_silence():
    flipped = SEALED[:20] + bytes([SEALED[20] ^ 1]) + SEALED[21:]
    assert decrypt(flipped, b"password") == TEXT[:4] + bytes([TEXT[4] ^ 1]) + TEXT[5:]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH")
def test_openssl_agrees_about_the_signature(tmp_path):
    (tmp_path / "key.pem").write_bytes(public_pem())
    (tmp_path / "signature").write_bytes(SIGNATURE)
    (tmp_path / "text").write_bytes(DIGEST.hex().encode())
    options = ["rsa_padding_mode:pss", "rsa_pss_saltlen:max"]
    flags = [flag for option in options for flag in ("-sigopt", option)]
    files = ["-signature", tmp_path / "signature", tmp_path / "text"]
    verify = ["openssl", "dgst", "-sha256", *flags, "-verify", tmp_path / "key.pem", *files]
    subprocess.run(verify, check=True, capture_output=True)
