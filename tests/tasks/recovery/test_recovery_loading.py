"""Every format and every damage: the log comes back whole, or it is said why not; nothing else.

Dumps of the real patient by the real programs, altered as an attacker or a disk would.
"""

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard

from deployments.lab.postgres import binaries
from tasks.clients import postgres
from tasks.domain.backups import Backup, Format
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.pace import Pace
from tasks.work.loading import Loaded, Rules, archive_for
from tasks.work.recovery import SPARE
from tasks.work.restore import Restored, restore_beside
from tasks.work.screening import read_reference
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIGNED, Patient, Servers, unfenced

pytestmark = pytest.mark.components

OTHER = (
    b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a integer);\n"
    b"--\n-- PostgreSQL database dump complete\n--\n"
)


@dataclass(frozen=True)
class Dumps:
    """One database, dumped in every format."""

    plain: bytes
    cluster: bytes
    custom: bytes
    tar: bytes
    directory: Path


@pytest.fixture(scope="module")
def dumps(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    """Of a copy of the patient whose log ends at BACKUP, under production's own name."""
    home = tmp_path_factory.mktemp("dumps")
    servers.drop_all()
    servers.admin(f"CREATE DATABASE {NAMES.production} TEMPLATE audit_template OWNER audit_owner")
    newer = f"DELETE FROM audit_records WHERE seq >= {BACKUP}"  # noqa: S608  a number of ours
    servers.admin(newer, NAMES.production)
    dsn = servers.postgres.dsn("postgres", NAMES.production)
    for name in ("plain", "custom", "tar", "directory"):
        _dump("pg_dump", dsn, f"--format={name}", f"--file={home / name}")
    _dump("pg_dumpall", dsn, f"--file={home / 'cluster'}")
    servers.drop_all()
    whole = [(home / name).read_bytes() for name in ("plain", "cluster", "custom", "tar")]
    return Dumps(*whole, home / "directory")


def _dump(program: str, dsn: str, *arguments: str) -> None:
    environment = {"PATH": os.defpath, **postgres.environment(dsn)}
    subprocess.run([binaries() / program, *arguments], env=environment, check=True)


@dataclass
class Bench:
    """Loads backups for one patient, as a stranger's or as signed."""

    patient: Patient
    directory: Path

    @property
    def rules(self) -> Rules:
        return Rules(
            database=NAMES.production,
            production=self.patient.servers.postgres.dsn("audit_reader", NAMES.production),
            needed=self.patient.site.needed,
        )

    def load(self, path: Path, *, trusted: bool = False) -> Loaded:
        backup = Backup(path.name, trusted=trusted, sha256="ab" * 32 if trusted else "")
        return archive_for(
            backup, path, self.directory, binaries=binaries(), rules=self.rules, progress=self.heard
        )

    def heard(self, now: Pace) -> None:
        assert 0 <= now.share <= 1

    def restore(self, loaded: Loaded) -> Restored:
        """Into a scratch database beside production; there the signed log must be whole."""
        backup = replace(self.patient.backup, sha256=loaded.digest)
        restored = restore_beside(
            self.patient.site,
            backup,
            loaded.path,
            self.patient.head(),
            unfenced,
            rows=loaded.rows,
            told=self.heard,
        )
        assert self.patient.stored(NAMES.scratch) == self.patient.expected(0, SIGNED)
        return restored

    def written(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path


@pytest.fixture
def bench(patient: Patient, tmp_path: Path) -> Bench:
    directory = tmp_path / "private"
    directory.mkdir(mode=0o700)
    return Bench(patient, directory)


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("plain", False),
        ("custom", True),
        *(
            pytest.param(name, trusted, marks=pytest.mark.slow)
            for name, trusted in (
                ("custom", False),
                ("tar", False),
                ("tar", True),
                ("directory", False),
                ("directory", True),
                ("plain", True),
                ("cluster", False),
                ("custom.gz", False),
                ("custom.gz", True),
                ("tar.zst", True),
                ("plain.zst", False),
                ("cluster.gz", True),
            )
        ),
    ],
)
def test_every_format_comes_back_whole(
    bench: Bench, dumps: Dumps, name: str, trusted: bool
) -> None:
    loaded = bench.load(_backup(bench, dumps, name), trusted=trusted)

    bench.restore(loaded)

    kind = name.partition(".")[0]
    straight = trusted and kind in {"custom", "tar", "directory"}
    assert loaded.format == (Format(kind) if straight else Format.DIRECTORY)
    assert straight or loaded.rows["public.audit_records"] == BACKUP
    assert _code_of(bench.patient, NAMES.scratch) == _code_of(bench.patient, NAMES.production)
    assert bench.patient.databases() == {NAMES.production, NAMES.scratch}


def _backup(bench: Bench, dumps: Dumps, name: str) -> Path:
    kind, _, layer = name.partition(".")
    if kind == "directory":
        path = bench.directory / "fetched"
        shutil.copytree(dumps.directory, path)
        return path
    content: bytes = getattr(dumps, kind)
    match layer:
        case "gz":
            content = gzip.compress(content, 1)
        case "zst":
            content = zstandard.compress(content, 1)
    return bench.written("backup_2026-11-22.sql", content)


