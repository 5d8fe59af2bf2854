"""Rows by psql in the caller's snapshot: the same bytes, the same errors, nothing left running."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tasks.clients.copy_out import copied
from tasks.clients.dump_tools import find_program
from tasks.clients.errors import Denied, Malformed, NotFound, Transient
from tasks.settings import settings
from tasks.work import audit_table
from tests.domain.ledger.sample_log import chained
from tests.postgres_fixture import AuditDatabase, postgres_programs

pytestmark = pytest.mark.components

LINES = chained(600)
ROWS = sql.SQL("SELECT seq, {} FROM audit_records ORDER BY seq").format(sql.SQL("record"))
ENDLESS = sql.SQL("SELECT g, {} FROM generate_series(1, 100000000) AS g").format(
    sql.SQL("repeat('x', 1000)::bytea")
)


@pytest.fixture
def psql(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RUNBOOK_DATABASE__CLIENT_BINARIES", str(postgres_programs()))
    settings.cache_clear()
    yield find_program("psql", postgres_programs())
    settings.cache_clear()


@pytest.fixture
def table(audit_database: AuditDatabase) -> AuditDatabase:
    audit_database.add(LINES)
    return audit_database


def rows_of(database: AuditDatabase, first: int | None, *, bulk: bool) -> list[tuple[int, bytes]]:
    with audit_table.reading(database.reader) as connection, audit_table.snapshot(connection):
        batches = audit_table.stored_rows(connection, first, bulk=bulk)
        return [row for seqs, lines in batches for row in zip(seqs, lines, strict=True)]


def read_whole(
    database: AuditDatabase, query: sql.Composed, psql: Path, meanwhile: str = ""
) -> None:
    with (
        audit_table.reading(database.reader) as connection,
        audit_table.snapshot(connection),
        copied(connection, query, psql, ()) as read,
    ):
        if meanwhile:
            assert read()
            database.run(meanwhile)
        while read():
            pass


def sessions(database: AuditDatabase) -> int:
    with psycopg.connect(database.owner) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %' AND state = 'active'"
            " AND datname = current_database()"
        ).fetchone()
    return found[0] if found else 0


@pytest.mark.usefixtures("psql")
@pytest.mark.parametrize("first", [None, 0, 590, 700])
def test_psql_and_the_connection_itself_give_the_same_rows(
    table: AuditDatabase, first: int | None
) -> None:
    table.run("ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey")
    table.run("ALTER TABLE audit_records ALTER seq DROP NOT NULL, ALTER record DROP NOT NULL")
    table.run("INSERT INTO audit_records (seq, record, leaf) SELECT 610, NULL, leaf"
              " FROM audit_records LIMIT 1")  # fmt: skip
    table.run("INSERT INTO audit_records (seq, record, leaf) SELECT NULL, record, leaf"
              " FROM audit_records WHERE seq = 3")  # fmt: skip
    found = rows_of(table, first, bulk=True)
    assert found == rows_of(table, first, bulk=False)
    expected = list(enumerate(LINES))[first or 0 :] + [(610, b"")] * ((first or 0) <= 610)
    assert found == [*expected, (-1, LINES[3])]


def test_a_machine_without_psql_reads_the_same_rows(
    table: AuditDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_DATABASE__CLIENT_BINARIES", str(tmp_path))
    settings.cache_clear()
    assert rows_of(table, None, bulk=True) == list(enumerate(LINES))
    settings.cache_clear()


def test_a_tail_is_read_without_the_rows_before_it(table: AuditDatabase) -> None:
    with audit_table.reading(table.reader) as connection, audit_table.snapshot(connection):
        assert sum(len(seqs) for seqs, _ in audit_table.stored_rows(connection, 590)) == 10
        read = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = 'audit_records'"
        ).fetchone()
    assert read == (10,)


@pytest.mark.usefixtures("psql")
def test_what_is_written_after_the_snapshot_is_not_read(table: AuditDatabase) -> None:
    with audit_table.reading(table.reader) as connection, audit_table.snapshot(connection):
        table.run("DELETE FROM audit_records WHERE seq >= 3")
        batches = audit_table.stored_rows(connection, bulk=True)
        assert sum(len(seqs) for seqs, _ in batches) == 600


def test_a_reader_that_stops_half_way_ends_psql_and_its_session(
    table: AuditDatabase, psql: Path
) -> None:
    with audit_table.reading(table.reader) as connection, audit_table.snapshot(connection):
        with copied(connection, ENDLESS, psql, ()) as read:
            assert read()
            assert sessions(table) == 1
        until = time.monotonic() + 10
        while sessions(table) and time.monotonic() < until:
            time.sleep(0.05)
        assert sessions(table) == 0
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_no_password_stands_in_the_arguments(table: AuditDatabase, psql: Path) -> None:
    dsn = psycopg.conninfo.make_conninfo(table.reader, password="s3cret-word")
    with (
        audit_table.reading(dsn) as connection,
        audit_table.snapshot(connection),
        copied(connection, ENDLESS, psql, ()) as read,
    ):
        assert read()
        shown = [_arguments(each) for each in Path("/proc").glob("[0-9]*")]
    assert any(b"generate_series" in each for each in shown)
    assert not any(b"s3cret-word" in each for each in shown)


def _arguments(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_session_that_is_ended_says_nothing_about_the_rows(
    table: AuditDatabase, psql: Path
) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %%'"
    with pytest.raises(Transient):
        read_whole(table, ENDLESS, psql, end)


def test_a_killed_psql_says_nothing_about_the_rows(table: AuditDatabase, tmp_path: Path) -> None:
    program = tmp_path / "psql"
    program.write_text("#!/bin/sh\nprintf PGCOPY\nkill -9 $$\n")
    program.chmod(0o700)
    with pytest.raises(Transient, match="status"):
        read_whole(table, ROWS, program)


def test_rows_that_are_none_are_not_taken_for_an_interruption(
    table: AuditDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "psql"
    program.write_text("#!/bin/sh\nprintf 'no COPY in binary at all, and nothing to try again'\n")
    program.chmod(0o700)
    monkeypatch.setenv("RUNBOOK_DATABASE__CLIENT_BINARIES", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(Malformed, match="COPY"):
        rows_of(table, None, bulk=True)
    settings.cache_clear()


def test_a_snapshot_that_has_ended_says_nothing_about_the_rows(
    table: AuditDatabase, tmp_path: Path
) -> None:
    program = tmp_path / "psql"
    complaint = "ERROR:  22023: invalid snapshot identifier: x"
    program.write_text(f"#!/bin/sh\necho 'psql: {complaint}' >&2\nexit 3\n")
    program.chmod(0o700)
    with pytest.raises(Transient, match="snapshot"):
        read_whole(table, ROWS, program)


def test_of_several_hosts_and_addresses_the_one_that_was_reached_is_asked(
    table: AuditDatabase, tmp_path: Path
) -> None:
    program = tmp_path / "psql"
    asked = "asked $PGHOST $PGHOSTADDR $PGPORT"
    program.write_text(f'#!/bin/sh\necho "psql: {asked}" >&2\nexit 3\n')
    program.chmod(0o700)
    port = psycopg.conninfo.conninfo_to_dict(table.reader)["port"]
    several = psycopg.conninfo.make_conninfo(
        table.reader, host="127.0.0.1,localhost", port=f"9,{port}"
    )
    with pytest.raises(Transient, match=f"asked localhost 127.0.0.1 {port}$"):
        read_whole(dataclasses.replace(table, reader=several), ROWS, program)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("ALTER TABLE audit_records RENAME TO elsewhere", NotFound),
        ("REVOKE SELECT ON audit_records FROM audit_reader", Denied),
    ],
)
def test_what_the_server_refuses_psql_is_refused_as_to_us(
    table: AuditDatabase, psql: Path, statement: str, error: type[Exception]
) -> None:
    table.run(statement)
    with pytest.raises(error):
        read_whole(table, ROWS, psql)


def test_nothing_that_a_role_was_set_to_reaches_the_query(table: AuditDatabase, psql: Path) -> None:
    """A view in a schema that the search path was set to would be read in the table's place."""
    table.run("CREATE SCHEMA evil")
    table.run("CREATE VIEW evil.audit_records AS SELECT 7::bigint AS seq, 'x'::bytea AS record")
    table.run("GRANT USAGE ON SCHEMA evil TO audit_reader")
    table.run("GRANT SELECT ON evil.audit_records TO audit_reader")
    table.run("ALTER ROLE audit_reader SET search_path TO evil, public")
    try:
        with (
            audit_table.reading(table.reader) as connection,
            audit_table.snapshot(connection),
            closing(audit_table.stored_rows(connection, bulk=True)) as batches,
        ):
            assert sum(len(seqs) for seqs, _ in batches) == 600
            with copied(connection, ROWS, psql, ()) as read:
                assert sum(map(len, iter(read, b""))) > len(LINES[0]) * 600
    finally:
        table.run("ALTER ROLE audit_reader RESET search_path")


@pytest.mark.usefixtures("psql")
def test_neither_our_environment_nor_a_start_up_file_steers_psql(
    table: AuditDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".psqlrc").write_text(f"\\! touch {tmp_path}/ran\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGDATABASE", "elsewhere")
    assert len(rows_of(table, None, bulk=True)) == 600
    assert not (tmp_path / "ran").exists()
