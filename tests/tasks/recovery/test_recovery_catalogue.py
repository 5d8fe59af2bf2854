"""The catalogue over real dumps of a real PostgreSQL: formats, layers and places."""

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.programs import Program
from deployments.lab.postgres import SUPERUSER, binaries
from tasks.clients.object_store import ObjectStore
from tasks.clients.pod_exec import Pod
from tasks.clients.postgres import environment
from tasks.domain.backups import Backup, Format, Kind, Layer, Place, Proof
from tasks.domain.errors import NotProven
from tasks.domain.ledger import sign_note
from tasks.sections.systems import KubernetesSettings, StoreSettings
from tasks.work.backup_places import BackupPlace, DirectoryPlace, PodPlace, StorePlace
from tasks.work.catalogue import list_places, look_at
from tasks.work.fetching import fetch
from tests.room import open_place
from tests.tasks.recovery.conftest import BACKUP, SIGNER, Servers

pytestmark = pytest.mark.components

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)
KEYS = [SIGNER.verifier]

FILES = {
    "custom": (Kind.DUMP, Format.CUSTOM),
    "tar": (Kind.DUMP, Format.TAR),
    "plain": (Kind.DUMP, Format.PLAIN),
    "cluster": (Kind.CLUSTER_DUMP, Format.PLAIN),
    "base": (Kind.BASE, Format.TAR),
}


def encrypted(data: bytes) -> bytes:
    """By the real gpg, whose agent is told to end."""
    with tempfile.TemporaryDirectory(dir=open_place()) as home:  # a socket's path is short
        variables = {"PATH": os.environ["PATH"], "GNUPGHOME": home}
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback"]
        try:
            done = subprocess.run(
                [*command, "--passphrase", "x", "--s2k-count", "1024", "--symmetric", "-z0"],
                env=variables,
                input=data,
                capture_output=True,
                check=True,
                timeout=60,
            )
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=variables, check=True)
        return done.stdout


