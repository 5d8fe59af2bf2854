"""Sealing with witnesses: a quorum before a head, and what stops it; two sealers; crashes."""

import base64
import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from deployments.lab.environment import PROJECT, clean_environment
from tasks.clients.errors import Conflict, Transient
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteSigner, Status, Trust, signature_line
from tasks.work import verification
from tasks.work.cosigning import Witnesses
from tasks.work.log_heads import COSIGNED, latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.sealing import Sealer, SealResult, seal_table
from tests.clients import loopback
from tests.domain.ledger.sample_log import SIGNER, MemoryLog, chained
from tests.postgres_fixture import AuditDatabase
from tests.tasks.sealing.witnessing import WitnessProcess, trusting

pytestmark = pytest.mark.components

LINES = chained(500)
OTHER_LINES = [*LINES[:100], *chained(500, LINES[:100], session_id="another history")[100:]]


class CrashingLog(MemoryLog):
    """Stands for a sealer that is killed before its n-th write."""

    def __init__(self, files: dict[str, bytes], writes: int) -> None:
        super().__init__(files)
        self.writes = writes

    def write(self, path: str, data: bytes) -> None:
        if self.writes == 0:
            raise KeyboardInterrupt
        self.writes -= 1
        super().write(path, data)


class WitnessedOnlyLog(MemoryLog):
    """Stands for a sealer that is killed after the witnesses' answers, before the head's write."""

    def write(self, path: str, data: bytes) -> None:
        if path.startswith("checkpoints/"):
            raise KeyboardInterrupt
        super().write(path, data)


def seal(
    database: AuditDatabase, log: MemoryLog | DirectoryLog, trust: Trust, *urls: str
) -> SealResult:
    witnesses = Witnesses(urls, timeout_seconds=5)
    return seal_table(database.sealer, Sealer(log, SIGNER, trust, witnesses))


