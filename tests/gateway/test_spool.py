"""The spool: what was answered 202 is never lost, whatever is killed, cut off or damaged."""

import json
import os
import random
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from deployments.gateway.app import build_app
from deployments.gateway.spool import Spool, SpoolFull
from deployments.gateway.spool_records import MAGIC, Record, Whole, pack, piece_at
from deployments.lab.postgres import SUPERUSER, PostgresServer
from deployments.lab.processes import Processes
from tasks.clients.errors import Transient
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import journal, quarantine, responder
from tests.gateway.stack import (
    ALERT_TOKEN,
    free_port,
    new_server,
    pointed_at,
    served,
    until_true,
)

PROJECT = Path(__file__).parents[2]
AT = datetime(2026, 11, 23, 12, 5, 46, 114_000, tzinfo=UTC)
ROOMY = 2**24

RECORDS = st.lists(
    st.builds(
        Record,
        received_at=st.integers(0, 10**16).map(lambda micros: AT + timedelta(microseconds=micros)),
        source=st.text(st.characters(codec="ascii"), max_size=20),
        body=st.binary(max_size=200).filter(lambda body: MAGIC not in body),
    ),
    min_size=1,
    max_size=12,
)


def record(number: int, size: int = 10) -> Record:
    return Record(AT + timedelta(seconds=number), "10.0.0.1#abcd", b"%d" % number + b"x" * size)


def drained(spool: Spool) -> list[Record]:
    """All that waits, in the order in which it is given."""
    records: list[Record] = []
    while (waiting := spool.front()) is not None:
        records += waiting.part.records
        spool.advance(waiting)
    return records


def path_of(directory: Path, number: int = 0) -> Path:
    return directory / f"spool-{number}.log"


@examples(max_examples=40)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_records_come_out_as_they_went_in(batches: list[list[Record]]) -> None:
    with directory() as place:
        spool = Spool.open(place, ROOMY)
        for batch in batches:
            spool.append(batch)
        sent = [one for batch in batches for one in batch]
        assert spool.records == len(sent)
        assert drained(spool) == sent
        assert spool.is_empty
        assert path_of(place).stat().st_size == 0
        spool.close()


@examples(max_examples=40)
@given(RECORDS, st.data())
def test_file_cut_off_anywhere_gives_what_was_whole_and_takes_more(
    records: list[Record], data: st.DataObject
) -> None:
    with directory() as place:
        packed = [pack(one) for one in records]
        cut = data.draw(st.integers(0, sum(map(len, packed))))
        path_of(place).write_bytes(b"".join(packed)[:cut])
        whole = [
            one for place_, one in enumerate(records) if sum(map(len, packed[: place_ + 1])) <= cut
        ]
        spool = Spool.open(place, ROOMY)
        assert path_of(place).stat().st_size == sum(len(pack(one)) for one in whole)
        spool.append([record(7)])
        assert drained(spool) == [*whole, record(7)]
        spool.close()


@examples(max_examples=40)
@given(RECORDS, st.data())
def test_one_damaged_byte_costs_one_record_and_its_bytes_are_kept_aside(
    records: list[Record], data: st.DataObject
) -> None:
    with directory() as place:
        packed = [pack(one) for one in records]
        content = bytearray(b"".join(packed))
        spot = data.draw(st.integers(0, len(content) - 1))
        content[spot] ^= data.draw(st.integers(1, 255))
        path_of(place).write_bytes(content)
        ends = [sum(map(len, packed[: number + 1])) for number in range(len(packed))]
        victim = next(number for number, end in enumerate(ends) if spot < end)
        spool = Spool.open(place, ROOMY)
        waiting = spool.front()
        assert waiting is not None
        assert list(waiting.part.records) == records[:victim] + records[victim + 1 :]
        aside = [spool.keep_aside(waiting, piece) for piece in waiting.part.damaged]
        begin = ends[victim] - len(packed[victim])
        assert b"".join(kept for _, kept in aside) == bytes(content[begin : ends[victim]])
        assert all(path.read_bytes() == kept for path, kept in aside)
        spool.advance(waiting)
        assert spool.is_empty
        spool.close()


