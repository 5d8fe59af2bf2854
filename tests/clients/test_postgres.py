"""Connections, whole databases and the dump programs, against a real server."""

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deployments.lab.postgres import binaries
from tasks.clients import database_likeness, dump_tools, postgres, postgres_admin
from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tests.postgres_fixture import AuditDatabase

pytestmark = pytest.mark.components

SCRATCH, COPY = "scratch_one", "scratch_two"


@pytest.fixture
def admin(postgres_server: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection; leaves no scratch database behind."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        yield connection
        for name in (SCRATCH, COPY):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("statement", "ours"),
    [
        ("SELECT * FROM nowhere", NotFound),
        ("SELECT nothing FROM audit_records", NotFound),
        ("DELETE FROM audit_records", Denied),
        ("SELECT pg_sleep(5)", Transient),
        ("SELECT 1/0", Malformed),
        ("SELEC", Malformed),
        ("CREATE DATABASE postgres", Denied),
    ],
)
def test_errors_of_statements_become_ours(
    audit_database: AuditDatabase, statement: str, ours: type[ClientError]
) -> None:
    with (
        pytest.raises(ours, match="audit_reader@127"),
        postgres.connect(
            audit_database.reader, timeout_seconds=5, statement_seconds=0.2
        ) as connection,
    ):
        connection.execute(statement)


def test_a_duplicate_key_or_database_is_a_conflict(audit_database: AuditDatabase) -> None:
    audit_database.add([b"one"])
    insert = "INSERT INTO audit_records VALUES (0, 'x', decode(repeat('00', 32), 'hex'))"

    with postgres.connect(audit_database.owner, timeout_seconds=5) as connection:
        with pytest.raises(Conflict), postgres.translated("insert"):
            connection.execute(insert)
        with pytest.raises(Conflict), postgres.translated("create"):
            connection.execute("CREATE DATABASE postgres")


def test_no_row_of_a_table_is_quoted_in_an_error(audit_database: AuditDatabase) -> None:
    secret = "Ada Canary +49 151 5550199"
    failing = (
        "INSERT INTO people VALUES (1, %s)",  # DETAIL: Key (name)=(...) already exists
        "INSERT INTO people VALUES (-1, %s)",  # DETAIL: Failing row contains (...)
        "SELECT %s::integer",  # invalid input syntax for type integer: "..."
        "SELECT %s::json",  # DETAIL and CONTEXT
    )
    with postgres.connect(audit_database.owner, timeout_seconds=5) as connection:
        connection.execute("CREATE TEMP TABLE people (id int CHECK (id > 0), name text UNIQUE)")
        connection.execute(failing[0], (secret,))
        for statement in failing:
            with pytest.raises(ClientError) as caught, postgres.translated("load"):
                connection.execute(statement, (secret,))
            assert "Canary" not in str(caught.value)
            assert len(str(caught.value)) > len("load: ") + 10
        with (
            pytest.raises(ClientError) as caught,
            postgres.translated("load"),
            connection.cursor().copy("COPY people FROM STDIN") as into,
        ):
            into.write(f"x{secret}\t{secret}\n".encode())
        assert "Canary" not in str(caught.value)


def test_a_missing_database_a_closed_port_and_a_stranger_are_told_apart(
    postgres_server: str,
) -> None:
    for dsn, ours in (
        (postgres.dsn_of(postgres_server, "nowhere"), NotFound),
        ("postgresql://x@127.0.0.1:1/x", Transient),
    ):
        with pytest.raises(ours), postgres.connect(dsn, timeout_seconds=2):
            pass


def test_a_lock_that_is_not_granted_in_time_is_transient(audit_database: AuditDatabase) -> None:
    with psycopg.connect(audit_database.owner) as writer:
        writer.execute("LOCK TABLE audit_records IN ROW EXCLUSIVE MODE")
        with (
            pytest.raises(Transient, match="not granted in time"),
            postgres.connect(audit_database.owner, timeout_seconds=5, autocommit=False) as ours,
        ):
            postgres.lock_against_writers(ours, "public.audit_records", 0.1)


