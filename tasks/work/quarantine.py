"""Quarantine: what an authenticated sender sent and nobody could understand, bounded."""

from datetime import UTC
from typing import Any

from tasks.domain.alertmanager import clean
from tasks.work import incidents, responder

PREFIX_BYTES = 64 * 1024
_ROWS = 1000


def keep(reason: str, size: int, prefix: bytes) -> None:
    """Keep the beginning of what was authenticated but not understood, newest thousand only."""
    with incidents.durably() as connection:
        connection.execute(
            "INSERT INTO quarantine (reason, size, prefix) VALUES (%s, %s, %s)",
            (clean(reason), size, prefix[:PREFIX_BYTES]),
        )
        connection.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - %s",
            (_ROWS,),
        )


def newest(limit: int = 10) -> tuple[int, list[dict[str, Any]]]:
    """How much is in quarantine, and the newest of it: received_at, reason, size, begins."""
    with responder.connection() as connection:
        count = connection.execute("SELECT count(*) FROM quarantine").fetchone()
        rows = connection.execute(
            "SELECT received_at, reason, size, substring(prefix FOR 200) FROM quarantine"
            " ORDER BY id DESC LIMIT %s",
            (limit,),
        ).fetchall()
    shown: list[dict[str, Any]] = [
        {
            "received_at": at.astimezone(UTC).isoformat(),
            "reason": reason,
            "size": size,
            "begins": clean(begins.decode(errors="replace")),
        }
        for at, reason, size, begins in rows
    ]
    return (count[0] if count else 0), shown
