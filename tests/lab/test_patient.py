"""The patient's database: least privilege, and a view that survives damaged lines."""

import psycopg
import pytest

from deployments.lab.dataset import Head
from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab

pytestmark = pytest.mark.components


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET record = record WHERE seq = 1",
        "DELETE FROM audit_records WHERE seq = 1",
        "TRUNCATE audit_records",
        "DROP TABLE audit_records",
        "ALTER TABLE audit_records DISABLE TRIGGER ALL",
    ],
)
def test_the_api_cannot_change_or_remove_a_record(patient: Lab, statement: str) -> None:
    with (
        psycopg.connect(patient.patient.dsn("audit_api", DATABASE)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["audit_reader", "sealer"])
def test_readers_cannot_append(patient: Lab, role: str) -> None:
    with (
        psycopg.connect(patient.patient.dsn(role, DATABASE)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(
            "INSERT INTO audit_records SELECT 999999, record, leaf FROM audit_records"
        )


def test_recovery_may_rename_databases_and_is_no_superuser(patient: Lab) -> None:
    with psycopg.connect(patient.recovery_dsn, autocommit=True) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = user").fetchone()
        assert row == (False,)
        connection.execute("CREATE DATABASE scratch OWNER audit_owner")
        connection.execute("ALTER DATABASE scratch RENAME TO renamed")
        connection.execute("DROP DATABASE renamed")


def test_a_row_without_its_kind_gets_it_from_the_line(database: psycopg.Connection) -> None:
    event = {"event_type": "session_start", "data": {}, "event_id": "e"}
    row = Head("lab", size=900_000).append(event)
    database.execute(
        "INSERT INTO audit_records (seq, record, leaf) VALUES (%s, %s, %s)",
        (row.seq, row.record, row.leaf),
    )
    found = database.execute("SELECT event_type FROM audit_records WHERE seq = 900000").fetchone()
    assert found == ("session_start",)


@pytest.mark.parametrize("damaged", [b"\xff\xfe\x00", b"not json", b'{"a": "\\u0000"}'])
def test_the_view_shows_nothing_of_a_line_that_is_not_json(
    database: psycopg.Connection, damaged: bytes
) -> None:
    database.execute("UPDATE audit_records SET record = %s WHERE seq = 7", (damaged,))
    row = database.execute("SELECT seq, event_data FROM audit_events WHERE seq = 7").fetchone()
    assert row == (7, None)