def _code_of(patient: Patient, database: str) -> set[tuple[str, str, str]]:
    """What runs by itself, and who may do what."""
    dsn = patient.servers.postgres.dsn("postgres", database)
    ours = {("table", SPARE, "")}  # waits there for the carry-over
    return set(read_reference(dsn, timeout_seconds=5).known) - ours


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(at: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        place = int(len(content) * at)
        return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]

    return flip


@pytest.mark.parametrize("name", ["plain", "custom", "tar", "cluster", "custom.gz", "plain.zst"])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "damage",
    [_cut, lambda _: b"", lambda _: b"\x00" * 4096, lambda _: b"SELECT 1;\n" * 99, _flipped(0)],
    ids=["cut", "empty", "zeros", "no dump", "first byte"],
)
@pytest.mark.slow
def test_damage_ends_with_an_error_that_says_what_to_do(
    bench: Bench, dumps: Dumps, name: str, trusted: bool, damage: Callable[[bytes], bytes]
) -> None:
    path = _backup(bench, dumps, name)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(RunbookError, match=r"expected|corrupt"):
        bench.restore(bench.load(path, trusted=trusted))

    _untouched(bench)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "custom", "tar", "cluster", "custom.gz", "plain.zst"])
@pytest.mark.parametrize("at", [0.2, 0.4, 0.6, 0.8])
def test_a_flipped_byte_in_the_middle_is_mended_or_said(
    bench: Bench, dumps: Dumps, name: str, at: float
) -> None:
    path = _backup(bench, dumps, name)
    path.write_bytes(_flipped(at)(path.read_bytes()))

    with suppress(RunbookError):  # whatever it says; the other way out is a whole log
        bench.restore(bench.load(path))

    _untouched(bench)


def _untouched(bench: Bench) -> None:
    assert bench.patient.stored() == bench.patient.expected()
    assert bench.patient.databases() <= {NAMES.production, NAMES.scratch}


@pytest.mark.slow
def test_a_directory_that_lacks_a_file_or_has_a_link_is_refused(bench: Bench, dumps: Dumps) -> None:
    path = _backup(bench, dumps, "directory")
    data = next(path.glob("*.dat.gz"))
    content = data.read_bytes()
    data.unlink()
    for trusted in (False, True):
        with pytest.raises(RunbookError, match="expected"):
            bench.restore(bench.load(path, trusted=trusted))
    outside = bench.written("outside", content)
    data.symlink_to(outside)
    with pytest.raises(BadInput, match="plain files"):
        bench.load(path)
    _untouched(bench)


def test_a_directory_that_pg_restore_would_load_in_part_is_called_corrupt(
    bench: Bench, dumps: Dumps
) -> None:
    path = _backup(bench, dumps, "directory")
    data = next(path.glob("*.dat.gz"))
    rows = gzip.decompress(data.read_bytes())
    for name, content in (
        (data.name, b""),
        (data.name.removesuffix(".gz"), _cut(rows)),
        (data.name.removesuffix(".gz"), b""),
    ):
        data.unlink()
        data = path / name
        data.write_bytes(content)
        for trusted in (False, True):
            with pytest.raises(NotProven, match="backup corrupt"):
                bench.load(path, trusted=trusted)
    data.write_bytes(rows)
    assert bench.load(path, trusted=True).format is Format.DIRECTORY


@pytest.mark.slow
def test_a_directory_whose_contents_point_outside_reads_nothing_there(
    bench: Bench, dumps: Dumps
) -> None:
    """Names of data files stand in toc.dat; pg_restore follows them wherever they lead."""
    if os.geteuid() != 0:
        pytest.skip("only root's pg_restore runs as somebody else")
    path = _backup(bench, dumps, "directory")
    toc = path / "toc.dat"
    data = next(path.glob("*.dat.gz"))
    secret = bench.directory / "1.gz"
    shutil.move(data, secret)
    name = str(secret).removesuffix(".gz").encode()
    old = data.name.removesuffix(".gz").encode()
    content = toc.read_bytes()
    assert content.count(old) == 1
    place = content.index(old)
    toc.write_bytes(
        content[: place - 4] + len(name).to_bytes(4, "little") + name + content[place + len(old) :]
    )

    with pytest.raises(RunbookError, match="expected"):
        bench.load(path)


def test_an_extension_that_is_the_servers_business_is_left_out_and_said(bench: Bench) -> None:
    bench.patient.hurt("CREATE EXTENSION pg_stat_statements")
    path = bench.directory / "fetched"
    dsn = bench.patient.servers.postgres.dsn("postgres", NAMES.production)
    _dump("pg_dump", dsn, "--format=custom", f"--file={path}")

    restored = bench.restore(bench.load(path, trusted=True))

    assert any("extension pg_stat_statements is left out" in note for note in restored.notes)
    with bench.patient.servers.postgres.connect(NAMES.scratch) as scratch:
        rows = scratch.execute("SELECT extname FROM pg_extension").fetchall()
    assert rows == [("plpgsql",)]


@pytest.mark.slow
def test_a_dump_without_the_log_is_no_backup_of_it(bench: Bench) -> None:
    with pytest.raises(NotProven, match=r"expected table public\.audit_records"):
        bench.load(bench.written("other.sql", OTHER))