def test_while_the_lock_is_held_readers_go_on_and_writers_wait(
    audit_database: AuditDatabase,
) -> None:
    audit_database.add([b"one"])
    with postgres.connect(audit_database.owner, timeout_seconds=5, autocommit=False) as ours:
        postgres.lock_against_writers(ours, "public.audit_records", 1)
        with psycopg.connect(audit_database.reader) as reader:
            assert reader.execute("SELECT count(*) FROM audit_records").fetchone() == (1,)
        with psycopg.connect(audit_database.owner) as writer:
            writer.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute("DELETE FROM audit_records")


def test_a_database_setting_cannot_put_other_functions_before_ours(
    audit_database: AuditDatabase,
) -> None:
    name = postgres.environment(audit_database.owner)["PGDATABASE"]
    audit_database.run("CREATE SCHEMA evil")
    audit_database.run("CREATE FUNCTION evil.now() RETURNS text LANGUAGE sql AS 'SELECT ''evil'''")
    audit_database.run("GRANT USAGE ON SCHEMA evil TO audit_reader")
    audit_database.run(f'ALTER DATABASE "{name}" SET search_path TO evil, pg_catalog, public')

    with postgres.connect(audit_database.reader, timeout_seconds=5) as connection:
        assert connection.execute("SELECT now()::text").fetchone() != ("evil",)


def test_a_dsn_becomes_an_environment_and_a_description_without_the_password() -> None:
    dsn = "postgresql://audit_recovery:s3cret@10.0.0.1:5433/rlhf_audit?sslmode=verify-full"

    assert postgres.environment(dsn) == {
        "PGHOST": "10.0.0.1",
        "PGPORT": "5433",
        "PGUSER": "audit_recovery",
        "PGPASSWORD": "s3cret",
        "PGDATABASE": "rlhf_audit",
        "PGSSLMODE": "verify-full",
    }
    assert postgres.describe(dsn) == "audit_recovery@10.0.0.1:5433/rlhf_audit"
    assert postgres.environment(postgres.dsn_of(dsn, "other"))["PGDATABASE"] == "other"


def test_what_a_dsn_asks_of_the_connection_is_asked_by_programs_as_well() -> None:
    dsn = "host=db sslcrl=/etc/crl.pem channel_binding=require require_auth=scram-sha-256"

    assert postgres.environment(dsn) == {
        "PGHOST": "db",
        "PGSSLCRL": "/etc/crl.pem",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
    }


def test_a_table_is_there_or_not(audit_database: AuditDatabase) -> None:
    with postgres.connect(audit_database.reader, timeout_seconds=5) as connection:
        assert postgres.table_exists(connection, "public.audit_records")
        assert not postgres.table_exists(connection, "public.nowhere")


