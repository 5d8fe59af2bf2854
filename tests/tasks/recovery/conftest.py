"""A damaged patient for each test: real PostgreSQL and S3 of the lab, a sealed log, a backup.

Built once a session: a log of 3,000 records, backed up at 2,000 and sealed at 2,600. Each test
gets a copy of the database and of the log, and may ruin both.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from deployments.lab import side_tables
from deployments.lab.dataset import Row, rows
from deployments.lab.environment import PROJECT
from deployments.lab.patient import set_up
from deployments.lab.postgres import PATIENT, SUPERUSER, PostgresServer, binaries, init_cluster
from deployments.lab.processes import Processes
from deployments.lab.s3 import BACKUPS, EVIDENCE, ObjectServer
from deployments.lab.state import StateDirectory
from tasks.clients.dump_tools import dump_database
from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import Backup
from tasks.domain.carry_over import WritersHead
from tasks.domain.ledger import NoteSigner, Trust
from tasks.domain.reconciled import Reconciled
from tasks.domain.restore import database_names
from tasks.sections.systems import StoreSettings
from tasks.work.carry_over import carry_bulk
from tasks.work.log_heads import Head, latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.recovery import Site
from tasks.work.restore import Restored, restore_beside
from tasks.work.sealing import seal

ORIGIN = "rlhf-audit-trail"
INCIDENT = "INC-20260314-030012-a1b2"
BACKUP, SIGNED, SIZE = 2_000, 2_600, 3_000
SIGNER = NoteSigner.from_seed("sealer.lab", b"s" * 32)
TRUST = Trust.in_key(SIGNER.verifier.encoded, ORIGIN)
RESPONDER = NoteSigner.from_seed("responder.lab", b"r" * 32)
NAMES = database_names("rlhf_audit", INCIDENT)

_OURS = "SELECT datname FROM pg_database WHERE datname LIKE 'rlhf\\_audit%'"
_TEMPLATE = "audit_template"


def unfenced() -> None:
    """Nobody takes the target over."""


@dataclass
class Servers:
    """The session's servers, and what every test starts from."""

    postgres: PostgresServer
    s3: ObjectServer
    log: Path
    archive: Path
    genuine: Sequence[Row]

    def admin(self, statement: str, database: str = "postgres") -> None:
        with self.postgres.connect(database) as connection:
            connection.execute(statement)

    def drop_all(self) -> None:
        with self.postgres.connect() as connection:
            for (name,) in connection.execute(_OURS).fetchall():
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass
class Patient:
    """One test's patient: the site of its recovery, and ways to look at it and to hurt it."""

    servers: Servers
    site: Site
    backup: Backup
    archive: Path
    genuine: Sequence[Row]

    @property
    def log(self) -> Path:
        assert isinstance(self.site.log, DirectoryLog)
        return Path(str(self.site.log))

    def head(self) -> Head:
        return latest_head(self.site.log, self.site.trust)

    def hurt(self, statement: str, *values: object) -> None:
        """As a superuser, behind everybody's back."""
        with self.servers.postgres.connect(NAMES.production) as connection:
            connection.execute(statement, values)

    def stored(self, database: str = NAMES.production) -> list[tuple[int, bytes, bytes]]:
        with self.servers.postgres.connect(database) as connection:
            query = "SELECT seq, record, leaf FROM audit_records ORDER BY seq"
            return connection.execute(query).fetchall()

    def databases(self) -> set[str]:
        with self.servers.postgres.connect() as connection:
            return {name for (name,) in connection.execute(_OURS).fetchall()}

    def restore(self) -> Restored:
        return restore_beside(self.site, self.backup, self.archive, self.head(), unfenced)

    def reconcile(self) -> Reconciled:
        carry_bulk(self.site, self.writers_head, unfenced)
        return reconcile_bulk(self.site, BACKUP, unfenced)

    def writers_head(self, size: int = SIZE) -> WritersHead:
        return WritersHead(size, self.genuine[size - 1].leaf)

    def killed(self, step: str, *, deadly: int = 0, after: float = 0) -> bool:
        """Run a step in a process that dies at its n-th fence, or `after` seconds; did it die?"""
        job = {
            "step": step,
            "deadly": deadly,
            "after": after,
            "incident": INCIDENT,
            "dsn": self.site.dsn,
            "log": str(self.log),
            "verifier": SIGNER.verifier.encoded,
            "origin": ORIGIN,
            "binaries": str(binaries()),
            "size": SIZE,
            "backup_size": BACKUP,
            "leaf": self.genuine[SIZE - 1].leaf.hex(),
            "archive": str(self.archive),
            "backup": asdict(self.backup) | {"taken_at": str(self.backup.taken_at)},
        }
        ended = subprocess.run(
            [sys.executable, "-m", "tests.tasks.recovery.killed"],
            input=json.dumps(job),
            text=True,
            cwd=PROJECT,
            check=False,
        )
        assert ended.returncode in {0, -signal.SIGKILL, -signal.SIGALRM}
        return ended.returncode != 0

    def expected(self, first: int = 0, last: int = SIZE) -> list[tuple[int, bytes, bytes]]:
        return [(row.seq, row.record, row.leaf) for row in self.genuine[first:last]]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    directory = StateDirectory.take()
    directory.clear()
    processes = Processes(directory)
    try:
        data = directory.path / "patient"
        init_cluster(processes, data, "lab-superuser")
        postgres = PostgresServer("patient", data, processes, PATIENT, {SUPERUSER: "lab-superuser"})
        postgres.start()
        s3 = ObjectServer(directory.path / "s3", processes)
        s3.start()
        set_up(postgres)
        yield _built(directory.path, postgres, s3)
    finally:
        processes.stop_all()
        directory.clear()
        directory.release()


