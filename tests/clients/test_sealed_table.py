"""Sealing and verifying the table of a real PostgreSQL, whole, grown, damaged and interrupted."""

import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest

from tasks.clients.errors import Conflict, Denied, Transient
from tasks.domain.errors import NotProven
from tasks.domain.ledger import GENESIS_PREV, Status, leaf_hash, tombstone_line
from tasks.work import sealing, table_verification, verification
from tasks.work.log_heads import latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.signed_lines import signed_lines
from tasks.work.signed_tree import signed_leaves
from tests.domain.ledger.sample_log import (
    SIGNER,
    STRANGERS,
    TRUST,
    MemoryLog,
    chained,
    plain_leaf,
    plain_root,
    record,
    sealed_files,
)

pytestmark = pytest.mark.components

LINES = chained(600)
AT = datetime(2026, 3, 14, tzinfo=UTC)


def seal(database, log, signer=SIGNER):
    return sealing.seal(database.sealer, log, signer, TRUST if signer is SIGNER else STRANGERS)


def verify(database, log, progress=None):
    return table_verification.verify_table(database.reader, log, TRUST, progress)


def codes(verdict):
    return {(finding.code.value, finding.first, finding.count) for finding in verdict.findings}


class CrashingLog(MemoryLog):
    """Stands for a sealer that is killed after so many writes."""

    def __init__(self, files, writes):
        super().__init__(files)
        self.writes = writes

    def write(self, path, data):
        if self.writes == 0:
            raise KeyboardInterrupt
        self.writes -= 1
        super().write(path, data)


@pytest.fixture
def sealed(audit_database):
    """A table of 600 records under a signed head, and the log."""
    log = MemoryLog()
    audit_database.add(LINES)
    seal(audit_database, log)
    return audit_database, log


def test_a_sealed_table_and_its_log_are_verified(audit_database, tmp_path):
    log = DirectoryLog(tmp_path / "log")
    audit_database.add(LINES)
    result = seal(audit_database, log)
    assert (result.added, result.checkpoint.size) == (600, 600)
    assert result.checkpoint.root == plain_root([plain_leaf(line) for line in LINES])
    verdict = verify(audit_database, log)
    assert (verdict.status, verdict.findings) == (Status.VERIFIED, ())
    assert (verdict.records, verdict.bytes) == (600, sum(map(len, LINES)))
    assert verification.verify_log(log, TRUST).status is Status.VERIFIED


def test_the_sealer_writes_what_a_writer_after_the_specifications_does(sealed):
    _, log = sealed
    expected = sealed_files(LINES)
    assert set(log.files) == set(expected)
    segments = [path for path in expected if path.startswith("seg/")]
    assert all(log.files[path] == expected[path] for path in expected if path not in segments)
    head = latest_head(log, TRUST)
    assert [line for _, line in signed_lines(log, head.checkpoint, 0, 600)] == LINES


def test_an_empty_table_gets_the_head_of_the_empty_log(audit_database):
    log = MemoryLog()
    assert seal(audit_database, log).checkpoint.size == 0
    assert verify(audit_database, log).status is Status.VERIFIED
    audit_database.add(LINES[:3])
    assert seal(audit_database, log).added == 3


def test_growth_is_sealed_step_by_step_into_one_history(audit_database):
    log = MemoryLog()
    for first, last in ((0, 1), (1, 256), (256, 257), (257, 257), (257, 600)):
        audit_database.add(LINES[first:last], first)
        assert seal(audit_database, log).added == last - first
    assert log.paths("checkpoints/") == [
        "checkpoints/1",
        "checkpoints/256",
        "checkpoints/257",
        "checkpoints/600",
    ]
    assert verification.verify_log(log, TRUST).status is Status.VERIFIED


def test_rows_newer_than_the_head_are_told_but_not_held_against_the_table(sealed):
    database, log = sealed
    database.add(chained(605, LINES)[600:], 600)
    verdict = verify(database, log)
    assert (verdict.status, codes(verdict)) == (Status.VERIFIED, {("UNSIGNED_TAIL", 600, 5)})


