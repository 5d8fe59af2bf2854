"""The catalogue on a real S3: what is believed, what is refused, and why it says so."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.clients.errors import NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import Backup, Format
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import NoteSigner, sign_note
from tasks.sections.systems import StoreSettings
from tasks.work.backup_places import StorePlace
from tasks.work.catalogue import look_at
from tasks.work.fetching import fetch
from tests.builders import newest
from tests.tasks.recovery.conftest import BACKUP, SIGNED, SIGNER, Patient

pytestmark = pytest.mark.components

AT = datetime(2026, 3, 14, 2, 0, tzinfo=UTC)


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A folder of the test's own: nothing can be removed from a locked bucket."""
    return f"database/{sha256(request.node.name.encode()).hexdigest()[:12]}/"


class Shelf:
    """Puts backups into the object store, good and bad."""

    def __init__(self, store: ObjectStore, bucket: str, prefix: str) -> None:
        self.store, self.bucket, self.prefix = store, bucket, prefix
        self.place = StorePlace(store, bucket, prefix)

    def put(
        self,
        name: str,
        content: bytes,
        log_size: int = BACKUP,
        signer: NoteSigner = SIGNER,
        promised: bytes | None = None,
    ) -> str:
        key = f"{self.prefix}{name}.dump"
        promised = content if promised is None else promised
        backup = Backup(key, len(promised), sha256(promised).hexdigest(), log_size, AT)
        self.store.put(self.bucket, key, content)
        note = sign_note(backup.manifest_text(), signer).encode()
        self.store.put(self.bucket, f"{key}.manifest", note)
        return key

    def listed(self) -> dict[str, Backup]:
        found = look_at(self.place, [SIGNER.verifier])
        return {each.key.removeprefix(self.prefix): each for each in found}


@pytest.fixture
def shelf(store: ObjectStore, store_settings: StoreSettings, prefix: str) -> Shelf:
    return Shelf(store, store_settings.backups_bucket, prefix)


def test_good_backups_are_listed_and_the_newest_signed_one_is_chosen(shelf: Shelf) -> None:
    shelf.put("a", b"PGDMP old", 1_000)
    key = shelf.put("b", b"PGDMP new", 2_000)
    shelf.put("c", b"PGDMP newer than the head", 9_000)

    listed = shelf.listed()

    assert [each.unusable for each in listed.values()] == ["", "", ""]
    assert newest(listed.values(), SIGNED).key == key


def test_backups_that_nothing_vouches_for_are_listed_with_the_reason(shelf: Shelf) -> None:
    stranger = NoteSigner.from_seed("sealer.lab", b"x" * 32)
    shelf.put("forged", b"PGDMP", signer=stranger)
    shelf.put("resized", b"PGDMP longer", promised=b"PGDMP")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}bare.dump", b"PGDMP")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}alone.dump.manifest", b"note")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}old.sql.gpg", b"\x85")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}odd.dump", b"PGDMP")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}odd.dump.manifest", b"\xff\xfe")

    listed = {name: each.unusable for name, each in shelf.listed().items()}

    assert "expected a signature" in listed.pop("forged.dump")
    assert "expected 5 bytes" in listed.pop("resized.dump")
    assert "dump is missing" in listed.pop("alone.dump.manifest")
    assert "not a backup that is known here" in listed.pop("old.sql.gpg")
    assert "bad manifest" in listed.pop("odd.dump")
    assert listed == {"bare.dump": ""}
    assert [each.key for each in shelf.listed().values() if each.trusted] == []


def test_a_manifest_of_another_file_vouches_for_nothing(shelf: Shelf) -> None:
    key = shelf.put("a", b"PGDMP")
    note = shelf.store.get(shelf.bucket, f"{key}.manifest")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}b.dump", b"PGDMP")
    shelf.store.put(shelf.bucket, f"{shelf.prefix}b.dump.manifest", note)

    assert "another file" in shelf.listed()["b.dump"].unusable


def test_a_dump_is_fetched_once_and_found_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("a", b"PGDMP content")
    backup = shelf.listed()["a.dump"]
    directory = tmp_path / "scratch"

    archive = fetch(backup, directory, places=[shelf.place])

    assert archive.read_bytes() == b"PGDMP content"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert fetch(backup, directory, places=[shelf.place]) == archive
    archive.write_bytes(b"PGDMP altered")
    assert fetch(backup, directory, places=[shelf.place]).read_bytes() == (b"PGDMP content")
    assert [each.name for each in directory.iterdir()] == [archive.name]


def test_other_bytes_than_the_manifest_promises_are_corrupt(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("a", b"PGDMP tampered", promised=b"PGDMP  genuine")
    backup = shelf.listed()["a.dump"]
    assert backup.unusable == ""

    with pytest.raises(NotProven, match="backup corrupt"):
        fetch(backup, tmp_path, places=[shelf.place])

    assert list(tmp_path.iterdir()) == []


def test_a_signed_dump_of_another_format_is_what_its_content_says(shelf: Shelf) -> None:
    shelf.put("a", b"--\n-- PostgreSQL database dump\n--\n")

    listed = shelf.listed()["a.dump"]

    assert (listed.trusted, listed.unusable, listed.format) == (True, "", Format.PLAIN)


def test_nothing_beside_a_signed_dump_of_no_format_makes_it_one(shelf: Shelf) -> None:
    shelf.put("a", b"hello")

    assert "not a backup that is known here" in shelf.listed()["a.dump"].unusable


def test_an_unusable_backup_or_a_key_outside_is_not_fetched(shelf: Shelf, tmp_path: Path) -> None:
    bad = Backup("database/x.dump", unusable="no signed manifest beside it")
    with pytest.raises(NotProven, match="no signed manifest"):
        fetch(bad, tmp_path, places=[shelf.place])

    outside = Backup(f"{shelf.prefix}../x.dump", 1, "ab" * 32, 0, AT)
    with pytest.raises(BadInput, match="outside"):
        fetch(outside, tmp_path, places=[shelf.place])


def test_a_backup_of_a_place_that_is_not_configured_is_not_fetched(
    shelf: Shelf, tmp_path: Path
) -> None:
    elsewhere = Backup(f"{shelf.prefix}a.dump", 1, "ab" * 32, 0, AT, root="another-bucket")

    with pytest.raises(NotFound, match="is none"):
        fetch(elsewhere, tmp_path, places=[shelf.place])


def test_the_real_dump_is_restored_from_the_object_store(
    patient: Patient, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("real", patient.archive.read_bytes())
    patient.backup = newest(shelf.listed().values(), SIGNED)
    patient.archive = fetch(patient.backup, tmp_path, places=[shelf.place])

    restored = patient.restore()

    assert restored.backup == replace(patient.backup)
    assert restored.added == SIGNED - BACKUP