def _built(home: Path, postgres: PostgresServer, s3: ObjectServer) -> Servers:
    genuine = rows(SIZE, 7, ORIGIN)
    servers = Servers(postgres, s3, home / "log", home / "backup.dump", genuine)
    dsn = postgres.dsn("sealer", "rlhf_audit")
    _load(postgres, genuine[:BACKUP])
    dump_database(dsn, servers.archive, timeout_seconds=60, binaries=binaries())
    _load(postgres, genuine[BACKUP:SIGNED])
    seal(dsn, DirectoryLog(servers.log), SIGNER, TRUST)
    _load(postgres, genuine[SIGNED:])
    servers.admin(f"ALTER DATABASE rlhf_audit RENAME TO {_TEMPLATE}")
    return servers


def _load(postgres: PostgresServer, lines: Sequence[Row]) -> None:
    copy_in = "COPY audit_records (seq, record, leaf, event_type) FROM STDIN"
    with postgres.connect("rlhf_audit") as connection, connection.cursor().copy(copy_in) as copy:
        for row in lines:
            copy.write_row(row)
    with postgres.connect("rlhf_audit") as connection:
        side_tables.derive(connection, lines[0].seq, lines[-1].seq + 1)


@pytest.fixture
def patient(servers: Servers, tmp_path: Path) -> Iterator[Patient]:
    servers.drop_all()
    servers.admin(f"CREATE DATABASE rlhf_audit TEMPLATE {_TEMPLATE} OWNER audit_owner")
    servers.admin("GRANT CONNECT ON DATABASE rlhf_audit TO audit_api, audit_reader, sealer")
    servers.admin("REVOKE TEMPORARY ON DATABASE rlhf_audit FROM PUBLIC")
    servers.admin("COMMENT ON DATABASE rlhf_audit IS 'the audit trail'")
    servers.admin("ALTER DATABASE rlhf_audit SET idle_session_timeout TO '1h'")
    log = tmp_path / "log"
    shutil.copytree(servers.log, log)
    archive = tmp_path / "backup.dump"
    shutil.copy(servers.archive, archive)
    content = archive.read_bytes()
    site = Site(
        incident=INCIDENT,
        names=NAMES,
        dsn=servers.postgres.dsn("audit_recovery", "postgres"),
        owner="audit_owner",
        needed={"audit_api": ("SELECT", "INSERT"), "audit_reader": ("SELECT",)},
        log=DirectoryLog(log),
        trust=TRUST,
        anchored=lambda _: None,
        binaries=binaries(),
    )
    backup = Backup(
        "database/backup.dump",
        len(content),
        sha256(content).hexdigest(),
        BACKUP,
        datetime(2026, 3, 14, 2, tzinfo=UTC),
    )
    yield Patient(servers, site, backup, archive, servers.genuine)
    servers.drop_all()


@pytest.fixture
def store_settings(servers: Servers) -> StoreSettings:
    key = servers.s3.keys["operator"]
    return StoreSettings(
        endpoint_url=servers.s3.url,
        access_key_id=key.key_id,
        secret_access_key=key.secret,
        backups_bucket=BACKUPS,
        evidence_bucket=EVIDENCE,
        retention_days=1,
    )


@pytest.fixture
def store(store_settings: StoreSettings) -> Iterator[ObjectStore]:
    opened = ObjectStore(store_settings)
    yield opened
    opened.close()


def tables_of(dsn: str, database: str) -> list[str]:
    with psycopg.connect(dsn, dbname=database) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        return [name for (name,) in connection.execute(query).fetchall()]


def dumped(patient: Patient, database: str, directory: Path) -> tuple[Backup, Path]:
    """A backup of another database of the patient's server."""
    target = directory / f"{database}.dump"
    dsn = patient.servers.postgres.dsn("sealer", database)
    dump_database(dsn, target, timeout_seconds=60, binaries=binaries())
    content = target.read_bytes()
    digest = sha256(content).hexdigest()
    return replace(patient.backup, size=len(content), sha256=digest), target


def with_incident(patient: Patient, incident: str) -> Site:
    return replace(patient.site, incident=incident, names=database_names("rlhf_audit", incident))