EVIL = record(17, plain_leaf(LINES[16]).hex(), session_id="evil")


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        (
            "UPDATE audit_records SET record = %s, leaf = %s WHERE seq = 17",
            (EVIL, leaf_hash(EVIL)),
            {("MODIFIED", 17, 1)},
        ),
        ("DELETE FROM audit_records WHERE seq BETWEEN 40 AND 43", (), {("DELETED", 40, 4)}),
        ("DELETE FROM audit_records WHERE seq >= 590", (), {("TRUNCATED", 590, 10)}),
        ("TRUNCATE audit_records", (), {("TRUNCATED", 0, 600)}),
        (
            "INSERT INTO audit_records SELECT 600, record, leaf FROM audit_records WHERE seq = 599",
            (),
            {("CHAIN_BREAK", 600, 1), ("SEQ_MISMATCH", 600, 1), ("UNSIGNED_TAIL", 600, 1)},
        ),
        (
            """ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey;
            INSERT INTO audit_records SELECT 7, record, leaf FROM audit_records WHERE seq = 7""",
            (),
            {("INSERTED", 7, 1)},
        ),
        (
            """ALTER TABLE audit_records ALTER record DROP NOT NULL;
            UPDATE audit_records SET record = NULL WHERE seq = 9""",
            (),
            {("MODIFIED", 9, 1), ("UNPARSEABLE", 9, 1)},
        ),
        (
            "UPDATE audit_records SET leaf = sha256('x') WHERE seq = 9",
            (),
            set(),  # the stored leaf proves nothing and is not asked
        ),
    ],
)
def test_each_attack_on_the_table_gives_its_findings(sealed, statement, values, expected):
    database, log = sealed
    database.run(statement, *values)
    verdict = verify(database, log)
    assert codes(verdict) == expected
    assert verdict.status is (Status.TAMPERED if expected else Status.VERIFIED)


@pytest.mark.parametrize("statement", ["DROP TABLE", "ALTER TABLE"])
def test_a_missing_table_under_a_signed_head_is_tampered(sealed, statement):
    database, log = sealed
    database.run(f"{statement} audit_records{' RENAME TO gone' if 'ALTER' in statement else ''}")
    verdict = verify(database, log)
    assert verdict.status is Status.TAMPERED
    assert codes(verdict) == {("SOURCE_MISSING", None, 1), ("TRUNCATED", 0, 600)}
    assert "600" in verdict.reason


def test_a_missing_database_under_a_signed_head_is_tampered(sealed, postgres_server):
    database, log = sealed
    gone = database.reader.rpartition("/")[2]
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {gone}")
    assert verify(database, log).status is Status.TAMPERED


def test_a_server_that_cannot_be_asked_is_an_error_not_a_verdict(sealed):
    database, log = sealed
    database.run("REVOKE SELECT ON audit_records FROM audit_reader")
    with pytest.raises(Denied):
        verify(database, log)
    with pytest.raises(Transient):
        table_verification.verify_table("postgresql://nobody@127.0.0.1:1/none", log, TRUST)


def test_an_error_while_rows_are_read_ends_the_verification(audit_database):
    """More rows than one batch: the COPY is still open when it happens."""
    log = MemoryLog()
    audit_database.add(chained(2500))
    seal(audit_database, log)

    def broken(_done, _due):
        raise RuntimeError("nobody shows it")

    with pytest.raises(RuntimeError, match="nobody shows it"):
        verify(audit_database, log, broken)


def test_a_view_in_the_place_of_the_table_is_not_verified(sealed):
    database, log = sealed
    database.run("ALTER TABLE audit_records RENAME TO kept")
    database.run("CREATE VIEW audit_records AS SELECT * FROM kept")
    database.run("GRANT SELECT ON audit_records TO audit_reader")
    verdict = verify(database, log)
    assert verdict.status is Status.UNVERIFIABLE
    assert "view" in verdict.reason


