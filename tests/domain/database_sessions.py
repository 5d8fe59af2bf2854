"""Sessions and readings for tests of the database's diagnosis."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.database_readings import (
    Archiver,
    Backups,
    Checkpoints,
    Database,
    DatabaseReadings,
    Disk,
    Replication,
    Server,
    Session,
)
from tasks.domain.observation import Health

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def session(pid: int, **changes: Any) -> Session:
    """A client of the API that works, but for `changes`."""
    known: dict[str, Any] = {
        "pid": pid,
        "backend_start": ago(3600),
        "user": "audit_api",
        "database": "rlhf_audit",
        "application": "audit-api",
        "client": "127.0.0.1",
        "kind": "client backend",
        "state": "active",
        "wait": "",
        "xact_start": ago(1),
        "query_start": ago(1),
        "state_change": ago(1),
        "query": "SELECT 1",
        "digest": hashlib.sha256(b"SELECT 1").hexdigest(),
    }
    return Session(**(known | changes))


def idle(pid: int, seconds: float, state: str = "idle", **changes: Any) -> Session:
    """A client that has done nothing for so long."""
    in_transaction = state != "idle"
    return session(
        pid,
        state=state,
        state_change=ago(seconds),
        query_start=ago(seconds),
        xact_start=ago(seconds) if in_transaction else None,
        **changes,
    )


def readings(*sessions: Session, **changes: Any) -> DatabaseReadings:
    """A healthy server with these sessions, but for `changes`."""
    known: dict[str, Any] = {
        "server": Server(18_00_06, ago(86_400), 200, 3, 5, False, True, 1 << 30),
        "databases": (
            Database("rlhf_audit", "audit_owner", True, 1 << 30, len(sessions), -1, 1000, 10),
        ),
        "sessions": sessions,
        "prepared": (),
        "statements": (),
        "replication": Replication((), ()),
        "archiver": Archiver(100, 0, ago(30), None, ""),
        "checkpoints": Checkpoints(100, 1, ago(86_400)),
        "tables": (),
        "disk": Disk(()),
        "backups": Backups(Health.HEALTHY, "the newest backup is 3 h old, signed and proven"),
    }
    return DatabaseReadings(at=NOW, **(known | changes))
