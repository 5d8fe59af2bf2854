"""How far a long step of an incident is, for people who wait for it.

No fact of the incident: one row that is overwritten, and of which nothing is ever read but words.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.work import responder

_TEXT_LIMIT = 200
_POST = """
INSERT INTO progress (incident, text, at) VALUES (%s, %s, clock_timestamp())
ON CONFLICT (incident) DO UPDATE SET text = EXCLUDED.text, at = EXCLUDED.at
"""
_READ = "SELECT text, at FROM progress WHERE incident = %s"


@dataclass(frozen=True, slots=True)
class Said:
    """What a step last said of its progress, and when."""

    text: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for those who ask the gateway."""
        return {"text": self.text, "at": self.at.isoformat()}


def post(incident: str, text: str) -> None:
    """Say how far it is. Raises Transient when our database is away."""
    with responder.connection() as connection:
        connection.execute(_POST, (incident, text[:_TEXT_LIMIT]))


def read(incident: str) -> Said | None:
    """What was said last; None when nothing was."""
    with responder.connection() as connection:
        row = connection.execute(_READ, (incident,)).fetchone()
    return Said(*row) if row is not None else None
