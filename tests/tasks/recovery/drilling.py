"""What tests of restore drills share: a ground without any production."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deployments.lab.postgres import binaries
from tasks.clients.leftovers import at_work_in
from tasks.domain.backups import Backup
from tasks.domain.drills import DrillResult, Phase
from tasks.work.drill_steps import Ground
from tasks.work.drills import drill
from tasks.work.loading import Rules
from tasks.work.log_store import DirectoryLog
from tests.tasks.recovery.conftest import TRUST


@dataclass
class Drilling:
    """A sealed log and archives in directories, and nothing else."""

    log: Path
    archive: Path
    room: Path = Path("/tmp")
    acknowledged: datetime | None = None
    told: list[tuple[Phase, int, int]] = field(default_factory=list)

    def ground(self) -> Ground:
        """Its fetch copies; the needed roles are those of the served system."""

        def fetch(backup: Backup, directory: Path, progress: Callable[[int, int], None]) -> Path:
            target = directory / "fetched.dump"
            shutil.copyfile(self.archive, target)
            progress(backup.size, backup.size)
            return target

        return Ground(
            log=DirectoryLog(self.log),
            trust=TRUST,
            anchored=lambda _: None,
            fetch=fetch,
            acknowledged=lambda: self.acknowledged,
            owner="audit_owner",
            rules=Rules(
                "rlhf_audit",
                needed={"audit_api": ("SELECT", "INSERT"), "audit_reader": ("SELECT",)},
            ),
            binaries=binaries(),
        )

    def drill(self, backup: Backup, ground: Ground | None = None) -> DrillResult:
        """With progress written down."""
        return drill(backup, ground or self.ground(), progress=lambda *told: self.told.append(told))

    def left_behind(self) -> list[Path]:
        """Directories of drills on this host's disk."""
        return [path for path in self.room.glob("runbook*/*") if path.is_dir()]

    def running(self) -> set[int]:
        """Processes of their instances."""
        return at_work_in(self.room)
