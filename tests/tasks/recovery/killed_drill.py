"""Drills an archive and is killed at the first word about a phase: LOG ARCHIVE PHASE."""

import os
import signal
import sys
from pathlib import Path

from tasks.domain.backups import Backup
from tasks.domain.drills import Phase
from tasks.work.drills import drill
from tests.tasks.recovery.drilling import Drilling


def main() -> None:
    log, archive, deadly = sys.argv[1:]

    def die(phase: Phase, _done: int, _due: int) -> None:
        if phase is Phase(deadly):
            os.kill(os.getpid(), signal.SIGKILL)

    drilling = Drilling(Path(log), Path(archive))
    backup = Backup("database/backup.dump", sha256="0" * 64, trusted=True)
    drill(backup, drilling.ground(), progress=die)


if __name__ == "__main__":
    main()
