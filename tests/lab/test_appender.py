"""No sequence number is used twice, and nothing is appended to a table that lost records."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

import psycopg
import pytest

from deployments.lab.audit_appender import Appender, Unavailable
from deployments.lab.dataset import events
from deployments.lab.patient import DATABASE
from deployments.lab.stack import ORIGIN, Lab
from tasks.domain.ledger import leaf_hash, parse_line, tombstone_line
from tests.conftest import RECORDS

pytestmark = pytest.mark.components

_BATCH = list(islice(events(42), 10))
_OTHER = list(islice(events(43), 10))


@contextmanager
def _appending(dsn: str, hold_seconds: float = 5) -> Iterator[Appender]:
    appender = Appender(dsn, ORIGIN, hold_seconds)
    yield appender
    appender.close()


@pytest.fixture
def appender(patient: Lab) -> Iterator[Appender]:
    with _appending(patient.patient.dsn("audit_api", DATABASE), hold_seconds=0.5) as made:
        yield made


def _size(database: psycopg.Connection) -> int:
    row = database.execute("SELECT count(*), max(seq) + 1 FROM audit_records").fetchone()
    assert row is not None
    assert row[0] == row[1], "a number is missing or was used twice"
    return int(row[0])


def _end_sessions(database: psycopg.Connection) -> None:
    database.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'audit_api'"
    )


class _Cutter:
    """A TCP proxy that cuts the first connection on which an INSERT is seen."""

    def __init__(self, port: int, *, deliver: bool) -> None:
        self._port = port
        self._deliver = deliver
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for source, target, cutting in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pump, args=(source, target, cutting), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, cutting: bool) -> None:
        with source, target:
            try:
                while data := source.recv(65536):
                    if cutting and not self.cuts and b"INSERT INTO audit_records" in data:
                        self.cuts += 1
                        if self._deliver:
                            target.sendall(data)
                            time.sleep(0.3)  # committed, and nobody hears of it
                        target.shutdown(socket.SHUT_RDWR)
                        source.shutdown(socket.SHUT_RDWR)
                        return
                    target.sendall(data)
            except OSError:
                return


@pytest.mark.parametrize("delivered", [True, False])
def test_a_batch_in_doubt_is_written_exactly_once(
    patient: Lab, database: psycopg.Connection, delivered: bool
) -> None:
    cutter = _Cutter(patient.patient.port, deliver=delivered)
    dsn = patient.patient.dsn("audit_api", DATABASE)
    through = dsn.replace(f":{patient.patient.port}/", f":{cutter.port}/")
    with _appending(through) as appender:
        receipts = appender.append(_BATCH)
        more = appender.append(_OTHER)
    cutter.close()
    assert cutter.cuts == 1
    assert _size(database) == RECORDS + 20
    rows = database.execute(
        "SELECT encode(leaf, 'hex'), record FROM audit_records WHERE seq >= %s ORDER BY seq",
        (RECORDS,),
    ).fetchall()
    assert [row[0] for row in rows] == [receipt.leaf for receipt in receipts + more]
    ids = [parse_line(row[1])["event_id"] for row in rows]
    assert ids == [event["event_id"] for event in _BATCH + _OTHER]


def test_after_a_lost_connection_appending_goes_on(
    appender: Appender, database: psycopg.Connection
) -> None:
    appender.append(_BATCH)
    _end_sessions(database)
    receipts = appender.append(_OTHER)
    assert receipts[0].seq == RECORDS + 10
    assert _size(database) == RECORDS + 20


def test_a_table_that_lost_acknowledged_records_is_refused_until_they_are_back(
    appender: Appender, database: psycopg.Connection
) -> None:
    appender.append(_BATCH)
    database.execute(
        "CREATE TABLE saved AS SELECT * FROM audit_records WHERE seq >= %s", (RECORDS + 7,)
    )
    database.execute("DELETE FROM audit_records WHERE seq >= %s", (RECORDS + 7,))
    _end_sessions(database)
    with pytest.raises(Unavailable, match="shorter than what was acknowledged"):
        appender.append(_OTHER)
    assert _size(database) == RECORDS + 7
    database.execute("INSERT INTO audit_records SELECT * FROM saved")
    assert appender.append(_OTHER)[0].seq == RECORDS + 10
    assert _size(database) == RECORDS + 20


def test_another_last_record_than_the_acknowledged_one_is_refused(
    appender: Appender, database: psycopg.Connection
) -> None:
    appender.append(_BATCH)
    database.execute(
        "UPDATE audit_records SET record = record || ' ' WHERE seq = %s", (RECORDS + 9,)
    )
    _end_sessions(database)
    with pytest.raises(Unavailable, match="not the one that was acknowledged"):
        appender.append(_OTHER)
    assert _size(database) == RECORDS + 10


def test_a_recovered_table_with_tombstones_is_adopted(
    appender: Appender, database: psycopg.Connection
) -> None:
    appender.append(_BATCH)
    lost = RECORDS + 9
    row = database.execute(
        "SELECT encode(leaf, 'hex') FROM audit_records WHERE seq = %s", (lost - 1,)
    ).fetchone()
    assert row is not None
    line = tombstone_line(lost, row[0], None, "INC-1", datetime.now(UTC))
    database.execute(
        "UPDATE audit_records SET record = %s, leaf = %s WHERE seq = %s",
        (line, leaf_hash(line), lost),
    )
    _end_sessions(database)
    assert appender.append(_OTHER)[0].seq == lost + 1
    assert _size(database) == RECORDS + 20


def test_a_longer_table_is_adopted(
    patient: Lab, appender: Appender, database: psycopg.Connection
) -> None:
    appender.append(_BATCH)
    with _appending(patient.patient.dsn("audit_api", DATABASE)) as second:
        second.append(_OTHER)
    third = list(islice(events(44), 3))
    assert appender.append(third)[0].seq == RECORDS + 20
    assert _size(database) == RECORDS + 23


def test_without_the_table_a_request_is_held_and_then_told_to_come_again(
    appender: Appender, database: psycopg.Connection
) -> None:
    database.execute("ALTER TABLE audit_records RENAME TO away")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        appender.append(_BATCH)
    assert 0.2 < time.monotonic() - began < 5
    database.execute("ALTER TABLE away RENAME TO audit_records")
    assert appender.append(_BATCH)[-1].seq == RECORDS + 9


def test_a_request_that_is_held_ends_well_when_the_table_comes_back(
    patient: Lab, database: psycopg.Connection
) -> None:
    database.execute("ALTER TABLE audit_records RENAME TO away")
    back = threading.Timer(0.5, database.execute, ["ALTER TABLE away RENAME TO audit_records"])
    back.start()
    with _appending(patient.patient.dsn("audit_api", DATABASE), hold_seconds=20) as appender:
        assert appender.append(_BATCH)[0].seq == RECORDS
    back.join()


def test_a_batch_that_a_missing_table_holds_up_is_a_write_error_once_and_before_its_end(
    patient: Lab, database: psycopg.Connection
) -> None:
    counted: list[float] = []
    database.execute("ALTER TABLE audit_records RENAME TO away")
    dsn = patient.patient.dsn("audit_api", DATABASE)
    appender = Appender(dsn, ORIGIN, 2, lambda: counted.append(time.monotonic()))
    with pytest.raises(Unavailable):
        appender.append(_BATCH)
    ended = time.monotonic()
    database.execute("ALTER TABLE away RENAME TO audit_records")
    appender.append(_OTHER)
    appender.close()
    (at,) = counted
    assert ended - at > 1


def test_a_lost_connection_is_no_write_error(patient: Lab, database: psycopg.Connection) -> None:
    counted: list[None] = []
    dsn = patient.patient.dsn("audit_api", DATABASE)
    appender = Appender(dsn, ORIGIN, 20, lambda: counted.append(None))
    appender.append(_BATCH)
    _end_sessions(database)
    appender.append(_OTHER)
    appender.close()
    assert counted == []