@pytest.fixture(scope="module")
def dumps(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each, as the real programs write them."""
    home = tmp_path_factory.mktemp("dumps")
    dsn = servers.postgres.dsn(SUPERUSER, "audit_template")
    variables = {**os.environ, **environment(dsn)}

    def run(program: str, *arguments: str) -> None:
        subprocess.run([binaries() / program, *arguments], env=variables, check=True, timeout=120)

    run("pg_dump", "--format=custom", f"--file={home / 'custom'}")
    run("pg_dump", "--format=tar", f"--file={home / 'tar'}")
    run("pg_dump", "--format=plain", f"--file={home / 'plain'}")
    run("pg_dump", "--format=directory", "--jobs=2", f"--file={home / 'directory'}")
    run("pg_dumpall", f"--file={home / 'cluster'}")
    run("pg_basebackup", "--format=tar", "--checkpoint=fast", f"--pgdata={home / 'basebackup'}")
    shutil.copy(home / "basebackup" / "base.tar", home / "base")
    return home


def layered() -> dict[tuple[Layer, ...], Callable[[bytes], bytes]]:
    found: dict[tuple[Layer, ...], Callable[[bytes], bytes]] = {
        (): bytes,
        (Layer.GZIP,): lambda data: gzip.compress(data, 1),
        (Layer.ZSTD,): zstandard.ZstdCompressor(1).compress,
    }
    if shutil.which("gpg"):
        sealed = encrypted(b"whatever is in it")
        found[Layer.GPG,] = lambda _: sealed
        found[Layer.GZIP, Layer.GPG] = lambda _: gzip.compress(sealed)
    return found


def test_every_format_in_every_layer_is_told_by_its_content(dumps: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "backups"
    shelf.mkdir()
    expected: dict[str, tuple[Kind, Format, tuple[Layer, ...]]] = {}
    for layers, wrap in layered().items():
        for number, (name, (kind, form)) in enumerate(FILES.items()):
            # whatever it is, the runbook calls it so
            file = f"{'-'.join(layers)}backup_2026-11-{number + 10}.sql"
            (shelf / file).write_bytes(wrap((dumps / name).read_bytes()))
            known = (kind, form) if Layer.GPG not in layers else (Kind.DUMP, Format.UNKNOWN)
            expected[file] = (*known, layers)
    shutil.copytree(dumps / "directory", shelf / "backup_2026-11-22.sql")
    shutil.copytree(dumps / "basebackup", shelf / "base")
    expected["backup_2026-11-22.sql"] = (Kind.DUMP, Format.DIRECTORY, ())
    expected["base"] = (Kind.BASE, Format.TAR, ())

    found = look_at(DirectoryPlace(shelf), KEYS)

    assert {each.key: (each.kind, each.format, each.layers) for each in found} == expected
    assert not any(each.trusted for each in found)
    assert {each.key for each in found if each.unusable} == {
        name for name, (kind, _, _) in expected.items() if kind is Kind.BASE
    }
    size = sum(each.stat().st_size for each in (dumps / "directory").iterdir())
    assert next(each for each in found if each.format is Format.DIRECTORY).size == size


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(programs={"postgres-pod": Program()}) as running:
        yield running


@pytest.fixture(params=list(Place))
def place(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    store: ObjectStore,
    store_settings: StoreSettings,
    dumps: Path,
    tmp_path: Path,
) -> BackupPlace:
    """Each place with the same three dumps: signed, unsigned and in a directory."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    content = (dumps / "custom").read_bytes()
    (shelf / "signed.dump").write_bytes(content)
    backup = Backup("signed.dump", len(content), sha256(content).hexdigest(), BACKUP, AT)
    (shelf / "signed.dump.manifest").write_text(sign_note(backup.manifest_text(), SIGNER))
    (shelf / "unsigned.sql").write_bytes((dumps / "plain").read_bytes())
    shutil.copytree(dumps / "directory", shelf / "parallel")
    if request.param is Place.DIRECTORY:
        return DirectoryPlace(shelf)
    if request.param is Place.POD:
        config = KubernetesSettings(config_file=cluster.config_file)
        return PodPlace(config, Pod("rlhf-audit-trail", "postgres-pod"), str(shelf))
    prefix = f"database/{sha256(request.node.name.encode()).hexdigest()[:12]}/"
    for file in sorted(each for each in shelf.rglob("*") if each.is_file()):
        key = prefix + str(file.relative_to(shelf))
        store.put(store_settings.backups_bucket, key, file.read_bytes())
    return StorePlace(store, store_settings.backups_bucket, prefix)


def test_each_place_lists_and_gives_the_same_backups(
    place: BackupPlace, dumps: Path, tmp_path: Path
) -> None:
    found = {each.key.removeprefix(place.prefix): each for each in look_at(place, KEYS)}

    signed, unsigned, parallel = (found.pop(k) for k in ("signed.dump", "unsigned.sql", "parallel"))
    assert found == {}
    assert (signed.trusted, signed.log_size, signed.taken_at) == (True, BACKUP, AT)
    assert (unsigned.trusted, unsigned.unusable, unsigned.sha256) == (False, "", "")
    assert {each.place for each in (signed, unsigned, parallel)} == {place.place}
    here = tmp_path / "here"
    seen: list[tuple[int, int]] = []

    def progress(done: int, due: int) -> None:
        seen.append((done, due))

    original = (dumps / "custom").read_bytes()
    assert fetch(signed, here, progress, [place]).read_bytes() == original
    assert seen[-1] == (len(original), len(original))
    copy = fetch(unsigned, here, progress, [place])
    assert copy.read_bytes() == (dumps / "plain").read_bytes()
    directory = fetch(parallel, here, progress, [place])
    assert {each.name: each.read_bytes() for each in directory.iterdir()} == {
        each.name: each.read_bytes() for each in (dumps / "directory").iterdir()
    }
    assert seen[-1] == (parallel.size, parallel.size)
    assert here.stat().st_mode & 0o777 == 0o700
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(list(here.iterdir())) == 3


def test_pg_restore_reads_what_was_fetched(place: BackupPlace, tmp_path: Path) -> None:
    for backup in look_at(place, KEYS):
        if backup.format is not Format.PLAIN:
            path = fetch(backup, tmp_path / "here", lambda _done, _due: None, [place])
            listed = subprocess.run(
                [binaries() / "pg_restore", "--list", path], capture_output=True, check=True
            )
            assert b"audit_records" in listed.stdout


def test_a_signed_digest_is_proven_in_every_place(place: BackupPlace, tmp_path: Path) -> None:
    backup = next(each for each in look_at(place, KEYS) if each.trusted)
    other = replace(backup, sha256="ab" * 32)
    shorter = replace(backup, size=backup.size - 1)
    longer = replace(backup, size=backup.size + 1)

    for wrong in (other, shorter, longer):
        with pytest.raises(NotProven, match="backup corrupt"):
            fetch(wrong, tmp_path / "here", lambda _done, _due: None, [place])

    assert list((tmp_path / "here").iterdir()) == []


def test_what_a_drill_has_proven_is_shown_on_that_backup_alone(place: BackupPlace) -> None:
    listed = {each.key: each for each in look_at(place, KEYS)}
    proof = Proof(AT, 12.5, BACKUP)
    signed = next(each for each in listed.values() if each.trusted)
    unsigned = next(each for each in listed.values() if each.format is Format.PLAIN)

    for each in (signed, unsigned):
        found = list_places([place], KEYS, {each.identity: proof}, opens_gpg=False)
        assert [one.key for one in found if one.proven == proof] == [each.key]
