"""Carries one step of an approved plan out and dies before it is recorded.

python -m tests.tasks.database.killed_signal INCIDENT STEP
"""

import os
import signal
import sys

from tasks.settings import settings
from tasks.work import database_remedies, door, journal
from tasks.work.targets import production_target
from tests.tasks.passing import no_evidence


def main(incident: str, step: str) -> None:
    site = database_remedies.site_of(settings(), production_target())
    plan = journal.read(incident).plan

    def act(fence: object) -> tuple[str, dict[str, object]]:
        database_remedies.carried_out(site, plan, step, fence)  # type: ignore[arg-type]  # a fence
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with door.opened(
        incident,
        production_target(),
        observe=lambda: database_remedies.planned_state(site, journal.read(incident)),
        evidence_holds=no_evidence,
    ) as passage:
        passage.carry_out(step, act)


if __name__ == "__main__":
    main(*sys.argv[1:])
