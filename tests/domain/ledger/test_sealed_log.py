"""Attacks on a sealed log as a whole: files changed, removed, exchanged, forged."""

import base64
import os
import random

import pytest

from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import (
    Checkpoint,
    Status,
    leaf_hashes,
    sign_checkpoint,
    sign_note,
    tree_root,
)
from tasks.work.log_heads import latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.signed_lines import signed_lines
from tasks.work.signed_tree import signed_leaves
from tasks.work.verification import verify_log
from tests.domain.ledger.sample_log import (
    ORIGIN,
    SIGNER,
    STRANGER,
    STRANGERS,
    TRUST,
    MemoryLog,
    chained,
    note_of,
    packed,
    plain_leaf,
    plain_root,
    sealed_files,
)

LINES = chained(300)
FILES = sealed_files(LINES, older=(0, 100, 250))
SEGMENT = "seg/0-300.jsonl.zst"
HEAD = "checkpoints/300"
NOTE = FILES[HEAD].decode()
EVIL = chained(300, LINES[:100], session_id="evil")


def verify(files):
    return verify_log(MemoryLog(files), TRUST)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def without(*paths):
    return {path: data for path, data in FILES.items() if path not in paths}


def leading_zero():
    text = Checkpoint(ORIGIN, 300, bytes(32)).text.replace("\n300\n", "\n0300\n")
    return sign_note(text, SIGNER).encode()


