"""A private PostgreSQL for one use: made, started, used over a Unix socket only, wiped.

Nothing outlives its owner: a warden ends all that the server started when the owner dies, and the
next use of the same place wipes what is left. It is fast because it may be lost: whoever keeps
one calls `restart_durably` before anybody relies on it.

    <home>/            0710, ours: no server may replace a file of ours by a link
        data/  socket/     0700, the server's
        hba.conf  log
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
from psycopg import conninfo, sql

from tasks.clients.dump_tools import find_program
from tasks.clients.errors import ClientError, Transient
from tasks.clients.instance_limits import Limits, Watch
from tasks.clients.kept_process import Bounds, end_kept, printed, start_kept
from tasks.clients.leftovers import at_work_in, end
from tasks.clients.postgres import connect, translate
from tasks.clients.server_user import give_to_server, make_server_directory, server_uid
from tasks.clients.warden import family
from tasks.domain.errors import Refused

SUPERUSER = "postgres"
_SOCKET_LIMIT = 100  # the kernel's 108, less what PostgreSQL adds for its lock file
_SOCKET_NAME = ".s.PGSQL.5432"
_STATUS_LINE = 8  # of postmaster.pid
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_GONE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_TAIL_BYTES = 3000
_OUTPUT_BYTES = 256 * 1024 * 1024

_PRIVATE = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "dynamic_shared_memory_type": "mmap",  # ends with the data directory, nothing in /dev/shm
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # statements hold personal data
    "lc_messages": "C",  # its log is read by us
    "max_connections": "20",
}
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
}
_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
}


@dataclass(slots=True)
class Instance:
    """A running server of ours. `directory` holds `data`, `socket` and `log`."""

    directory: Path
    binaries: Path
    settings: dict[str, str]
    limits: Limits
    _server: subprocess.Popen[bytes] | None = None
    _watch: Watch | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        """The directory of its socket: the only way in."""
        return self.directory / "socket"

    def dsn(self, database: str, role: str = SUPERUSER) -> str:
        """How to reach it; there is no password, the directory's mode is the lock."""
        return conninfo.make_conninfo(
            "", host=str(self.socket), port=5432, dbname=database, user=role
        )

    def alive(self) -> bool:
        """Whether the server's process lives."""
        return self._server is not None and self._server.poll() is None

    def last_words(self) -> str:
        """The end of its log, for messages."""
        with (self.directory / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()

    def exceeded(self) -> str:
        """Which bound it broke and was stopped for; empty when none."""
        return self._watch.exceeded if self._watch else ""

    def create_role(self, name: str) -> None:
        """A login that is no superuser and may do nothing yet."""
        with connect(self.dsn("postgres"), timeout_seconds=10) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE").format(
                    sql.Identifier(name)
                )
            )

    def create_database(self, name: str, owner: str = SUPERUSER) -> None:
        """An empty database from template0, UTF-8."""
        with connect(self.dsn("postgres"), timeout_seconds=10) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
            )

    def start(
        self,
        settings: Mapping[str, str],
        *,
        seconds: float = _START_SECONDS,
        while_waiting: Callable[[], None] | None = None,
    ) -> None:
        """Start it and wait until it takes statements, outside of recovery.

        A server can say that it started and die in recovery: so its process is looked at as well.
        `while_waiting` is called at each look and may raise. Raises Transient, with the server's
        last words, when it ends or takes longer than `seconds`.
        """
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self.binaries / "postgres", "-D", self.data, *flags]
        with (self.directory / "log").open("ab") as log:
            self._server = self._started(command, log)
        self.watch()
        until = time.monotonic() + seconds
        while not self._answers():
            if while_waiting is not None:
                while_waiting()
            if not self.alive():
                raise Transient(
                    "expected the private PostgreSQL to start, found that it ended with "
                    f"{self._server.returncode}: {self.exceeded() or self.last_words()}"
                )
            if time.monotonic() > until:
                raise Transient(
                    f"expected the private PostgreSQL to be ready within {seconds:.0f} s, found "
                    f"it is not: {self.last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def watch(self) -> None:
        """Look at its bounds from now on: filling the data directory counts as well."""
        if self._watch is None:
            self._watch = Watch(self.directory, self.limits, self.processes)

    def processes(self) -> set[int]:
        """All that the server has started, wherever it has gone, and what works in its files."""
        started = family(self._server.pid) if self._server is not None else set()
        return started | at_work_in(self.directory)

    def stop(self, *, clean: bool = False) -> None:
        """End it and everything it started; `clean` writes a checkpoint first (fast shutdown)."""
        server = self._server
        if server is not None and server.poll() is None:
            server.send_signal(signal.SIGINT if clean else signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_SECONDS if clean else _GONE_SECONDS)
        ended_well = server is None or server.poll() == 0
        if server is not None:
            end_kept(server)
        left = end(at_work_in(self.directory), _GONE_SECONDS)
        if left or (clean and not ended_well):
            raise Transient(
                "expected the private PostgreSQL to stop, found "
                f"{f'processes {left}' if left else self.last_words()}"
            )

    def restart_durably(self, settings: Mapping[str, str] | None = None) -> None:
        """Everything to the disk, then start again with fsync on: from now on it may serve.

        While it was fast, a loss of power could have left anything; so each file is synced between
        stop and start. `settings` are those of whoever is to use it. Still only on its socket.
        """
        self.stop(clean=True)
        self.run("initdb", "--sync-only", "--pgdata", str(self.data))
        self.settings = {**self.settings, **_DURABLE, **(settings or {})}
        self.start(self.settings)

    def run(
        self, program: str, *arguments: str, seconds: float = 3600.0, check: bool = True
    ) -> str:
        """Run a program of the same installation as the server's user; what it printed.

        Raises ClientError with its complaint when it fails and `check` says so, Transient when it
        takes too long.
        """
        command: list[str | Path] = [find_program(program, self.binaries), *arguments]
        process = self._started(command, subprocess.PIPE, cpu_seconds=int(seconds) + 1)
        try:
            output = printed(process, seconds, _OUTPUT_BYTES)
        except TimeoutError as error:
            raise Transient(
                f"expected {program} to end within {seconds:.0f} s, found it {error}"
            ) from error
        text = output.decode(errors="replace")
        if check and process.returncode != 0:
            words = " ".join(text[-_TAIL_BYTES:].split())
            raise ClientError(f"expected {program} to succeed, found: {words}")
        return text

    def close(self) -> None:
        """End and remove it."""
        if self._watch is not None:
            self._watch.stop()
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _started(
        self,
        command: Sequence[str | Path],
        output: IO[bytes] | int,
        *,
        cpu_seconds: int | None = None,
    ) -> subprocess.Popen[bytes]:
        return start_kept(
            command,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdout=output,
            stderr=subprocess.STDOUT,
            uid=server_uid(),
            directory=self.data,
            bounds=Bounds(self.limits.address_space_mb, cpu_seconds),
        )

    def _answers(self) -> bool:
        if not self._says_ready():
            return False
        try:
            with psycopg.connect(self.dsn("template1"), connect_timeout=5) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.errors.InvalidAuthorizationSpecification as error:
            raise translate(error, "private PostgreSQL") from error
        except psycopg.OperationalError as error:
            if "does not exist" in str(error):  # a role: libpq gives a failed login no SQLSTATE
                raise translate(error, "private PostgreSQL") from error
            return False
        return row is not None and row[0] is False

    def _says_ready(self) -> bool:
        """What the server wrote last into its lock file: asking costs it no process each time."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= _STATUS_LINE and lines[_STATUS_LINE - 1].strip() == "ready"


@contextmanager
def unstarted(
    place: Path,
    *,
    binaries: Path | None,
    settings: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Iterator[Instance]:
    """An instance with an empty data directory, which its user fills and starts; wiped at the end.

    `place` is a private directory that the server's user can pass (`work.instance_place`). When
    the instance broke a bound while it was used, whatever error that led to becomes Refused.
    """
    limits = limits or Limits()
    programs = find_program("postgres", binaries).parent
    home = _make_home(place)
    private = {
        **_PRIVATE,
        "unix_socket_directories": str(home / "socket"),
        "hba_file": str(home / "hba.conf"),
        "ident_file": str(home / "ident.conf"),
        "shared_buffers": f"{limits.shared_buffers_mb}MB",
        "maintenance_work_mem": f"{limits.maintenance_mb}MB",
    }
    instance = Instance(home, programs, {**_FAST, **(settings or {}), **private}, limits)
    try:
        yield instance
    except Exception as error:  # of any kind may follow from the instance that was stopped
        with suppress(Transient):  # what went wrong before is the news
            instance.close()
        if instance.exceeded():
            raise _too_much(instance) from error
        raise
    except BaseException:
        with suppress(Transient):
            instance.close()
        raise
    instance.close()
    if instance.exceeded():
        raise _too_much(instance)


@contextmanager
def throwaway(
    place: Path,
    *,
    binaries: Path | None,
    settings: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Iterator[Instance]:
    """A new, empty, running instance; wiped at the end. Superuser `postgres`, no TCP.

    `settings` are added to the fast ones. Raises NotFound when there is no PostgreSQL, Transient
    when it does not start, Refused when it took more than `limits`.
    """
    with unstarted(place, binaries=binaries, settings=settings, limits=limits) as instance:
        instance.run(
            "initdb",
            *("--pgdata", str(instance.data), "--username", SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            seconds=_START_SECONDS,
        )
        instance.start(instance.settings)
        yield instance


def _make_home(place: Path) -> Path:
    """A directory of one instance below `place`, with our access rules in it."""
    home = place / f"pg-{secrets.token_hex(3)}"
    if len(str(home / "socket" / _SOCKET_NAME)) > _SOCKET_LIMIT:
        raise Refused(
            f"expected a path short enough for a socket, found {str(home)[:200]!r}: set TMPDIR to "
            "a shorter one"
        )
    home.mkdir(mode=0o710)
    uid = server_uid()
    if uid is not None:
        os.chown(home, -1, uid)
    for name in ("data", "socket"):
        make_server_directory(home / name)
    for name, content in (("hba.conf", "local all all trust\n"), ("ident.conf", "")):
        (home / name).write_text(content, encoding="ascii")
        (home / name).chmod(0o600)
        give_to_server(home / name)
    (home / "log").touch(mode=0o600)
    return home


def _too_much(instance: Instance) -> Refused:
    return Refused(
        f"the private PostgreSQL was stopped: {instance.exceeded()}: make room, or allow it more; "
        "production is untouched"
    )