def test_a_head_is_written_with_the_cosignatures_of_its_quorum(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    trust = trusting(witness, other_witness, quorum=2)
    log = MemoryLog()
    for first, last in ((0, 300), (300, 301), (301, 500)):
        audit_database.add(LINES[first:last], first)
        result = seal(audit_database, log, trust, witness.url, other_witness.url)
        assert log.files[f"checkpoints/{last}"].decode() == result.note
    head = latest_head(log, trust)
    assert head.checkpoint.size == 500
    assert len(head.cosigned) == 2
    assert verification.verify_log(log, trust).status is Status.VERIFIED


def test_an_empty_log_is_witnessed_too_and_grows(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust, log = trusting(witness, quorum=1), MemoryLog()
    assert seal(audit_database, log, trust, witness.url).checkpoint.size == 0
    audit_database.add(LINES[:3])
    assert seal(audit_database, log, trust, witness.url).added == 3


def test_without_a_quorum_there_is_no_head_and_the_error_says_who_said_what(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    trust, log = trusting(witness, other_witness, quorum=2), MemoryLog()
    audit_database.add(LINES)
    other_witness.kill()
    with pytest.raises(Transient, match=rf"found 1.*{other_witness.url}"):
        seal(audit_database, log, trust, witness.url, other_witness.url)
    assert log.paths("checkpoints/") == []
    other_witness.start()
    assert seal(audit_database, log, trust, witness.url, other_witness.url).added == 500


def test_a_quorum_does_without_a_witness_that_is_away_and_it_catches_up(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    trust, log = trusting(witness, other_witness, quorum=1), MemoryLog()
    urls = (witness.url, other_witness.url)
    other_witness.kill()
    for first, last in ((0, 200), (200, 400)):
        audit_database.add(LINES[first:last], first)
        seal(audit_database, log, trust, *urls)
    other_witness.start()
    audit_database.add(LINES[400:], 400)
    seal(audit_database, log, trust, *urls)
    assert len(latest_head(log, trust).cosigned) == 2


def test_a_quorum_of_witnesses_that_nobody_asks_is_no_quorum(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    audit_database.add(LINES)
    log = MemoryLog()
    with pytest.raises(NotProven, match="no other witness is named"):
        seal(audit_database, log, trusting(witness, quorum=1))
    assert log.paths("checkpoints/") == []


def test_a_witness_does_not_count_twice(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    audit_database.add(LINES)
    trust, log = trusting(witness, other_witness, quorum=2), MemoryLog()
    with pytest.raises(NotProven, match="found 1"):
        seal(audit_database, log, trust, witness.url, witness.url + "/")
    assert log.paths("checkpoints/") == []


def test_a_second_history_is_refused_by_the_witness_and_not_sealed(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    trust = trusting(witness, other_witness, quorum=1)
    audit_database.add(LINES[:400])
    seal(audit_database, MemoryLog(), trust, witness.url)
    audit_database.run("TRUNCATE audit_records")
    audit_database.add(OTHER_LINES)
    for lines in (500, 400):
        audit_database.run("DELETE FROM audit_records WHERE seq >= %s", lines)
        log = MemoryLog()
        with pytest.raises(NotProven, match=rf"contradicts.*{witness.url}"):
            # even where the others would be enough for the quorum
            seal(audit_database, log, trust, witness.url, other_witness.url)
        assert log.paths("checkpoints/") == []


def test_records_lost_after_they_were_witnessed_are_not_sealed_over(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust = trusting(witness, quorum=1)
    audit_database.add(LINES)
    log = WitnessedOnlyLog()
    with pytest.raises(KeyboardInterrupt):
        seal(audit_database, log, trust, witness.url)
    audit_database.run("DELETE FROM audit_records WHERE seq >= 450")
    with pytest.raises(NotProven, match="more than the 450 to be sealed"):
        seal(audit_database, MemoryLog(log.files), trust, witness.url)


@pytest.mark.parametrize("more", [0, 1, 100])
def test_a_witness_that_is_ahead_after_a_crash_is_asked_from_where_it_is(
    audit_database: AuditDatabase, witness: WitnessProcess, more: int
) -> None:
    trust, log = trusting(witness, quorum=1), MemoryLog()
    audit_database.add(LINES[:300])
    seal(audit_database, log, trust, witness.url)
    audit_database.add(LINES[300:400], 300)
    crashed = WitnessedOnlyLog(log.files)
    with pytest.raises(KeyboardInterrupt):
        seal(audit_database, crashed, trust, witness.url)
    assert latest_head(crashed, trust).checkpoint.size == 300
    audit_database.add(LINES[400 : 400 + more], 400)
    again = MemoryLog(crashed.files)
    assert seal(audit_database, again, trust, witness.url).checkpoint.size == 400 + more
    assert verification.verify_log(again, trust).status is Status.VERIFIED


def test_a_sealer_killed_at_any_write_leaves_old_or_new_head_and_the_next_completes(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust, files, size = trusting(witness, quorum=1), {}, 0
    for writes in range(8):
        first, size = size, size + 60
        audit_database.add(LINES[first:size], first)
        crashed = CrashingLog(files, writes)
        try:
            seal(audit_database, crashed, trust, witness.url)
        except KeyboardInterrupt:
            if first:
                assert latest_head(crashed, trust).checkpoint.size == first
        crashed.writes = 1000
        assert seal(audit_database, crashed, trust, witness.url).checkpoint.size == size
        files = crashed.files
    assert verification.verify_log(MemoryLog(files), trust).signed == size


def test_a_wrong_cosignature_is_not_counted(
    audit_database: AuditDatabase, witness: WitnessProcess, other_witness: WitnessProcess
) -> None:
    audit_database.add(LINES)
    lying = NoteSigner.from_seed("witness.example/liar", bytes(32), witness.signer.verifier.type)
    other_text = signature_line("another text\n", lying, datetime.now(UTC))
    with loopback.answering(loopback.sending(loopback.http(200, other_text.encode()))) as port:
        trust = trusting(witness, other_witness, quorum=1)
        trust = replace(trust, witnesses=(*trust.witnesses, lying.verifier), quorum=2)
        liar = f"http://127.0.0.1:{port}"
        log = MemoryLog()
        with pytest.raises(NotProven, match=rf"found 1.*{liar}.*signature"):
            seal(audit_database, log, trust, witness.url, liar)
        assert log.paths("checkpoints/") == []
        note = seal(audit_database, log, trust, witness.url, liar, other_witness.url).note
    assert "liar" not in note


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (loopback.http(200, b""), NotProven, "no signature"),
        (loopback.http(200, b"\xff"), NotProven, "UTF-8"),
        (loopback.http(200, b"x" * 100_000), NotProven, "100000 bytes"),
        (loopback.http(200, b"hello\n"), NotProven, "refused"),
        (loopback.http(409, b"7\n"), NotProven, "text/x.tlog.size"),
        (loopback.http(409, b"0\n", "content-type: text/x.tlog.size"), NotProven, "from 0"),
        (loopback.http(409, b"1\n", "content-type: text/x.tlog.size"), Transient, "moves all"),
        (loopback.http(409, b"many", "content-type: text/x.tlog.size"), NotProven, "size"),
        (loopback.http(409, b"900\n", "content-type: text/x.tlog.size"), NotProven, "more than"),
        (loopback.http(403, b""), NotProven, "give the witness the log's key"),
        (loopback.http(404, b""), NotProven, "origin"),
        (loopback.http(400, b"no"), NotProven, "400"),
        (loopback.http(429, b""), Transient, "429"),
        (loopback.http(500, b""), Transient, "500"),
        (loopback.http(302, b"", "location: http://127.0.0.1:1/"), NotProven, "302"),
        (b"", Transient, "answer"),
    ],
)
def test_each_odd_answer_is_told_and_nothing_is_sealed(
    audit_database: AuditDatabase,
    witness: WitnessProcess,
    answer: bytes,
    error: type[Exception],
    told: str,
) -> None:
    audit_database.add(LINES[:5])
    log = MemoryLog()
    replies = iter((answer, answer.replace(b"1\n", b"2\n"), answer))
    with (
        loopback.answering(lambda connection: connection.sendall(next(replies))) as port,
        pytest.raises(error, match=told),
    ):
        seal(audit_database, log, trusting(witness, quorum=1), f"http://127.0.0.1:{port}")
    assert log.paths("checkpoints/") == []


def test_a_stored_head_without_the_quorum_is_not_continued(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    log = MemoryLog()
    audit_database.add(LINES[:300])
    seal(audit_database, log, trusting(witness, quorum=0))
    audit_database.add(LINES[300:], 300)
    with pytest.raises(NotProven, match="cosignatures by 1 of 1"):
        seal(audit_database, log, trusting(witness, quorum=1), witness.url)
    assert log.paths("checkpoints/") == ["checkpoints/300"]


def test_witnesses_are_introduced_by_a_sealing_before_their_quorum(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    log = MemoryLog()
    audit_database.add(LINES[:300])
    seal(audit_database, log, trusting(witness, quorum=0))
    audit_database.add(LINES[300:400], 300)
    seal(audit_database, log, trusting(witness, quorum=0), witness.url)
    audit_database.add(LINES[400:], 400)
    trust = trusting(witness, quorum=1)
    assert seal(audit_database, log, trust, witness.url).added == 100
    assert verification.verify_log(log, trust).status is Status.VERIFIED


def test_a_quiet_log_is_cosigned_again_before_it_looks_abandoned(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    day = trusting(witness, quorum=1, max_age=timedelta(days=1))
    log = MemoryLog()
    audit_database.add(LINES)
    first = seal(audit_database, log, day, witness.url)
    assert seal(audit_database, log, day, witness.url).note == first.note
    assert log.paths(COSIGNED) == []

    instant = replace(day, max_age=timedelta(microseconds=1))  # as if the day was half over
    again = seal(audit_database, log, instant, witness.url)
    assert (again.checkpoint, again.added) == (first.checkpoint, 0)
    (path,) = log.paths(COSIGNED)
    assert log.files[path].decode() == again.note
    assert log.files["checkpoints/500"].decode() == first.note
    assert verification.verify_log(log, day).status is Status.VERIFIED


def test_the_newest_cosignatures_tell_how_fresh_a_head_is(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust = trusting(witness, quorum=1, max_age=timedelta(hours=1))
    log = MemoryLog()
    audit_database.add(LINES)
    seal(audit_database, log, trust, witness.url)
    head = latest_head(log, trust)
    two_hours_on = datetime.now(UTC) + timedelta(hours=2)
    assert trust.staleness(head.cosigned, two_hours_on)
    text = head.checkpoint.text
    line = signature_line(text, witness.signer, two_hours_on)
    by_log = head.note[len(text) + 1 :].splitlines(keepends=True)[0]
    log.files[f"{COSIGNED}500-{int(two_hours_on.timestamp())}"] = f"{text}\n{by_log}{line}".encode()
    for junk in ("nonsense", "500-9", "500-999999999", "7-1"):
        log.files[COSIGNED + junk] = b"\xff"
    replayed = int(two_hours_on.timestamp()) + 9
    log.files[f"{COSIGNED}500-{replayed}"] = head.note.encode()  # older, under a newer name
    merged = latest_head(log, trust)
    assert not trust.staleness(merged.cosigned, two_hours_on)
    assert merged.note == head.note


def test_a_quiet_log_whose_witness_is_away_says_so(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust = trusting(witness, quorum=1, max_age=timedelta(microseconds=1))
    log = MemoryLog()
    audit_database.add(LINES)
    seal(audit_database, log, trust, witness.url)
    witness.kill()
    with pytest.raises(Transient, match=witness.url):
        seal(audit_database, log, trust, witness.url)


_PROCESS = """
import json, sys
from pathlib import Path
from tests.domain.ledger.sample_log import SIGNER
from tasks.domain.ledger import Trust
from tasks.work.cosigning import Witnesses
from tasks.work.log_store import DirectoryLog
from tasks.work.sealing import Sealer, seal_table
job = json.load(sys.stdin)
trust = Trust.parse(job["trust"])
sealer = Sealer(DirectoryLog(job["log"]), SIGNER, trust, Witnesses((job["witness"],)))
print(seal_table(job["dsn"], sealer).checkpoint.root.hex())
"""


def sealing_process(dsn: str, home: Path, witness: WitnessProcess) -> subprocess.Popen[str]:
    policy = witness.log.read_text() + (
        f'[[witnesses]]\nkey = "{witness.signer.verifier.encoded}"\n'
    )
    job = {
        "dsn": dsn,
        "log": str(home / "log"),
        "witness": witness.url,
        "trust": f"quorum = 1\n{policy}",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env=clean_environment(),
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job))
    process.stdin.flush()
    return process


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, errors = process.communicate(timeout=60)
    return process.returncode, said.strip(), errors


def test_two_sealers_in_two_processes_make_one_history(
    audit_database: AuditDatabase, witness: WitnessProcess, tmp_path: Path
) -> None:
    audit_database.add(LINES)
    both = [sealing_process(audit_database.sealer, tmp_path, witness) for _ in "ab"]
    ended = [outcome(each) for each in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert len({root for _, root, _ in ended}) == 1
    log = DirectoryLog(tmp_path / "log")
    assert log.paths("checkpoints/") == ["checkpoints/500"]
    trust = trusting(witness, quorum=1)
    assert verification.verify_log(log, trust).status is Status.VERIFIED


def copied(database: AuditDatabase, server: str, name: str) -> AuditDatabase:
    """The same rows in a second database, whose advisory locks are others."""
    source = database.owner.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    dsns = (database.owner, database.reader, database.sealer)
    return AuditDatabase(*(f"{each.rpartition('/')[0]}/{name}" for each in dsns))


def test_sealers_without_a_common_database_do_not_fork_the_log(
    audit_database: AuditDatabase, postgres_server: str, witness: WitnessProcess, tmp_path: Path
) -> None:
    audit_database.add(LINES[:400])
    names = [f"copy_{time.monotonic_ns()}_{each}" for each in "ab"]
    same, other = (copied(audit_database, postgres_server, name) for name in names)
    other.run("DELETE FROM audit_records WHERE seq >= 100")
    other.add(OTHER_LINES[100:], 100)
    both = [sealing_process(each.sealer, tmp_path, witness) for each in (audit_database, same)]
    ended = [outcome(each) for each in both]
    assert 0 in {code for code, _, _ in ended}, ended
    log, trust = DirectoryLog(tmp_path / "log"), trusting(witness, quorum=1)
    with pytest.raises(NotProven):
        seal(other, log, trust, witness.url)
    with pytest.raises(NotProven):  # another place for the files does not help: the witness knows
        seal(other, MemoryLog(), trust, witness.url)
    assert log.paths("checkpoints/") == ["checkpoints/400"]
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_sealer_that_finds_its_head_written_by_another_takes_that_one(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust, audit = trusting(witness, quorum=1), MemoryLog()
    audit_database.add(LINES)

    class Raced(MemoryLog):
        """Another sealer, with a database of its own, writes the same head a moment before."""

        def write(self, path: str, data: bytes) -> None:
            if path == "checkpoints/500" and path not in self.files:
                text, _, lines = data.decode().partition("\n\n")
                by_log = lines.splitlines(keepends=True)[0]
                at = datetime.now(UTC) - timedelta(minutes=1)
                line = signature_line(f"{text}\n", witness.signer, at)
                self.files[path] = f"{text}\n\n{by_log}{line}".encode()
            super().write(path, data)

    log = Raced(audit.files)
    assert (
        seal(audit_database, log, trust, witness.url).note == log.files["checkpoints/500"].decode()
    )


def test_a_head_of_the_same_size_by_nobody_known_stops_the_sealer(
    audit_database: AuditDatabase, witness: WitnessProcess
) -> None:
    trust = trusting(witness, quorum=1)
    audit_database.add(LINES)

    class Forged(MemoryLog):
        def write(self, path: str, data: bytes) -> None:
            if path == "checkpoints/500":
                self.files[path] = b"forged" + base64.b64encode(bytes(10))
            super().write(path, data)

    with pytest.raises(Conflict, match="another checkpoint 500"):
        seal(audit_database, Forged(), trust, witness.url)
