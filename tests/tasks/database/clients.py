"""Real clients of the patient's database, that hold, wait, idle and lie about themselves."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_readings import Session
from tasks.domain.signals import SessionKey
from tasks.work import database_remedies
from tasks.work.database_remedies import Site

PATIENCE = 30.0
_Found = TypeVar("_Found")

# A role that may lock is `worker`; `bystander` is another one.
ROLES = ("worker", "bystander")


def until(look: Callable[[], _Found | None], what: str) -> _Found:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)
    return found


class Clients:
    """Connections of one test; all of them end with it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._open: list[psycopg.Connection] = []
        self._pids: list[int] = []
        self._threads: list[threading.Thread] = []
        for role in ROLES:
            lab.patient.add_login(role)
        self.admin = lab.patient.connect(DATABASE)
        self.admin.execute("CREATE TABLE IF NOT EXISTS public.jobs (id int PRIMARY KEY, done bool)")
        self.admin.execute("TRUNCATE public.jobs")
        self.admin.execute("INSERT INTO public.jobs SELECT n FROM generate_series(1, 300) AS n")
        self.admin.execute(f"GRANT ALL ON public.jobs TO {', '.join(ROLES)}")

    def close(self) -> None:
        self.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s)",
            (self._pids,),
        )
        for thread in self._threads:
            thread.join(PATIENCE)
        for connection in self._open:
            connection.close()
        self.admin.close()

    def connect(self, role: str = "worker", **how: Any) -> psycopg.Connection:
        connection = psycopg.connect(self.lab.patient.dsn(role, DATABASE), **how)
        self._open.append(connection)
        self._pids.append(connection.info.backend_pid)
        return connection

    def holding(self, lock: str = "LOCK TABLE jobs", **how: Any) -> psycopg.Connection:
        """A client that has locked something and idles in its transaction."""
        connection = self.connect(**how)
        connection.execute(lock)
        return connection

    def running(self, connection: psycopg.Connection, query: str) -> psycopg.Connection:
        """Have the client run a query in the background; it is there when this returns."""

        def run() -> None:
            with contextlib.suppress(psycopg.Error):
                connection.execute(query)
                connection.commit()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        pid = connection.info.backend_pid
        until(lambda: self.state(pid) == "active", f"{query} runs")
        return connection

    def waiting(self, role: str = "bystander", query: str = "TABLE jobs") -> psycopg.Connection:
        """A client that waits for a lock."""
        connection = self.running(self.connect(role), query)
        until(lambda: self.waits(connection), f"{query} waits")
        return connection

    def take_every_slot(self, role: str) -> int:
        """Open connections until the server takes no more; how many."""
        opened = 0
        with contextlib.suppress(psycopg.OperationalError):
            while opened < 1000:
                self.connect(role)
                opened += 1
        return opened

    def state(self, pid: int) -> str | None:
        row = self.admin.execute(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)
        ).fetchone()
        return row[0] if row else None

    def waits(self, connection: psycopg.Connection) -> bool:
        row = self.admin.execute(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s",
            (connection.info.backend_pid,),
        ).fetchone()
        return row is not None and row[0] == "Lock"

    def lives(self, connection: psycopg.Connection) -> bool:
        """Whether the server still has the session."""
        return self.state(connection.info.backend_pid) is not None


def sessions(site: Site) -> dict[int, Session]:
    seen = database_remedies.looked_at(site)
    assert isinstance(seen.sessions, tuple)
    return {each.pid: each for each in seen.sessions}


def key_of(site: Site, connection: psycopg.Connection) -> SessionKey:
    return SessionKey.from_json(sessions(site)[connection.info.backend_pid].key())


def first_cause(site: Site) -> Cause:
    return diagnose(database_remedies.looked_at(site), site.target, site.limits)[0]


def impatient(site: Site) -> Site:
    """Every wait is a storm at once; nothing waits for the disk to grow."""
    return replace(
        site,
        look=replace(site.look, growth_seconds=0.0),
        limits=replace(
            site.limits,
            lock_wait_seconds=0.0,
            slow_query_seconds=0.05,
            idle_seconds=0.05,
            idle_in_transaction_seconds=0.05,
        ),
        cancel_seconds=1.0,
        verify_seconds=5.0,
    )