def test_damaged_tiles_do_not_speak_against_a_table_that_gives_the_signed_root(sealed):
    database, log = sealed
    damaged = MemoryLog(log.files | {"tile/0/000": bytes(8192)})
    assert verify(database, damaged).status is Status.VERIFIED
    in_store = verification.verify_log(damaged, TRUST)
    assert in_store.status is Status.UNVERIFIABLE
    assert {finding.code.value for finding in in_store.findings} == {"TILES_BAD"}


def test_without_a_trusted_head_the_table_is_unverifiable(sealed):
    database, log = sealed
    for files, code in (
        ({}, "BAD_CHECKPOINT"),
        (log.files | {"checkpoints/700": b"nothing"}, "BAD_CHECKPOINT"),
    ):
        verdict = verify(database, MemoryLog(files))
        assert verdict.status is Status.UNVERIFIABLE
        assert {finding.code.value for finding in verdict.findings} == {code}
    verdict = table_verification.verify_table(database.reader, log, STRANGERS)
    assert verdict.status is Status.UNVERIFIABLE
    assert {finding.code.value for finding in verdict.findings} == {"BAD_SIGNATURE"}


def test_progress_is_told_up_to_the_last_row(audit_database):
    log, told = MemoryLog(), []
    audit_database.add(chained(9000))
    seal(audit_database, log)
    verify(audit_database, log, lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {9000}
    done = [done for done, _ in told]
    assert done == sorted(set(done))
    assert len(done) > 1
    assert done[-1] == 9000


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([record(600, "0" * 64)], "record 600 is not chained"),
        ([b"{}"], "holds a line of seq None"),
        ([b'{"seq":600, "_prev":""}'], "not in canonical form"),
        ([b"\xff"], "no record"),
        ([record(601, plain_leaf(LINES[-1]).hex())], "seq 601"),
    ],
)
def test_a_break_is_refused_and_nothing_is_signed(sealed, rows, reason):
    database, log = sealed
    before = dict(log.files)
    database.add(rows, 600)
    with pytest.raises(NotProven, match=reason):
        seal(database, log)
    assert log.files == before


def test_a_gap_is_refused_and_nothing_is_signed(sealed):
    database, log = sealed
    database.add(chained(602, LINES)[601:], 601)
    with pytest.raises(NotProven, match="expected record 600"):
        seal(database, log)
    assert log.paths("checkpoints/") == ["checkpoints/600"]


def test_a_table_shorter_than_its_head_is_not_sealed(sealed):
    database, log = sealed
    database.run("DELETE FROM audit_records WHERE seq = 3")
    with pytest.raises(NotProven, match="599 of the 600"):
        seal(database, log)


def test_a_forged_newest_head_stops_the_sealer(sealed):
    database, log = sealed
    log.files["checkpoints/700"] = b"forged"
    with pytest.raises(NotProven, match="700"):
        seal(database, log)


def test_an_altered_signed_row_does_not_leak_into_later_segments(sealed):
    database, log = sealed
    database.run("UPDATE audit_records SET record = %s WHERE seq = 17", EVIL)
    database.add(chained(610, LINES)[600:], 600)
    seal(database, log)
    assert verification.verify_log(log, TRUST).status is Status.VERIFIED
    assert codes(verify(database, log)) == {("MODIFIED", 17, 1)}


def test_a_tombstone_in_the_unsigned_tail_is_sealed_with_what_follows(sealed):
    database, log = sealed
    grown = chained(605, LINES)
    prev = plain_leaf(LINES[-1]).hex()
    database.add([tombstone_line(600, prev, plain_leaf(grown[600]), "incident", AT)], 600)
    database.add(grown[601:], 601)
    assert seal(database, log).added == 5
    assert verify(database, log).status is Status.VERIFIED