VERIFIED, TAMPERED, UNVERIFIABLE = Status.VERIFIED, Status.TAMPERED, Status.UNVERIFIABLE
ATTACKS = {
    "clean log": (FILES, VERIFIED, set()),
    "a segment of an interrupted sealing beside": (
        FILES | {"seg/0-310.jsonl.zst": packed(chained(310, LINES))},
        VERIFIED,
        set(),
    ),
    "only an older, shorter segment beside": (
        without(SEGMENT) | {"seg/0-290.jsonl.zst": packed(LINES[:290])},
        TAMPERED,
        {"TRUNCATED"},
    ),
    "segment rewritten": (FILES | {SEGMENT: packed(EVIL)}, TAMPERED, {"MODIFIED"}),
    "segment missing": (without(SEGMENT), TAMPERED, {"TRUNCATED"}),
    "segment cut in a line": (
        FILES | {SEGMENT: packed(LINES)[:-40]},
        TAMPERED,
        {"SEGMENT_TORN", "TRUNCATED"},
    ),
    "segment emptied": (FILES | {SEGMENT: b""}, TAMPERED, {"SEGMENT_TORN", "TRUNCATED"}),
    "segment is no zstd": (
        FILES | {SEGMENT: b"nothing of the kind"},
        TAMPERED,
        {"SEGMENT_DIGEST", "TRUNCATED"},
    ),
    "segment with two lines exchanged": (
        FILES | {SEGMENT: packed([*LINES[:8], LINES[9], LINES[8], *LINES[10:]])},
        TAMPERED,
        {"REORDERED", "SEQ_MISMATCH"},
    ),
    "segment with a line left out": (
        FILES | {SEGMENT: packed([*LINES[:8], *LINES[9:]])},
        TAMPERED,
        {"REORDERED", "SEQ_MISMATCH", "SEGMENT_TORN", "TRUNCATED"},
    ),
    "segment with a line too many": (
        FILES | {SEGMENT: packed([*LINES, LINES[-1]])},
        TAMPERED,
        {"SEGMENT_TORN"},
    ),
    "leaf tile altered": (
        FILES | {"tile/0/000": flip(FILES["tile/0/000"], 99)},
        UNVERIFIABLE,
        {"TILES_BAD"},
    ),
    "leaf tile missing": (without("tile/0/000"), UNVERIFIABLE, {"TILES_BAD"}),
    "partial leaf tile missing": (without("tile/0/001.p/44"), UNVERIFIABLE, {"TILES_BAD"}),
    "leaf tile too short": (
        FILES | {"tile/0/000": FILES["tile/0/000"][:-32]},
        UNVERIFIABLE,
        {"TILES_BAD"},
    ),
    "upper tile altered": (
        FILES | {"tile/1/000.p/1": flip(FILES["tile/1/000.p/1"], 3)},
        UNVERIFIABLE,
        {"TILES_BAD"},
    ),
    "record, tile and segment altered together": (
        sealed_files(EVIL) | {HEAD: FILES[HEAD]},
        TAMPERED,
        {"TILES_BAD", "MODIFIED"},
    ),
    "everything altered and signed by a stranger": (
        sealed_files(EVIL) | {HEAD: note_of(EVIL, STRANGER).encode()},
        UNVERIFIABLE,
        {"BAD_SIGNATURE"},
    ),
    "newer forged head beside the good one": (
        FILES | {"checkpoints/400": note_of(chained(400), STRANGER).encode()},
        UNVERIFIABLE,
        {"BAD_SIGNATURE"},
    ),
    "older good head stored as the newest": (
        FILES | {"checkpoints/999": FILES["checkpoints/100"]},
        UNVERIFIABLE,
        {"BAD_CHECKPOINT"},
    ),
    "size raised under the true signature": (
        without(HEAD) | {"checkpoints/301": NOTE.replace("\n300\n", "\n301\n").encode()},
        UNVERIFIABLE,
        {"BAD_SIGNATURE"},
    ),
    "head of another log": (
        {HEAD: note_of(LINES, origin="audit.example/dev").encode()} | without(*FILES),
        UNVERIFIABLE,
        {"BAD_CHECKPOINT"},
    ),
    "signature removed": (
        {HEAD: NOTE.partition("\n\n")[0].encode()},
        UNVERIFIABLE,
        {"BAD_CHECKPOINT"},
    ),
    "size signed with a leading zero": ({HEAD: leading_zero()}, UNVERIFIABLE, {"BAD_CHECKPOINT"}),
    "head is not text": ({HEAD: b"\xff\xfe"}, UNVERIFIABLE, {"BAD_CHECKPOINT"}),
    "no head at all": (
        without(*[p for p in FILES if p.startswith("check")]),
        UNVERIFIABLE,
        {"BAD_CHECKPOINT"},
    ),
    "nothing at all": ({}, UNVERIFIABLE, {"BAD_CHECKPOINT"}),
    "older head damaged": (
        FILES | {"checkpoints/100": flip(FILES["checkpoints/100"], 0)},
        UNVERIFIABLE,
        {"BAD_SIGNATURE"},
    ),
    "older head of another history, truly signed": (
        FILES | {"checkpoints/200": note_of(EVIL[:200]).encode()},
        TAMPERED,
        {"FORK"},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_gives_its_verdict(attack):
    files, status, codes = ATTACKS[attack]
    verdict = verify(files)
    assert (verdict.status, {finding.code.value for finding in verdict.findings}) == (status, codes)
    assert verdict.reason


def test_a_verified_log_names_what_was_proven():
    verdict = verify(FILES)
    assert (verdict.records, verdict.signed) == (300, 300)
    assert verdict.root == plain_root([plain_leaf(line) for line in LINES]).hex()
    assert verdict.bytes == sum(map(len, LINES))
    assert (verdict.source, verdict.origin) == ("store", ORIGIN)


def test_the_log_of_no_records_is_verified():
    verdict = verify(sealed_files([]))
    assert (verdict.status, verdict.signed, verdict.findings) == (VERIFIED, 0, ())


@pytest.mark.parametrize("path", sorted(set(FILES) - {SEGMENT}))
def test_no_changed_byte_of_head_or_tile_is_ever_verified(path):
    data = FILES[path]
    chance = random.Random(path)
    places = range(len(data)) if len(data) < 300 else chance.sample(range(len(data)), 60)
    for at in places:
        changed = data[:at] + bytes([data[at] ^ chance.randint(1, 255)]) + data[at + 1 :]
        assert verify(FILES | {path: changed}).status is not VERIFIED


def test_a_changed_byte_of_a_segment_is_verified_only_when_the_lines_are_untouched():
    data = FILES[SEGMENT]
    for at in random.Random(5).sample(range(len(data)), 150):
        changed = MemoryLog(FILES | {SEGMENT: flip(data, at)})
        if verify_log(changed, TRUST).status is VERIFIED:
            head = latest_head(changed, TRUST)
            lines = [line for _, line in signed_lines(changed, head.checkpoint, 0, 300)]
            assert lines == LINES


def test_signed_lines_come_in_order_and_only_those_asked_for():
    log = MemoryLog(FILES)
    checkpoint = latest_head(log, TRUST).checkpoint
    assert list(signed_lines(log, checkpoint, 7, 12)) == list(enumerate(LINES))[7:12]
    assert list(signed_lines(log, checkpoint, 5, 5)) == []
    with pytest.raises(BadInput, match="last <= 300"):
        list(signed_lines(log, checkpoint, 0, 301))


@pytest.mark.parametrize(
    ("stored", "reason"),
    [(packed(EVIL), "record 100"), (packed(LINES)[:-9], "whole"), (None, "missing")],
)
def test_lines_that_are_not_as_signed_are_not_given_out(stored, reason):
    log = MemoryLog(without(SEGMENT) | ({SEGMENT: stored} if stored else {}))
    checkpoint = latest_head(log, TRUST).checkpoint
    given = []
    with pytest.raises(NotProven, match=reason) as refused:
        given.extend(signed_lines(log, checkpoint, 0, 300))
    assert SEGMENT in str(refused.value)
    assert all(line == LINES[seq] for seq, line in given)


def test_leaves_that_do_not_give_the_signed_root_are_not_given_out():
    log = MemoryLog(FILES)
    assert signed_leaves(log, Checkpoint(ORIGIN, 300, tree_root(leaf_hashes(LINES)))) == (
        leaf_hashes(LINES)
    )
    with pytest.raises(NotProven, match="root"):
        signed_leaves(log, Checkpoint(ORIGIN, 300, bytes(32)))


def test_a_log_without_any_head_is_not_found_and_one_with_bad_heads_not_proven():
    with pytest.raises(NotFound):
        latest_head(MemoryLog(), TRUST)
    with pytest.raises(NotProven):
        latest_head(MemoryLog(FILES), STRANGERS)


@pytest.fixture
def directory(tmp_path):
    log = DirectoryLog(tmp_path / "log")
    for path, data in FILES.items():
        log.write(path, data)
    return tmp_path / "log"


def test_a_directory_is_verified_like_any_other_store(directory):
    verdict = verify_log(DirectoryLog(directory), TRUST)
    assert (verdict.status, verdict.source) == (VERIFIED, "directory")
    assert not [path for path in directory.rglob("*") if path.name.startswith(".")]


def test_what_is_written_never_changes(directory):
    log = DirectoryLog(directory)
    log.write(HEAD, FILES[HEAD])
    with pytest.raises(Conflict):
        log.write(HEAD, b"another head")
    assert log.read(HEAD) == FILES[HEAD]
    assert log.paths("checkpoints/") == sorted(p for p in FILES if p.startswith("check"))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "..",
        "../x",
        "seg/../../x",
        "/etc/passwd",
        "seg//x",
        "seg/.",
        "a\\b",
        "a\nb",
        "x" * 600,
    ],
)
def test_paths_that_lead_out_are_refused(directory, path):
    with pytest.raises(BadInput):
        DirectoryLog(directory).read(path)
    with pytest.raises(BadInput):
        DirectoryLog(directory).write(path, b"")


