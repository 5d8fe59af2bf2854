"""What a swap has done, for the journal and the report."""

from dataclasses import dataclass
from typing import Any

from tasks.domain.reconciled import Reconciled
from tasks.work.carry_over import Carried
from tasks.work.recovery import Extent


@dataclass(frozen=True, slots=True)
class Swapped:
    """The restored database is in service. `outage_seconds`: from the lock to the renames.

    `outage_seconds` is None only if a kill came between the renames and the note of it. `before`
    is what the damaged table held; all zero when this call found the swap done.
    """

    database: str
    quarantine: str | None
    records: int
    carried: Carried
    ended_sessions: int
    outage_seconds: float | None
    before: Extent
    other_tables: Reconciled
    settings_left: tuple[str, ...] = ()
    done_before: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the report."""
        return {
            "database": self.database,
            "quarantine": self.quarantine,
            "records_before": self.before.records,
            "records_after": self.records,
            "last_step": self.carried.as_json(),
            "ended_sessions": self.ended_sessions,
            "outage_seconds": self.outage_seconds,
            "other_tables": self.other_tables.as_json(),
            "settings_left": list(self.settings_left),
            "done_before": self.done_before,
        }