def test_records_read_again_after_a_restart_begin_where_the_last_commit_was(
    tmp_path: Path,
) -> None:
    spool = Spool.open(tmp_path, 2**25)
    spool.append([record(number) for number in range(1200)])
    waiting = spool.front()
    assert waiting is not None
    spool.advance(waiting)  # committed
    committed = len(waiting.part.records)
    assert spool.front() is not None  # read, but not committed
    spool.close()
    again = Spool.open(tmp_path, 2**25)
    assert again.records == 1200 - committed
    assert drained(again) == [record(number) for number in range(committed, 1200)]
    again.close()


@pytest.mark.parametrize("offset", ["", "x", "-1", "99999999999", "9" * 5000, "\x00"])
def test_offset_that_cannot_be_reads_everything_again(tmp_path: Path, offset: str) -> None:
    path_of(tmp_path).write_bytes(pack(record(1)) + pack(record(2)))
    path_of(tmp_path).with_suffix(".offset").write_text(offset)
    spool = Spool.open(tmp_path, ROOMY)
    assert drained(spool) == [record(1), record(2)]
    spool.close()


def test_full_spool_adds_nothing_and_has_room_again_when_it_is_drained(tmp_path: Path) -> None:
    size = len(pack(record(0)))
    spool = Spool.open(tmp_path, 3 * size)
    spool.append([record(0), record(1)])
    with pytest.raises(SpoolFull):
        spool.append([record(2), record(3)])
    assert path_of(tmp_path).stat().st_size == 2 * size
    spool.append([record(2)])
    assert drained(spool) == [record(0), record(1), record(2)]
    spool.append([record(3)])
    spool.close()


def test_disk_without_room_adds_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    """The kernel's limit on the size of files stands for the disk."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert done.stdout.split() == ["full", "full"], done.stderr
    spool = Spool.open(tmp_path, ROOMY)
    assert [one.body for one in drained(spool)] == [b"a" * 100, b"c" * 100]
    spool.close()


_FULL_DISK = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from deployments.gateway.spool import Spool, SpoolFull
from deployments.gateway.spool_records import Record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
spool = Spool.open(Path(sys.argv[1]), 10**9)
for letter, size in ((b"a", 100), (b"b", 2000), (b"c", 100), (b"d", 900)):
    try:
        spool.append([Record(datetime.now(UTC), "s", letter * size)])
    except SpoolFull:
        print("full")
"""


