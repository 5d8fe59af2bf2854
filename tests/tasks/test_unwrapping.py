"""Layers around a dump: taken off in any order, bounded, never taken for whole when damaged."""

import gzip
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tasks.clients.errors import Denied, Malformed
from tasks.clients.gpg import Gpg
from tasks.domain.backups import Format, Layer
from tasks.domain.errors import NotProven, Refused
from tasks.work.unwrapping import content_limit, unwrapped, write_whole

pytestmark = pytest.mark.components

DUMP = b"--\n-- PostgreSQL database dump\n--\n\n" + bytes(range(256)) * 4096
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    home = Path(tmp_path_factory.mktemp("g"))
    home.chmod(0o700)
    base = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    key = ["--passphrase", "", "--quick-generate-key", "t@invalid", "future-default", "default"]
    try:
        subprocess.run([*base, *key], check=True, capture_output=True)
        _end_agent(home)
        yield Gpg("gpg", home)
    finally:
        _end_agent(home)


def _encrypt(gpg: Gpg, content: bytes) -> bytes:
    command = ["gpg", "--homedir", str(gpg.home), "--batch", "--quiet", "--trust-model", "always"]
    done = subprocess.run(
        [*command, "--recipient", "t@invalid", "--encrypt"],
        input=content,
        capture_output=True,
        check=True,
    )
    return done.stdout


def _end_agent(home: Path) -> None:
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)
    ask = ["gpg-connect-agent", "--homedir", str(home), "--no-autostart", "GETINFO pid", "/bye"]
    while b"OK" in subprocess.run(ask, capture_output=True, check=False).stdout.split():
        time.sleep(0.05)


def _content(tmp_path: Path, data: bytes, gpg: Gpg | None = None) -> bytes:
    path = tmp_path / "backup.sql"
    path.write_bytes(data)
    return b"".join(unwrapped(path, gpg)[1])


@pytest.mark.parametrize(
    ("wrap", "layers"),
    [
        (bytes, ()),
        (gzip.compress, (Layer.GZIP,)),
        (_zstd, (Layer.ZSTD,)),
        (lambda data: gzip.compress(_zstd(data)), (Layer.GZIP, Layer.ZSTD)),
        (lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]), (Layer.GZIP,)),
        (lambda data: _zstd(data[:99]) + _zstd(data[99:]), (Layer.ZSTD,)),
    ],
)
def test_what_is_inside_comes_out_whole(
    tmp_path: Path, wrap: Callable[[bytes], bytes], layers: tuple[Layer, ...]
) -> None:
    path = tmp_path / "named.wrongly"
    path.write_bytes(wrap(DUMP))

    found, content = unwrapped(path, None)

    assert b"".join(content) == DUMP
    assert (found.format, found.layers) == (Format.PLAIN, layers)


@pytest.mark.parametrize("wrap", [gzip.compress, _zstd])
@pytest.mark.parametrize("damage", ["cut", "last byte", "flipped", "rest"])
def test_a_damaged_layer_ends_with_the_backup_called_corrupt(
    tmp_path: Path, wrap: Callable[[bytes], bytes], damage: str
) -> None:
    data = bytearray(wrap(DUMP))
    match damage:
        case "cut":
            del data[len(data) // 2 :]
        case "last byte":
            del data[-1]
        case "flipped":
            data[-3] ^= 0x10  # the checksum of what came out
        case "rest":
            data += b"something else"

    with pytest.raises(NotProven, match="backup corrupt"):
        _content(tmp_path, bytes(data))


@pytest.mark.parametrize("wrap", [gzip.compress, _zstd])
def test_a_bomb_is_stopped_long_before_the_disk_is_full(
    tmp_path: Path, wrap: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(wrap(DUMP[:36] + bytes(24 * 1024 * 1024)))

    with pytest.raises(Refused, match="bomb"):
        b"".join(unwrapped(path, None, 16 * 1024 * 1024)[1])

    assert content_limit(path) <= 256 * 1024 * 1024  # of so small a file


def test_layers_without_end_are_refused(tmp_path: Path) -> None:
    data = DUMP
    for _ in range(6):
        data = gzip.compress(data)

    with pytest.raises(NotProven, match="layers"):
        _content(tmp_path, data)


def test_a_half_written_file_does_not_stay(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise NotProven("damaged")

    with pytest.raises(NotProven):
        write_whole(broken(), tmp_path / "made")

    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_backup_without_gpg_says_what_to_configure(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="RUNBOOK_DATABASE__GPG_PROGRAM"):
        _content(tmp_path, b"-----BEGIN PGP MESSAGE-----\n\nxxxx")


@needs_gpg
def test_gpg_opens_it_and_leaves_no_agent_behind(tmp_path: Path, gpg: Gpg) -> None:
    assert _content(tmp_path, _encrypt(gpg, gzip.compress(DUMP)), gpg) == DUMP

    assert _content(tmp_path, gzip.compress(_encrypt(gpg, DUMP)), gpg) == DUMP

    assert _agents(gpg) == []
    assert [each.name for each in tmp_path.iterdir()] == ["backup.sql"]


@needs_gpg
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_an_altered_encrypted_backup_is_malformed(tmp_path: Path, gpg: Gpg, damage: str) -> None:
    data = bytearray(_encrypt(gpg, DUMP))
    if damage == "cut":
        del data[-100:]
    else:
        data[len(data) // 2] ^= 1

    with pytest.raises(Malformed, match="gpg"):
        _content(tmp_path, bytes(data), gpg)

    assert _agents(gpg) == []


@needs_gpg
def test_a_key_that_is_missing_is_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, gpg: Gpg
) -> None:
    data = _encrypt(gpg, DUMP)
    other = tmp_path_factory.mktemp("o")  # a socket's path is short
    other.chmod(0o700)

    with pytest.raises(Denied, match="add the secret key"):
        _content(tmp_path, data, Gpg("gpg", other))


def _agents(gpg: Gpg) -> list[str]:
    running = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True)
    lines = running.stdout.splitlines()
    return [each for each in lines if str(gpg.home) in each and not each.startswith("Z")]