def test_links_and_pipes_are_refused_not_followed(directory, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(FILES[HEAD])
    log = DirectoryLog(directory)
    (directory / "checkpoints/400").symlink_to(secret)
    (directory / "linked").symlink_to(tmp_path)
    os.mkfifo(directory / "seg/pipe")
    for path in ("checkpoints/400", "linked/secret", "seg/pipe", "seg"):
        with pytest.raises(BadInput):
            log.read(path)
    with pytest.raises(BadInput, match="link"):
        log.write("linked/new", b"")
    for prefix in ("checkpoints/", "seg/", "linked/"):
        with pytest.raises(BadInput):
            log.paths(prefix)
    with pytest.raises(BadInput, match="checkpoints/400"):
        verify_log(log, TRUST)


def test_a_checkpoint_of_ten_megabytes_is_a_finding(directory):
    (directory / "checkpoints/400").write_bytes(b"x" * 10_000_000)
    verdict = verify_log(DirectoryLog(directory), TRUST)
    assert verdict.status is UNVERIFIABLE
    assert "400" in verdict.findings[0].detail
    with pytest.raises(Malformed):
        DirectoryLog(directory).read("checkpoints/400", 1000)


def test_a_missing_directory_cannot_be_told_from_no_log(tmp_path):
    verdict = verify_log(DirectoryLog(tmp_path / "nowhere"), TRUST)
    assert verdict.status is UNVERIFIABLE
    assert "nowhere" in verdict.reason


def test_a_head_with_a_root_in_loose_base64_is_not_opened():
    text = sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)), SIGNER).partition("\n\n")[0] + "\n"
    loose = text.replace(base64.b64encode(bytes(32)).decode(), "A" * 42 + "B=")
    verdict = verify({"checkpoints/1": sign_note(loose, SIGNER).encode()})
    assert {finding.code.value for finding in verdict.findings} == {"BAD_CHECKPOINT"}


ODD = (
    "seg/a b.tmp",
    "seg/\u00fc",
    "seg/new\nline",
    "checkpoints/300.old",
    "seg/0-300.jsonl.zst.tmp",
)


def as_informational(verdict):
    assert verdict.status is VERIFIED
    return [(each.code.value, each.first, each.count) for each in verdict.findings]


def test_names_that_no_sealer_writes_are_a_finding_and_stop_nothing(directory):
    for path in ODD:
        (directory / path).write_bytes(b"x")
    (directory / "seg/odd folder").mkdir()
    (directory / "seg/odd folder/inner").write_bytes(b"x")
    in_directory = verify_log(DirectoryLog(directory), TRUST)
    assert as_informational(in_directory) == [("STRAY", None, 5), ("STRAY", None, 1)]
    in_store = verify(FILES | dict.fromkeys(ODD, b"x"))
    assert as_informational(in_store) == [("STRAY", None, 4), ("STRAY", None, 1)]
    for finding in (*in_directory.findings, *in_store.findings):
        assert finding.detail.isascii()
        assert finding.detail.isprintable()
    assert "a b.tmp" in in_directory.findings[0].detail


def test_a_folder_that_is_nested_without_end_is_a_finding(directory):
    inner = directory / "seg"
    for _ in range(40):
        inner /= "d" * 20
        inner.mkdir()
    verdict = verify_log(DirectoryLog(directory), TRUST)
    assert as_informational(verdict) == [("STRAY", None, 1)]


def test_thousands_of_odd_names_are_one_short_finding():
    odd = {f"seg/{'x' * 500}{number}": b"" for number in range(3000)}
    (finding,) = verify(FILES | odd).findings
    assert finding.count == 3000
    assert len(finding.detail) < 600