def test_files_are_ours_alone_and_strangers_names_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.mkdir(mode=0o755)
    (place / "spool-1.log.bak").write_bytes(pack(record(9)))
    (place / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").write_bytes(pack(record(8)))
    (place / "spool-7.log").symlink_to(tmp_path / "elsewhere")
    spool = Spool.open(place, ROOMY)
    spool.append([record(1)])
    waiting = spool.front()
    assert waiting is not None
    spool.append([record(2)])
    spool.advance(waiting)
    for path in place.glob("spool-0.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert drained(spool) == [record(2)]
    assert (tmp_path / "elsewhere").read_bytes() == pack(record(8))
    assert (place / "spool-1.log.bak").exists()
    spool.close()


def test_symbolic_link_in_the_place_of_our_file_is_refused(tmp_path: Path) -> None:
    path_of(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="SPOOL"):
        Spool.open(tmp_path, ROOMY)
    assert not (tmp_path / "elsewhere").exists()


def test_two_gateways_on_one_directory_use_two_files(tmp_path: Path) -> None:
    one, two = Spool.open(tmp_path, ROOMY), Spool.open(tmp_path, ROOMY)
    one.append([record(1)])
    two.append([record(2)])
    assert drained(one) == [record(1)]
    assert drained(two) == [record(2)]
    one.close()
    two.close()


def test_what_a_dead_gateway_left_is_drained_by_whoever_starts(tmp_path: Path) -> None:
    one, two = Spool.open(tmp_path, ROOMY), Spool.open(tmp_path, ROOMY)
    two.append([record(2)])
    two.close()  # it dies
    three = Spool.open(tmp_path, ROOMY)
    assert drained(three) == [record(2)]
    one.append([record(1)])
    one.close()
    four = Spool.open(tmp_path, ROOMY)
    assert drained(four) == [record(1)]
    four.close()
    three.close()


def test_living_gateway_adopts_what_one_beside_it_left(tmp_path: Path) -> None:
    one, two = Spool.open(tmp_path, ROOMY), Spool.open(tmp_path, ROOMY)
    two.append([record(2)])
    one.adopt()
    assert one.is_empty  # the other lives, and it was looked a moment ago
    two.close()
    one._next_look = 0.0  # half a minute later
    one.adopt()
    assert not one.is_empty
    assert drained(one) == [record(2)]
    one.close()


def test_piece_at_reads_no_more_than_the_record() -> None:
    data = pack(record(1)) + pack(record(2))
    found = piece_at(lambda offset, count: data[offset : offset + count], 0, len(data))
    assert found == Whole(record(1), len(pack(record(1))))


@contextmanager
def directory() -> Iterator[Path]:
    """A new one for each example of a property."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# With a real PostgreSQL


def notification(number: int) -> dict[str, object]:
    alert = {
        "status": "firing",
        "labels": {"alertname": "AuditTrailIntegrityFailure", "number": str(number)},
        "startsAt": "2026-11-23T12:05:46.114Z",
        "fingerprint": f"{number:016x}",
    }
    return {"version": "4", "alerts": [alert]}


def order_of_alerts() -> list[int]:
    """Numbers of the alerts as the journal has them, in its order."""
    (incident,) = journal.all_incidents()
    return [
        int(fact.data["labels"]["number"])
        for fact in journal.read(incident).facts
        if fact.kind is FactKind.ALERT_RECEIVED
    ]


@contextmanager
def own_server(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, name: str, spool: Path
) -> Iterator[PostgresServer]:
    server = new_server(processes, name)
    server.start()
    with pointed_at(server.dsn(SUPERUSER, "postgres"), monkeypatch):
        monkeypatch.setenv("RUNBOOK_GATEWAY__SPOOL", str(spool))
        settings.cache_clear()
        yield server
        if server.child is not None:
            server.kill()


def answering() -> bool:
    try:
        with responder.connection() as connection:
            connection.execute("SELECT 1")
    except Transient:
        return False
    return True


@pytest.mark.components
def test_notifications_wait_on_our_disk_while_postgresql_is_away_and_are_drained_in_order(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    with (
        own_server(lab_processes, monkeypatch, "spooled", tmp_path) as server,
        served(build_app()) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as sender,
    ):
        assert sender.post("/alerts", json=notification(0)).status_code == 200
        server.kill()
        for number in range(1, 30):
            answer = sender.post("/alerts", json=notification(number))
            assert answer.status_code == 202
            assert len(answer.json()["spooled"]) == 64
        assert sender.post("/alerts", content=b"{").status_code == 503  # nowhere to put it
        duplicate = sender.post("/alerts", json=notification(3))
        assert duplicate.status_code == 202
        server.start()
        until_true(lambda: path_of(tmp_path).stat().st_size == 0, 60)
        assert order_of_alerts() == list(range(30))
        assert sender.post("/alerts", json=notification(30)).status_code == 200
        assert sender.post("/alerts", json=notification(5)).json()["duplicate"]


@pytest.mark.components
def test_damaged_record_is_kept_shown_and_opens_an_incident_and_the_others_are_taken(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert database
    bodies = [json.dumps(notification(number)).encode() for number in range(3)]
    packed = [pack(Record(AT, "s", body)) for body in bodies]
    broken = bytearray(packed[1])
    broken[100] ^= 0x40
    path_of(tmp_path).write_bytes(packed[0] + broken + packed[2])
    monkeypatch.setenv("RUNBOOK_GATEWAY__SPOOL", str(tmp_path))
    settings.cache_clear()
    with served(build_app()):
        until_true(lambda: path_of(tmp_path).stat().st_size == 0, 30)
    (kept,) = tmp_path.glob("*.damaged")
    assert kept.read_bytes() == bytes(broken)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    count, (shown,) = quarantine.newest()
    assert (count, shown["size"]) == (1, len(broken))
    assert kept.name in shown["reason"]
    states = {journal.read(name).component: name for name in journal.all_incidents()}
    assert set(states) == {quarantine.COMPONENT, "audit-trail"}
    alerts = [
        fact.data["labels"]["number"]
        for fact in journal.read(states["audit-trail"]).facts
        if fact.kind is FactKind.ALERT_RECEIVED
    ]
    assert alerts == ["0", "2"]


@pytest.mark.components
def test_spooled_body_that_is_not_understood_any_more_is_in_quarantine(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert database
    good = json.dumps(notification(1)).encode()
    path_of(tmp_path).write_bytes(pack(Record(AT, "s", b"{}")) + pack(Record(AT, "s", good)))
    monkeypatch.setenv("RUNBOOK_GATEWAY__SPOOL", str(tmp_path))
    settings.cache_clear()
    with served(build_app()):
        until_true(lambda: path_of(tmp_path).stat().st_size == 0, 30)
    assert quarantine.newest()[0] == 1
    with responder.connection() as connection:
        assert connection.execute("SELECT body FROM notifications").fetchall() == [(good,)]


class Gateway:
    """A gateway process that may be killed and started again on the same port and spool."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.url = f"http://127.0.0.1:{free_port()}"
        self.start()

    def start(self) -> None:
        self.child = self._processes.start(
            "spooling-gateway",
            [sys.executable, "-m", "deployments.gateway"],
            environment=os.environ
            | {
                "PREFECT_API_URL": "http://127.0.0.1:9/api",
                "RUNBOOK_GATEWAY__URL": self.url,
                "RUNBOOK_GATEWAY__WARM_CHILDREN": "1",
            },
            directory=PROJECT,
        )

    def kill(self) -> None:
        self.child.kill()
        self._processes.forget(self.child)


def post(url: str, number: int) -> int:
    """The status of one attempt; 0 when nobody answers."""
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    try:
        answer = httpx.post(f"{url}/alerts", json=notification(number), headers=headers, timeout=60)
    except httpx.TransportError:
        return 0
    return answer.status_code


@pytest.mark.flows
def test_killed_gateway_loses_nothing_of_what_it_spooled_from_its_very_start(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_server(lab_processes, monkeypatch, "killed-spooling", tmp_path) as server:
        server.kill()  # PostgreSQL is away before the gateway begins
        gateway = Gateway(lab_processes)
        gateway.child.wait_ready(lambda: post(gateway.url, 0) == 202, 60)
        assert [post(gateway.url, number) for number in range(1, 12)] == [202] * 11
        gateway.kill()
        server.start()
        with served(build_app()):  # the next one on this directory
            until_true(lambda: path_of(tmp_path).stat().st_size == 0, 60)
        assert order_of_alerts() == list(range(12))


@pytest.mark.flows
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gateway_and_postgresql_killed_at_random_lose_and_double_nothing(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chance = random.Random(20261123)
    count = 120
    with own_server(lab_processes, monkeypatch, "random-spooling", tmp_path) as server:
        gateway = Gateway(lab_processes)
        gateway.child.wait_ready(lambda: post(gateway.url, 0) in {200, 202}, 60)
        over = threading.Event()

        def trouble() -> None:
            while not over.is_set():
                time.sleep(chance.uniform(0.2, 1.5))
                if chance.random() < 0.5:
                    gateway.kill()
                    gateway.start()
                    time.sleep(chance.uniform(1.0, 4.0))
                elif server.child is not None:
                    server.kill()
                else:
                    server.start()

        troubles = threading.Thread(target=trouble)
        troubles.start()
        statuses: set[int] = set()
        try:
            for number in range(1, count):
                deadline = time.monotonic() + 120
                while (status := post(gateway.url, number)) not in {200, 202}:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                statuses.add(status)
                time.sleep(0.02)
        finally:
            over.set()
            troubles.join()
        assert statuses == {200, 202}
        if server.child is None:
            server.start()
        until_true(answering, 60)
        until_true(lambda: path_of(tmp_path).stat().st_size == 0, 90)
        with responder.connection() as connection:
            row = connection.execute("SELECT count(*) FROM notifications").fetchone()
        assert row == (count,)
        assert sorted(order_of_alerts()) == list(range(count))
        gateway.kill()
