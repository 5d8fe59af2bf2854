"""Encryption to recipients: it streams, it hashes both sides, and damage is never read as data."""

import hashlib
import io
import tracemalloc
from pathlib import Path

import pyrage
import pytest

from tasks.clients.age import check_recipients, decrypt, encrypt
from tasks.clients.errors import Denied, Malformed
from tasks.domain.errors import BadInput

OWNER, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
RECIPIENTS = [str(OWNER.to_public()), str(OTHER.to_public())]


class Zeros:
    """So many zero bytes, never all at once."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


class Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


class Full:
    def write(self, _: bytes) -> int:
        raise OSError(28, "No space left on device")


def sealed(data: bytes) -> bytes:
    target = io.BytesIO()
    encrypt(io.BytesIO(data), target, RECIPIENTS)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("identity", [OWNER, OTHER])
def test_each_recipient_reads_it_again_byte_for_byte(
    size: int, identity: pyrage.x25519.Identity
) -> None:
    data = (b"audit record\n" * (size // 13 + 1))[:size]
    closed, opened = io.BytesIO(), io.BytesIO()
    found = encrypt(io.BytesIO(data), closed, RECIPIENTS)
    assert found.plain_sha256 == hashlib.sha256(data).hexdigest()
    assert found.sha256 == hashlib.sha256(closed.getvalue()).hexdigest()
    assert (found.plain_size, found.size) == (size, len(closed.getvalue()))
    closed.seek(0)
    assert decrypt(closed, opened, str(identity)) == found
    assert opened.getvalue() == data


def test_the_same_data_is_never_sealed_alike() -> None:
    assert sealed(b"x") != sealed(b"x")


def test_somebody_else_is_denied() -> None:
    stranger = str(pyrage.x25519.Identity.generate())
    with pytest.raises(Denied, match="one of the recipients"):
        decrypt(io.BytesIO(sealed(b"secret")), io.BytesIO(), stranger)


@pytest.mark.parametrize("place", [0, 40, 200, -1, -20_000])
def test_one_changed_byte_is_found(place: int) -> None:
    data = bytearray(sealed(bytes(100_000)))
    data[place] ^= 1
    with pytest.raises((Malformed, Denied)):
        decrypt(io.BytesIO(bytes(data)), io.BytesIO(), str(OWNER))


@pytest.mark.parametrize("left", [0, 10, 300, 70_000, -1])
def test_what_was_cut_off_is_found(left: int) -> None:
    data = sealed(bytes(200_000))
    with pytest.raises(Malformed, match="altered or cut off"):
        decrypt(io.BytesIO(data[:left]), io.BytesIO(), str(OWNER))


def test_a_full_disk_is_raised_as_it_is() -> None:
    with pytest.raises(OSError, match="No space left"):
        encrypt(Zeros(1_000_000), Full(), RECIPIENTS)


def test_a_source_that_cannot_be_read_is_raised_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "gone").open("wb") as only_written, pytest.raises(OSError, match="read"):
        encrypt(only_written, Nowhere(), RECIPIENTS)  # type: ignore[arg-type]  it cannot be read


@pytest.mark.parametrize("recipients", [[], [""], ["age1"], ["ssh-ed25519 AAAA"], ["age1\n"]])
def test_what_is_no_recipient_is_refused_before_anything_is_written(recipients: list[str]) -> None:
    target = io.BytesIO()
    with pytest.raises(BadInput, match="recipient"):
        encrypt(io.BytesIO(b"x"), target, recipients)
    assert target.getvalue() == b""
    with pytest.raises(BadInput):
        check_recipients(recipients)


def test_a_wrong_identity_is_not_shown_in_the_error() -> None:
    with pytest.raises(BadInput) as refused:
        decrypt(io.BytesIO(sealed(b"x")), io.BytesIO(), "AGE-SECRET-KEY-1WRONG")
    assert "WRONG" not in str(refused.value)


def test_memory_stays_flat_whatever_the_size() -> None:
    tracemalloc.start()
    encrypt(Zeros(64 << 20), Nowhere(), RECIPIENTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
