"""What a lab lacks, on a server of its own: archiving that fails, slots, prepared transactions."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from deployments.lab.postgres import PATIENT, SUPERUSER, PostgresServer, init_cluster
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tasks.clients.database_activity import Look, read_activity
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_limits import Limits
from tasks.domain.database_readings import DatabaseReadings, known
from tests.room import open_place

pytestmark = [pytest.mark.components, pytest.mark.slow]

_OPTIONS = {
    "shared_preload_libraries": "pg_stat_statements",
    "max_prepared_transactions": "5",
    "archive_mode": "on",
    "archive_command": "false",
    "wal_level": "replica",
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    path = open_place() / f"test-upkeep-{os.getpid()}"
    directory = StateDirectory.take(path)
    processes = Processes(directory)
    try:
        data = path / "data"
        init_cluster(processes, data, "secret")
        made = PostgresServer("upkeep", data, processes, PATIENT | _OPTIONS, {SUPERUSER: "secret"})
        made.start()
        made.add_login("watcher")
        made.add_login("coordinator")
        with made.connect() as admin:
            admin.execute("GRANT pg_monitor TO watcher")
            admin.execute("CREATE EXTENSION pg_stat_statements")
            admin.execute("CREATE TABLE bills (id int PRIMARY KEY)")
            admin.execute("INSERT INTO bills VALUES (1)")
            admin.execute("GRANT ALL ON bills TO coordinator")
        yield made
    finally:
        processes.stop_all()
        directory.release()
        shutil.rmtree(path, ignore_errors=True)


def seen_on(server: PostgresServer) -> DatabaseReadings:
    return read_activity(Look(server.dsn("watcher", "postgres"), growth_seconds=0.0))


def test_a_prepared_transaction_at_the_root_is_named_and_left_to_its_coordinator(
    server: PostgresServer,
) -> None:
    dsn = server.dsn("coordinator", "postgres")
    with psycopg.connect(dsn, autocommit=True) as client:
        client.execute("BEGIN")
        client.execute("UPDATE bills SET id = 1")
        client.execute("PREPARE TRANSACTION 'bill-7'")
    with psycopg.connect(dsn, autocommit=True) as waiter:
        waiter.pgconn.send_query(b"UPDATE bills SET id = 2")
        time.sleep(0.5)
        (cause,) = (
            each
            for each in diagnose(seen_on(server), "database/x", Limits(lock_wait_seconds=0.1))
            if each.code == "db.lock-storm"
        )
        assert cause.remedy is None
        assert "a prepared transaction (bill-7) blocks 1" in cause.summary
        with server.connect() as admin:
            admin.execute("ROLLBACK PREPARED 'bill-7'")
        while waiter.pgconn.get_result() is not None:
            pass


def test_archiving_that_fails_and_a_slot_that_nobody_reads_are_found(
    server: PostgresServer,
) -> None:
    with server.connect() as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        admin.execute("CREATE TABLE filler AS SELECT generate_series(1, 1000) AS n")
        admin.execute("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 30
    while not (archiver := known(seen_on(server).archiver)) or not archiver.failed:
        assert time.monotonic() < deadline, "the archiver has not failed yet"
        time.sleep(0.2)
    limits = replace(Limits(), retained_bytes=1)
    found = {each.code: each for each in diagnose(seen_on(server), "database/x", limits)}
    assert archiver.last_failed_wal in found["db.archiver-failing"].summary
    assert "slot forgotten" in found["db.slot-retains-wal"].summary
    assert "nobody reads it" in found["db.slot-retains-wal"].summary


def test_statements_are_counted_and_show_no_values(server: PostgresServer) -> None:
    with server.connect() as admin, suppress(psycopg.Error):
        admin.execute("SELECT pg_sleep(0.05), 'alice@example.org'")
        admin.execute("CREATE ROLE x PASSWORD 'verysecret'")
    seen = seen_on(server)
    statements = known(seen.statements)
    assert statements
    assert any("pg_sleep" in each.query for each in statements)
    said = " ".join(each.query for each in statements)
    assert "alice" not in said
    assert "verysecret" not in said
    assert seen.unread() == {"backups": "not looked at"}
