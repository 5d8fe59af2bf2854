"""Clients of the patient's database that misbehave, as a process of their own.

    python -m deployments.lab.sessions lock-storm | connections-exhausted | slow-queries |
                                       exfiltration

Environment: LAB_SESSIONS_DSN (who misbehaves), LAB_SESSIONS_OTHERS_DSN (who suffers from it).
Prints one line of JSON once the trouble is there: the pids of those who cause it, and of the
others. Who is ended stays away; nothing is tried again.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable

import psycopg

_WAITERS = 20
_SLOW = 2
_MOST = 1000
_ENDLESS = """
SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b,
                     generate_series(1, 100000) AS c WHERE a + b = c + %s
"""
_MIGRATION = "ALTER TABLE audit_records ADD COLUMN reviewed_by text"
_CARRIED_AWAY = "COPY audit_records TO STDOUT"
_PAUSE_SECONDS = 0.2
_READ = "SELECT count(*) FROM audit_records WHERE seq < 1000"

_kept: list[psycopg.Connection] = []


def _connect(variable: str, application: str) -> psycopg.Connection:
    return psycopg.connect(os.environ[variable], application_name=application, connect_timeout=5)


def _in_background(connection: psycopg.Connection, query: str) -> None:
    def run() -> None:
        with contextlib.suppress(psycopg.Error):  # ended, cancelled, or the lab stops
            connection.execute(query)
            connection.commit()

    threading.Thread(target=run, daemon=True).start()


def _pids(connections: list[psycopg.Connection]) -> list[int]:
    return [connection.info.backend_pid for connection in connections]


def lock_storm() -> dict[str, list[int]]:
    """A migration was begun by hand and never ended; everybody who reads the table waits."""
    holder = _connect("LAB_SESSIONS_DSN", "psql")
    holder.execute("SET ROLE audit_owner")
    holder.execute(_MIGRATION)
    waiters = [_connect("LAB_SESSIONS_OTHERS_DSN", "dashboard") for _ in range(_WAITERS)]
    for waiter in waiters:
        _in_background(waiter, _READ)
    _kept.extend((holder, *waiters))
    return {"culprits": _pids([holder]), "others": _pids(waiters)}


def connections_exhausted() -> dict[str, list[int]]:
    """A client opens a connection for every request and closes none, until there is none left."""
    opened: list[psycopg.Connection] = []
    with contextlib.suppress(psycopg.OperationalError):
        while len(opened) < _MOST:
            opened.append(_connect("LAB_SESSIONS_DSN", "dashboard"))
            if len(opened) % 2:
                opened[-1].execute("SELECT 1")  # and its transaction stays open
    _kept.extend(opened)
    return {"culprits": _pids(opened), "others": []}


def slow_queries() -> dict[str, list[int]]:
    """Somebody joins everything with everything."""
    clients = [_connect("LAB_SESSIONS_DSN", "notebook") for _ in range(_SLOW)]
    for number, client in enumerate(clients):
        client.execute("SET max_parallel_workers_per_gather = 0")
        client.commit()
        _in_background(client, _ENDLESS.replace("%s", str(number)))
    _kept.extend(clients)
    return {"culprits": _pids(clients), "others": []}


def exfiltration() -> dict[str, list[int]]:
    """Somebody copies the whole audit trail, and when it is done begins again."""
    thief = _connect("LAB_SESSIONS_DSN", "psql")
    thief.autocommit = True

    def carry_away() -> None:
        with contextlib.suppress(psycopg.Error):  # ended at last
            while True:
                with thief.cursor().copy(_CARRIED_AWAY) as copy:
                    for _ in copy:
                        pass
                time.sleep(_PAUSE_SECONDS)

    threading.Thread(target=carry_away, daemon=True).start()
    _kept.append(thief)
    return {"culprits": _pids([thief]), "others": []}


KINDS: dict[str, Callable[[], dict[str, list[int]]]] = {
    "lock-storm": lock_storm,
    "connections-exhausted": connections_exhausted,
    "slow-queries": slow_queries,
    "exfiltration": exfiltration,
}


def main() -> None:
    """Make the trouble, say so, and keep it until the lab stops."""
    print(json.dumps(KINDS[sys.argv[1]]()), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
