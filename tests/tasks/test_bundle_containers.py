"""What holds a bundle is hostile, too: links, pipes, crafted and damaged zip files."""

import os
import random
import struct
import time
import zipfile

import pytest

from tasks.work import bundle_verifier as verifier
from tasks.work.bundle_verifier import COULD_NOT_TELL, NOT_PROVED, PROVED, NotABundle
from tests.tasks.bundle_attacks import PROOF, outcome, samples
from tests.tasks.bundle_fixture import in_folder, in_zip, policy_of

PLAIN = samples()["plain"]


def link_to_a_file(folder, secret):
    (folder / PROOF).unlink()
    (folder / PROOF).symlink_to(secret)


def link_to_a_folder(folder, secret):
    (folder / "records").rename(secret.with_name("elsewhere"))
    (folder / "records").symlink_to(secret.with_name("elsewhere"))


def a_pipe(folder, _):
    (folder / PROOF).unlink()
    os.mkfifo(folder / PROOF)


def a_folder_for_a_file(folder, _):
    (folder / PROOF).unlink()
    (folder / PROOF).mkdir()


@pytest.mark.parametrize("attack", [link_to_a_file, link_to_a_folder, a_pipe, a_folder_for_a_file])
def test_links_pipes_and_folders_are_not_read(tmp_path, attack):
    folder = in_folder(tmp_path / "bundle", PLAIN)
    secret = tmp_path / "secret"
    secret.write_bytes(PLAIN[PROOF])
    attack(folder, secret)
    assert verifier.verify_bundle(str(folder), policy_of()).code == NOT_PROVED


def test_a_folder_nested_without_end_is_no_bundle(tmp_path):
    inner = in_folder(tmp_path / "bundle", PLAIN)
    for _ in range(30):
        inner /= "d"
        inner.mkdir()
    with pytest.raises(NotABundle, match="nested"):
        verifier.verify_bundle(str(tmp_path / "bundle"), policy_of())


def entry(name, **attributes):
    made_up = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(made_up, attribute, value)
    return made_up


def climbing(archive):
    archive.writestr("../../escaped", b"x")


def absolute(archive):
    archive.writestr("/tmp/escaped", b"x")


def twice(archive):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("README.txt", b"another")


def linked(archive):
    archive.writestr(entry("records/6.tlog-proof", external_attr=0o120777 << 16), b"/etc/passwd")


def packed_otherwise(archive):
    archive.writestr("records/6.tlog-proof", b"x", zipfile.ZIP_BZIP2)


def backslashes(archive):
    archive.writestr("records\\6.tlog-proof", b"x")


def commented(archive):
    archive.comment = b"look here"


def too_many(archive):
    odd = (entry(f"records/{n}", header_offset=0, CRC=0, compress_size=0) for n in range(60_001))
    archive.filelist.extend(odd)
    archive._didModify = True


ZIP_ADDITIONS = {
    climbing: "unknown file, not in MANIFEST: ../../escaped",
    absolute: "unknown file, not in MANIFEST: /tmp/escaped",
    twice: "README.txt twice",
    linked: "is a link",
    packed_otherwise: "unknown way",
    backslashes: "unknown file",
    commented: "table of contents",
    too_many: "at most 60000 files",
}


@pytest.mark.parametrize("attack", ZIP_ADDITIONS)
def test_odd_entries_of_a_zip_are_refused_and_nothing_is_unpacked(tmp_path, attack):
    (tmp_path / "inner").mkdir()
    path = in_zip(tmp_path / "inner/b.zip", PLAIN)
    with zipfile.ZipFile(path, "a") as archive:
        attack(archive)
    before = sorted(tmp_path.rglob("*"))
    code, said = outcome(path)
    assert code in (NOT_PROVED, COULD_NOT_TELL)
    assert ZIP_ADDITIONS[attack] in said
    assert sorted(tmp_path.rglob("*")) == before


def last_entry_over_the_first(data):
    """The table of contents points the last entry at the first one's bytes."""
    at = data.rindex(b"PK\1\2")
    return data[: at + 42] + bytes(4) + data[at + 46 :]


ZIP_BYTES = {
    "cut off": (lambda data: data[:-30], "table of contents"),
    "cut in half": (lambda data: data[: len(data) // 2], "table of contents"),
    "bytes before": (lambda data: b"#!/bin/sh\n" + data, "before or after"),
    "bytes after": (lambda data: data + b"more", "table of contents"),
    "empty": (lambda _: b"", "table of contents"),
    "not a zip": (lambda _: b"nothing of the kind" * 9, "table of contents"),
    "entries that overlap": (last_entry_over_the_first, "overlap"),
    "encrypted by its flag": (
        lambda data: (
            data[: data.rindex(b"PK\1\2") + 8] + b"\1" + data[data.rindex(b"PK\1\2") + 9 :]
        ),
        "encrypted",
    ),
    "a table that claims four gigabytes": (
        lambda data: data[:-10] + struct.pack("<L", 2**32 - 1) + data[-6:],
        "at most",
    ),
}


@pytest.mark.parametrize("damage", ZIP_BYTES)
def test_a_damaged_or_crafted_zip_is_refused(tmp_path, damage):
    change, because = ZIP_BYTES[damage]
    path = tmp_path / "b.zip"
    path.write_bytes(change(in_zip(path, PLAIN).read_bytes()))
    code, said = outcome(path)
    assert code == COULD_NOT_TELL
    assert because in said


@pytest.mark.parametrize("honest", [True, False], ids=["says its size", "lies about its size"])
def test_a_zip_bomb_is_unpacked_no_further_than_a_file_may_be_large(tmp_path, honest):
    size = 200_000_000
    path = in_zip(tmp_path / "b.zip", PLAIN | {"README.txt": bytes(size)})
    data = path.read_bytes()
    assert len(data) < 400_000
    if not honest:
        data = data.replace(struct.pack("<L", size), struct.pack("<L", 100))
    path.write_bytes(data)
    began = time.monotonic()
    code, said = outcome(path)
    assert time.monotonic() - began < 2
    assert code == NOT_PROVED
    assert "README.txt" in said


def test_a_bundle_zipped_anew_by_others_with_folders_and_packing_still_verifies(tmp_path):
    path = in_zip(tmp_path / "b.zip", PLAIN)
    with zipfile.ZipFile(path, "a") as archive:
        archive.mkdir("records")
    assert outcome(path)[0] == PROVED


def test_a_flipped_bit_of_a_zip_is_proved_only_when_every_file_is_untouched(tmp_path):
    path = in_zip(tmp_path / "b.zip", PLAIN, zipfile.ZIP_STORED)
    data = path.read_bytes()
    chance = random.Random(11)
    heads = data.index(b"PK\1\2")
    places = [*chance.sample(range(heads), 150), *chance.sample(range(heads, len(data)), 150)]
    for at in places:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        if outcome(path)[0] == PROVED:
            with zipfile.ZipFile(path) as archive:
                found = {name: archive.read(name) for name in archive.namelist()}
            assert found == PLAIN
