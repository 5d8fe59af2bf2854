"""Verifying logs of several blocks: workers, stretches, samples, damage that must be localised."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.clients.errors import NotFound
from tasks.domain.ledger import (
    Checkpoint,
    KeyType,
    NoteSigner,
    Status,
    Trust,
    combine,
    note_text,
    sign_checkpoint,
    signature_line,
)
from tasks.domain.ledger.scope import FULL, Scope, choose_scope
from tasks.work.comparisons import compare_with_anchor, compare_with_api
from tasks.work.crews import Processes
from tasks.work.log_directory import DirectoryLog
from tasks.work.verification import verify_log, verify_rows
from tests.domain.ledger import large_log
from tests.domain.ledger.large_log import BLOCK, SIZE
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST, MemoryLog, packed

SEGMENTS = ("seg/0-65536.jsonl.zst", "seg/65536-65536.jsonl.zst", "seg/131072-8928.jsonl.zst")


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("log")
    for path, data in large_log.files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def with_files(changes: dict[str, bytes | None]) -> MemoryLog:
    files = large_log.files() | changes
    return MemoryLog({path: data for path, data in files.items() if data is not None})


def rows(lines, first=0, batch=2000):
    for at in range(0, len(lines), batch):
        part = lines[at : at + batch]
        yield range(first + at, first + at + len(part)), part


def found(verdict):
    return {(each.code.value, each.first, each.count) for each in verdict.findings}


def changed(line: bytes) -> bytes:
    return line.replace(b'"session_id":"s"', b'"session_id":"x"')


class CountingLog(MemoryLog):
    """Counts what is read of each folder."""

    def __init__(self, files):
        super().__init__(files)
        self.reads = Counter()

    def read(self, path, limit=1 << 31):
        self.reads[path.split("/")[0] if path[:4] != "tile" else path[:6]] += 1
        return super().read(path, limit)


def test_two_workers_say_exactly_what_one_says(directory):
    one = verify_log(DirectoryLog(directory), TRUST)
    two = verify_log(DirectoryLog(directory), TRUST, crew=Processes(2, least_blocks=1))
    assert (one.status, one.records, one.findings) == (Status.VERIFIED, SIZE, ())
    assert {**one.as_json(), "seconds": 0} == {**two.as_json(), "seconds": 0}


def test_two_workers_name_the_same_damage_as_one(tmp_path, directory):
    copy = tmp_path / "log"
    subprocess.run(["cp", "-r", directory, copy], check=True)
    lines = list(large_log.lines()[BLOCK : 2 * BLOCK])
    lines[0] = changed(lines[0])
    del lines[BLOCK - 3 :]
    (copy / SEGMENTS[1]).write_bytes(packed(lines))
    expected = {
        ("MODIFIED", BLOCK, 1),
        ("DELETED", 2 * BLOCK - 3, 3),
        ("SEGMENT_TORN", BLOCK, BLOCK),
    }
    for workers in (1, 2):
        verdict = verify_log(DirectoryLog(copy), TRUST, crew=Processes(workers, least_blocks=1))
        assert verdict.status is Status.TAMPERED
        assert found(verdict) == expected


def test_workers_die_with_the_process_that_started_them(tmp_path):
    program = (
        "import os, sys, time\n"
        "from tasks.work.parallel import over_workers\n"
        "if __name__ == '__main__':\n"
        "    print(os.getpid(), flush=True)\n"
        "    over_workers(time.sleep, [600, 600], 2, print)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        children = _wait_for(lambda: len(_children(pid)) >= 2 and _children(pid))
        os.kill(pid, signal.SIGKILL)
        parent.wait()
        assert _wait_for(lambda: not any(_is_alive(each) for each in children))


def _wait_for(look, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    return None


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_record_altered_beyond_the_first_block_is_named_in_table_and_store():
    at = 100_007
    lines = list(large_log.lines())
    lines[at] = changed(lines[at])
    verdict = verify_rows(rows(lines), MemoryLog(large_log.files()), TRUST)
    assert (verdict.status, found(verdict)) == (Status.TAMPERED, {("MODIFIED", at, 1)})
    stored = with_files({SEGMENTS[1]: packed(lines[BLOCK : 2 * BLOCK])})
    assert found(verify_log(stored, TRUST)) == {("MODIFIED", at, 1)}


def test_the_last_record_of_a_block_is_found_by_descending_the_tree():
    lines = list(large_log.lines())
    lines[BLOCK - 1] = changed(lines[BLOCK - 1])
    verdict = verify_rows(rows(lines), MemoryLog(large_log.files()), TRUST)
    assert found(verdict) == {("MODIFIED", BLOCK - 1, 1)}
    (finding,) = verdict.findings
    assert finding.found != finding.expected


def test_two_whole_segments_exchanged_are_one_run_of_moved_records_each():
    lines = large_log.lines()
    swapped = [*lines[BLOCK : 2 * BLOCK], *lines[:BLOCK], *lines[2 * BLOCK :]]
    verdict = verify_rows(rows(swapped), MemoryLog(large_log.files()), TRUST)
    assert verdict.status is Status.TAMPERED
    assert {code for code, _, _ in found(verdict)} == {"REORDERED", "SEQ_MISMATCH"}
    assert sum(each.count for each in verdict.findings if each.code == "REORDERED") == 2 * BLOCK


def test_a_table_cut_off_inside_an_earlier_block_is_one_truncation():
    lines = large_log.lines()[:70_000]
    verdict = verify_rows(rows(lines), MemoryLog(large_log.files()), TRUST)
    assert found(verdict) == {("TRUNCATED", 70_000, SIZE - 70_000)}


def test_a_store_cut_off_over_several_stretches_is_one_truncation(tmp_path, directory):
    copy = tmp_path / "log"
    subprocess.run(["cp", "-r", directory, copy], check=True)
    for path in SEGMENTS[1:]:
        (copy / path).unlink()
    for workers in (1, 2):
        verdict = verify_log(DirectoryLog(copy), TRUST, crew=Processes(workers, least_blocks=1))
        assert found(verdict) == {("TRUNCATED", BLOCK, SIZE - BLOCK)}


@pytest.mark.parametrize(
    ("path", "at"),
    [("tile/0/300", BLOCK), ("tile/1/001", BLOCK), ("tile/2/000.p/2", None), ("tile/0/000", 0)],
)
def test_a_damaged_tile_of_any_level_is_found_and_hides_no_damage(path, at):
    tile = bytes(8192 if "p" not in path else 64)
    verdict = verify_log(with_files({path: tile}), TRUST)
    assert (verdict.status, found(verdict)) == (Status.UNVERIFIABLE, {("TILES_BAD", at, 1)})
    lines = list(large_log.lines()[BLOCK : 2 * BLOCK])
    lines[30_000] = changed(lines[30_000])
    both = verify_log(with_files({path: tile, SEGMENTS[1]: packed(lines)}), TRUST)
    assert both.status is Status.TAMPERED
    assert "MODIFIED" in {code for code, _, _ in found(both)}


def test_without_any_tile_the_segments_still_prove_the_records():
    gone = dict.fromkeys((path for path in large_log.files() if path[:4] == "tile"), None)
    bare = with_files(gone)
    verdict = verify_rows(rows(large_log.lines()), bare, TRUST)
    assert verdict.status is Status.VERIFIED
    lines = list(large_log.lines())
    lines[5] = changed(lines[5])
    assert found(verify_rows(rows(lines), bare, TRUST)) == {("MODIFIED", 5, 1)}
    in_store = verify_log(bare, TRUST)
    assert in_store.status is Status.UNVERIFIABLE
    assert {code for code, _, _ in found(in_store)} == {"TILES_BAD"}


def test_with_only_the_signed_root_left_rows_are_judged_as_a_whole():
    gone = dict.fromkeys((path for path in large_log.files() if path[:4] != "chec"), None)
    bare = with_files(gone)
    assert verify_rows(rows(large_log.lines()), bare, TRUST).status is Status.VERIFIED
    lines = list(large_log.lines())
    lines[SIZE - 1] = changed(lines[SIZE - 1])
    verdict = verify_rows(rows(lines), bare, TRUST)
    assert (verdict.status, found(verdict)) == (Status.TAMPERED, {("MODIFIED", 0, SIZE)})


def test_an_older_head_that_is_no_part_of_this_history_is_a_fork():
    for size in large_log.OLDER:
        forked = sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), SIGNER).encode()
        verdict = verify_log(with_files({f"checkpoints/{size}": forked}), TRUST)
        assert (verdict.status, found(verdict)) == (Status.TAMPERED, {("FORK", None, 1)})


def test_tonights_scope_reads_the_new_and_a_sample_of_the_old():
    log = CountingLog(large_log.files())
    scope = Scope(2 * BLOCK, (0,))
    verdict = verify_log(log, TRUST, scope=scope)
    assert (verdict.status, verdict.records) == (Status.VERIFIED, SIZE - BLOCK)
    assert "1 of 2 older blocks" in verdict.scope
    assert verdict.as_json()["scope"] == verdict.scope
    assert log.reads["seg"] == 2
    assert log.reads["tile/0"] < 2 * (256 + 35) + 10  # those of block 0 and of the last one


def test_damage_in_a_block_that_is_drawn_is_found_and_in_another_one_is_not_claimed_absent():
    lines = list(large_log.lines()[:BLOCK])
    lines[9] = changed(lines[9])
    stored = with_files({SEGMENTS[0]: packed(lines)})
    drawn = verify_log(stored, TRUST, scope=Scope(2 * BLOCK, (0,)))
    assert found(drawn) == {("MODIFIED", 9, 1)}
    passed = verify_log(stored, TRUST, scope=Scope(2 * BLOCK, (1,)))
    assert passed.status is Status.VERIFIED
    assert "were hashed again" in passed.reason
    assert "all" not in passed.reason


def test_an_older_segment_that_is_gone_is_found_without_being_drawn():
    verdict = verify_log(with_files({SEGMENTS[0]: None}), TRUST, scope=Scope(2 * BLOCK, (1,)))
    assert (verdict.status, found(verdict)) == (Status.TAMPERED, {("DELETED", 0, BLOCK)})


def test_the_scope_takes_at_least_one_older_block_and_follows_the_seed():
    assert choose_scope(BLOCK - 1, 0.02, b"seed") == FULL
    one = choose_scope(50 * BLOCK + 7, 0.02, b"seed")
    assert (one.since, len(one.sampled)) == (50 * BLOCK, 1)
    drawn = {choose_scope(50 * BLOCK, 0.02, bytes([seed])).sampled for seed in range(40)}
    assert len(drawn) > 10
    assert choose_scope(4 * BLOCK, 1.0, b"seed").sampled == (0, 1, 2, 3)


def test_anchor_and_api_are_compared_at_any_size():
    log = MemoryLog(large_log.files())
    for size in large_log.OLDER:
        note = large_log.files()[f"checkpoints/{size}"].decode()
        anchor = TRUST.open(note).checkpoint
        assert compare_with_anchor(log, TRUST, anchor).status is Status.VERIFIED
        assert compare_with_api(log, TRUST, size, anchor.root).status is Status.VERIFIED
        other = Checkpoint(ORIGIN, size, bytes(32))
        assert found(compare_with_anchor(log, TRUST, other)) == {("FORK", None, 1)}
        assert found(compare_with_api(log, TRUST, size, bytes(32))) == {("SPLIT_VIEW", None, 1)}


class Answering(MemoryLog):
    """Lists some files for the first time only, or lists what it then has not."""

    def __init__(self, files, *, missing=(), hidden_at_first=()):
        super().__init__(files)
        self.missing, self.hidden = set(missing), set(hidden_at_first)
        self.listings = 0

    def read(self, path, limit=1 << 31):
        if path in self.missing:
            raise NotFound(f"{path} does not exist")
        return super().read(path, limit)

    def paths(self, prefix):
        self.listings += prefix == "checkpoints/"
        hidden = self.hidden if self.listings <= 1 else ()
        return [path for path in super().paths(prefix) if path not in hidden]


def test_an_older_head_that_is_listed_but_gone_hides_no_fork_beside_it():
    forked = sign_checkpoint(Checkpoint(ORIGIN, 100_000, bytes(32)), SIGNER).encode()
    note = large_log.files()["checkpoints/65536"]
    files = large_log.files() | {"checkpoints/100000": forked, "checkpoints/70000": note}
    verdict = verify_log(Answering(files, missing=["checkpoints/70000"]), TRUST)
    assert verdict.status is Status.TAMPERED
    assert {code for code, _, _ in found(verdict)} == {"BAD_CHECKPOINT", "FORK"}


def test_an_anchor_that_another_head_continues_does_not_make_up_for_records_cut_off():
    hidden = [f"checkpoints/{size}" for size in (100_000, 131_072, SIZE)]
    log = Answering(large_log.files(), hidden_at_first=hidden)
    anchor = TRUST.open(large_log.files()[f"checkpoints/{SIZE}"].decode()).checkpoint
    table = verify_rows(rows(large_log.lines()[:70_000]), log, TRUST)
    assert (table.status, table.signed) == (Status.VERIFIED, BLOCK)
    apart = combine(table, compare_with_anchor(log, TRUST, anchor))
    assert apart.status is Status.UNVERIFIABLE
    same = combine(table, compare_with_anchor(log, TRUST, anchor, size=table.signed))
    assert same.status is not Status.VERIFIED


def test_a_scope_beyond_the_head_is_cut_to_it():
    verdict = verify_log(MemoryLog(large_log.files()), TRUST, scope=Scope(9 * BLOCK, (1, 7)))
    assert (verdict.status, found(verdict)) == (Status.VERIFIED, set())
    assert verdict.records == SIZE - BLOCK


def test_only_the_altered_record_before_a_seam_is_named(tmp_path, directory):
    copy = tmp_path / "log"
    subprocess.run(["cp", "-r", directory, copy], check=True)
    lines = list(large_log.lines()[:BLOCK])
    lines[-1] = changed(lines[-1])
    (copy / SEGMENTS[0]).write_bytes(packed(lines))
    for workers in (1, 2):
        verdict = verify_log(DirectoryLog(copy), TRUST, crew=Processes(workers, least_blocks=1))
        assert found(verdict) == {("MODIFIED", BLOCK - 1, 1)}


def test_a_kept_head_that_lost_its_quorum_is_no_rollback():
    witness = NoteSigner.from_seed("w.example", bytes([9]) * 32, KeyType.WITNESS)
    witnessed = Trust(ORIGIN, TRUST.log_keys, (witness.verifier,), 1)
    files = dict(large_log.files())
    note = files["checkpoints/131072"].decode()
    line = signature_line(note_text(note), witness, datetime(2026, 3, 14, tzinfo=UTC))
    files["checkpoints/131072"] = (note + line).encode()
    anchor = TRUST.open(files[f"checkpoints/{SIZE}"].decode()).checkpoint
    verdict = compare_with_anchor(MemoryLog(files), witnessed, anchor)
    assert verdict.status is Status.UNVERIFIABLE
    assert "counts no more" in verdict.reason