def test_grants_settings_and_locale_are_those_of_the_other_database(
    admin: psycopg.Connection,
) -> None:
    admin.execute(
        f"CREATE DATABASE {COPY} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin"
        " BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    )
    admin.execute(f"REVOKE ALL ON DATABASE {COPY} FROM PUBLIC")
    admin.execute(f"GRANT CONNECT ON DATABASE {COPY} TO audit_reader WITH GRANT OPTION")
    admin.execute(f"ALTER DATABASE {COPY} SET search_path TO public, pg_catalog")
    admin.execute(f"ALTER DATABASE {COPY} SET application_name TO 'a, b'")
    admin.execute(f"ALTER ROLE audit_reader IN DATABASE {COPY} SET work_mem TO '9MB'")

    postgres_admin.create_database(admin, SCRATCH, "postgres", COPY)
    admin.execute(database_likeness.grants_like(admin, COPY, SCRATCH))
    given, left = database_likeness.settings_like(admin, COPY, SCRATCH)
    admin.execute(given)

    query = "SELECT datacl::text, datlocprovider, datlocale FROM pg_database WHERE datname = %s"
    rows = [admin.execute(query, (name,)).fetchone() for name in (COPY, SCRATCH)]
    assert rows[0] == rows[1]
    settings = (
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d"
        " ON d.oid = s.setdatabase WHERE setrole = 0 AND d.datname = %s ORDER BY 1"
    )
    assert admin.execute(settings, (SCRATCH,)).fetchall() == [
        ("application_name=a, b",),
        ("search_path=public, pg_catalog",),
    ]
    assert left == [f"ALTER ROLE audit_reader IN DATABASE {SCRATCH} SET work_mem"]


def test_renames_carry_their_comments_and_happen_together_or_not_at_all(
    admin: psycopg.Connection,
) -> None:
    postgres_admin.create_database(admin, SCRATCH, "postgres", None)

    with pytest.raises(NotFound), postgres.translated("rename"):
        postgres_admin.rename_databases(
            admin, [(SCRATCH, COPY, "moved"), ("nowhere", "elsewhere", "")]
        )
    assert set(postgres_admin.databases(admin, [SCRATCH, COPY])) == {SCRATCH}

    postgres_admin.rename_databases(admin, [(SCRATCH, COPY, "it's moved")])
    state = postgres_admin.databases(admin, [SCRATCH, COPY])[COPY]
    assert (state.comment, state.allows_connections, state.owner) == (
        "it's moved",
        True,
        "postgres",
    )


def test_a_closed_database_lets_nobody_in_and_can_be_opened_again(
    admin: psycopg.Connection, postgres_server: str
) -> None:
    postgres_admin.create_database(admin, SCRATCH, "postgres", None)
    dsn = postgres.dsn_of(postgres_server, SCRATCH)

    postgres_admin.allow_connections(admin, SCRATCH, allowed=False)
    with (
        pytest.raises(Transient, match="not currently accepting"),
        postgres.connect(dsn, timeout_seconds=2),
    ):
        pass

    postgres_admin.allow_connections(admin, SCRATCH, allowed=True)
    with postgres.connect(dsn, timeout_seconds=2):
        assert [each.role for each in postgres_admin.sessions(admin, SCRATCH)] == ["postgres"]


def test_sessions_are_ended_except_those_that_are_kept(
    admin: psycopg.Connection, audit_database: AuditDatabase
) -> None:
    name = postgres.environment(audit_database.reader)["PGDATABASE"]
    with (
        psycopg.connect(audit_database.reader) as ended,
        psycopg.connect(audit_database.sealer) as kept,
    ):
        count = postgres_admin.end_sessions(
            admin, name, keep=[kept.info.backend_pid], timeout_seconds=5
        )

        assert count == 1
        assert kept.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT 1")
        ended.close()


def test_a_superusers_session_is_named_instead_of_ended(
    admin: psycopg.Connection, audit_database: AuditDatabase
) -> None:
    name = postgres.environment(audit_database.owner)["PGDATABASE"]
    with psycopg.connect(audit_database.owner, application_name="psql\n") as session:
        with pytest.raises(Denied, match=f"superuser postgres .pid {session.info.backend_pid}"):
            postgres_admin.end_sessions(admin, name, timeout_seconds=1)

        assert session.execute("SELECT 1").fetchone() == (1,)


def test_lacking_privileges_and_lacking_roles_are_named(audit_database: AuditDatabase) -> None:
    with postgres.connect(audit_database.owner, timeout_seconds=5) as connection:
        lacking = postgres_admin.missing_privileges(
            connection,
            "public.audit_records",
            {"audit_reader": ["SELECT", "INSERT"], "no_such_role": ["SELECT"]},
        )

    assert lacking == ["audit_reader: INSERT", "no_such_role: SELECT"]


def test_a_program_that_is_not_there_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="RUNBOOK_DATABASE__CLIENT_BINARIES"):
        dump_tools.find_program("pg_restore", tmp_path)