def test_records_chained_to_a_tombstone_for_the_last_signed_record_are_sealed(sealed):
    database, log = sealed
    lost = tombstone_line(599, plain_leaf(LINES[598]).hex(), plain_leaf(LINES[599]), "i", AT)
    database.run("UPDATE audit_records SET record = %s WHERE seq = 599", lost)
    database.add([record(600, plain_leaf(lost).hex())], 600)
    assert seal(database, log).added == 1
    assert codes(verify(database, log)) == {("LOST", 599, 1)}


def test_a_sealer_killed_at_any_write_leaves_the_old_head_and_the_next_run_completes(sealed):
    database, log = sealed
    grown = chained(900, LINES)
    database.add(grown[600:], 600)
    for writes in range(12):
        crashed = CrashingLog(log.files, writes)
        try:
            sealing.seal(database.sealer, crashed, SIGNER, TRUST)
        except KeyboardInterrupt:
            assert latest_head(crashed, TRUST).checkpoint.size == 600
        crashed.writes = 1000
        assert seal(database, crashed).checkpoint.size == 900
        again = verification.verify_log(crashed, TRUST)
        assert (again.status, again.signed) == (Status.VERIFIED, 900)


def test_rows_changed_between_a_crash_and_the_next_run_are_not_sealed_over(sealed):
    database, log = sealed
    database.add(chained(601, LINES)[600:], 600)
    crashed = CrashingLog(log.files, 1)
    with pytest.raises(KeyboardInterrupt):
        seal(database, crashed)
    crashed.writes = 1000
    other = record(600, plain_leaf(LINES[-1]).hex(), session_id="evil")
    database.run("UPDATE audit_records SET record = %s WHERE seq = 600", other)
    with pytest.raises(Conflict):
        seal(database, crashed)


def test_two_sealers_at_once_make_one_history(sealed):
    database, log = sealed
    database.add(chained(800, LINES)[600:], 600)
    results = []
    sealers = [threading.Thread(target=lambda: results.append(seal(database, log))) for _ in "ab"]
    for sealer in sealers:
        sealer.start()
    for sealer in sealers:
        sealer.join(60)
    assert sorted(result.added for result in results) == [0, 200]
    assert len({result.note for result in results}) == 1


def test_sealing_needs_no_right_to_write(sealed):
    database, log = sealed
    with psycopg.connect(database.sealer) as connection, pytest.raises(psycopg.Error):
        connection.execute("DELETE FROM audit_records")
    assert seal(database, log).added == 0


def test_fifty_thousand_records_are_verified_within_a_second(audit_database):
    lines = chained(50_000, pad="x" * 220)
    log = MemoryLog()
    audit_database.add(lines)
    seal(audit_database, log)
    fastest = 60.0
    for _ in range(3):
        began = time.perf_counter()
        verdict = verify(audit_database, log)
        fastest = min(fastest, time.perf_counter() - began)
        assert verdict.status is Status.VERIFIED
    assert fastest < 1.0
    assert len(signed_leaves(log, latest_head(log, TRUST).checkpoint)) == 1_600_000


def test_a_log_of_more_than_one_segment_goes_on_in_aligned_blocks(audit_database):
    log = MemoryLog()
    lines = chained(65_540)
    audit_database.add(lines[:65_530])
    seal(audit_database, log)
    audit_database.add(lines[65_530:], 65_530)
    seal(audit_database, log)
    assert log.paths("seg/") == [
        "seg/0-65530.jsonl.zst",
        "seg/0-65536.jsonl.zst",
        "seg/65536-4.jsonl.zst",
    ]
    checkpoint = latest_head(log, TRUST).checkpoint
    assert [seq for seq, _ in signed_lines(log, checkpoint, 65_534, 65_538)] == [
        65_534,
        65_535,
        65_536,
        65_537,
    ]
    assert lines[0].startswith(b'{"_prev":"' + GENESIS_PREV.encode())
    assert verification.verify_log(log, TRUST).status is Status.VERIFIED
