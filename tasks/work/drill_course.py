"""How far a drill has come: its phases with their times, what it has seen, how it ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks.clients.errors import Denied, Transient
from tasks.domain.backups import Backup
from tasks.domain.drills import DrillResult, Ending, Phase, Rpo
from tasks.domain.errors import Refused
from tasks.work.anchors import AnchorBroken
from tasks.work.mending import Mended

Tell = Callable[[Phase, int, int], None]
"""Called with the phase, and how much of how much is done (bytes or records); due 0: unknown."""

_OURS = (Refused, Transient, AnchorBroken, OSError)
"""Errors that say nothing about a backup: no room, no answer, a log that cannot be believed."""


@dataclass(slots=True)
class Course:
    """One drill on its way. `now` is its phase; outside of one nothing is said about the backup."""

    backup: Backup
    tell: Tell
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    now: Phase | None = None
    seconds: dict[Phase, float] = field(default_factory=dict)
    records: int = 0
    signed: int = 0
    root: str = ""
    mended: Mended = field(default_factory=Mended)
    rpo: Rpo = field(default_factory=Rpo)
    notes: tuple[str, ...] = ()

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[Callable[[int, int], None]]:
        """Work of a phase; yields its progress callback. The time counts when it fails, too."""
        self.now = phase
        self.tell(phase, 0, 0)
        began = time.perf_counter()
        try:
            yield lambda done, due: self.tell(phase, done, due)
        finally:
            self.add(phase, time.perf_counter() - began)
        self.now = None

    def add(self, phase: Phase, seconds: float) -> None:
        """Seconds that belong to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def ending_of(self, error: Exception) -> Ending:
        """Whether the error says something about the backup, or about us."""
        refused = self.now is Phase.FETCH and isinstance(error, Denied)
        if self.now is None or refused or isinstance(error, _OURS):
            return Ending.UNKNOWN
        return Ending.FAILED

    def ended(self) -> DrillResult:
        """It went to its end: passed, unless the backup held what was never signed."""
        if self.mended.is_clean:
            return self.result(Ending.PASSED)
        where = self.mended.altered or "below 0"
        return self.result(
            Ending.FAILED,
            f"poisoned: {self.mended.replaced} of its records are not as they were signed, "
            f"{self.mended.taken_out} were taken out of it (seq {where}); sealed segments mend it, "
            "but tampering has reached the backups: verify the log, and find the last backup "
            "without it",
        )

    def result(self, ending: Ending, reason: str = "") -> DrillResult:
        """What is known at the end."""
        return DrillResult(
            key=self.backup.key,
            ending=ending,
            at=self.at,
            reason=reason,
            identity=self.backup.identity,
            size=self.backup.size,
            records=self.records,
            signed=self.signed,
            added=self.mended.added - self.mended.taken_out,
            altered=self.mended.replaced + self.mended.taken_out,
            where=self.mended.altered,
            root=self.root,
            rpo=self.rpo,
            phases=tuple((phase, self.seconds[phase]) for phase in Phase if phase in self.seconds),
            notes=self.notes,
            during=self.now,
        )