@pytest.fixture
def programs() -> Iterator[Path]:
    """A directory that the server's user reaches, as it does that of real programs."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        yield place


def fake(directory: Path, script: str) -> Path:
    """A program that stands in for pg_restore; its lists of contents are empty."""
    program = directory / "pg_restore"
    program.write_text(f'#!/bin/sh\n[ "$1" = --list ] && exit\n{script}\n')
    program.chmod(0o755)
    return directory


def restore(programs: Path, seconds: float = 10) -> None:
    archive = programs / "a.dump"
    archive.write_bytes(b"PGDMP")
    dump_tools.restore_archive(
        archive,
        "postgresql://audit_recovery:s3cret@127.0.0.1:5433/scratch",
        role="audit_owner",
        jobs=2,
        timeout_seconds=seconds,
        binaries=programs,
    )


def test_the_password_travels_in_the_environment_only(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "elsewhere")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    seen = tmp_path / "seen"
    script = f'(tr "\\0" "\\n" </proc/$$/cmdline; echo ---; env) > {seen}'

    restore(fake(programs, script))

    arguments, _, environment = seen.read_text().partition("---")
    assert "s3cret" not in arguments
    assert "--dbname=scratch" in arguments
    assert "--role=audit_owner" in arguments
    assert "PGPASSWORD=s3cret" in environment.splitlines()
    assert "AWS_SECRET_ACCESS_KEY" not in environment


@pytest.mark.parametrize(
    ("complaint", "ours"),
    [
        ("pg_restore: error: input file does not appear to be a valid archive", Malformed),
        ("pg_restore: error: could not read from input file: end of file", Malformed),
        ("pg_restore: error: ERROR:  permission denied for schema public", Denied),
        ("connection to server at 127.0.0.1 failed: Connection refused", Transient),
        ("something else", Malformed),
    ],
)
def test_what_pg_restore_complains_of_becomes_our_error(
    programs: Path, complaint: str, ours: type[ClientError]
) -> None:
    with pytest.raises(ours, match="pg_restore"):
        restore(fake(programs, f'echo "{complaint}" >&2; exit 1'))


def test_a_restore_that_takes_too_long_is_stopped_with_its_children(
    programs: Path, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > {pids}; wait"

    began = time.monotonic()
    with pytest.raises(Transient, match="still at work"):
        restore(fake(programs, script), seconds=0.5)

    assert time.monotonic() - began < 10
    _assert_gone(int(pids.read_text()))


def _assert_gone(pid: int) -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} lives")


def test_a_dump_is_written_and_restored_whole(
    audit_database: AuditDatabase, admin: psycopg.Connection, postgres_server: str, tmp_path: Path
) -> None:
    lines = [json.dumps({"n": n}).encode() for n in range(500)]
    audit_database.add(lines)
    archive = tmp_path / "a.dump"
    dump_tools.dump_database(audit_database.owner, archive, timeout_seconds=60, binaries=binaries())
    postgres_admin.create_database(admin, SCRATCH, "postgres", None)
    scratch = postgres.dsn_of(postgres_server, SCRATCH)

    dump_tools.restore_archive(
        archive, scratch, role="postgres", jobs=2, timeout_seconds=60, binaries=binaries()
    )

    with psycopg.connect(scratch) as connection:
        found = connection.execute("SELECT record FROM audit_records ORDER BY seq").fetchall()
    assert [bytes(record) for (record,) in found] == lines


def test_a_truncated_archive_is_malformed(
    audit_database: AuditDatabase, admin: psycopg.Connection, postgres_server: str, tmp_path: Path
) -> None:
    audit_database.add([os.urandom(200) for _ in range(500)])
    archive = tmp_path / "a.dump"
    dump_tools.dump_database(audit_database.owner, archive, timeout_seconds=60, binaries=binaries())
    archive.write_bytes(archive.read_bytes()[:-50_000])
    postgres_admin.create_database(admin, SCRATCH, "postgres", None)

    with pytest.raises(Malformed, match="choose another backup"):
        dump_tools.restore_archive(
            archive,
            postgres.dsn_of(postgres_server, SCRATCH),
            role="postgres",
            jobs=2,
            timeout_seconds=60,
            binaries=binaries(),
        )


def test_a_session_that_will_not_end_in_time_is_transient(
    admin: psycopg.Connection, audit_database: AuditDatabase
) -> None:
    name = postgres.environment(audit_database.reader)["PGDATABASE"]
    stop = threading.Event()

    def reconnecting() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(audit_database.reader, connect_timeout=2) as connection:
                    connection.execute("SELECT pg_sleep(0.05)")
            except psycopg.OperationalError:
                continue

    def end_all_at_once() -> None:
        while True:  # the door is open, so that now and then none is there
            time.sleep(0.02)
            postgres_admin.end_sessions(admin, name, timeout_seconds=0)

    clients = [threading.Thread(target=reconnecting) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        with pytest.raises(Transient, match="try again"):
            end_all_at_once()
    finally:
        stop.set()
        for client in clients:
            client.join()
