"""Carries one step of an approved rollback out and dies before it is recorded.

python -m tests.tasks.rollback.killed_undo INCIDENT STEP
"""

import os
import signal
import sys
from typing import Any

from tasks.domain.rollback_plan import UNDO, planned_in
from tasks.settings import settings
from tasks.work import door, journal, rollbacks
from tests.tasks.passing import no_evidence
from tests.tasks.rollback.releases import carried_out


def main(incident: str, step: str) -> None:
    site = rollbacks.site_of(settings())
    planned = planned_in(journal.read(incident).plan)
    way = planned if step == UNDO else planned.returning()

    def act(fence: Any) -> tuple[str, dict[str, Any]]:
        carried_out(site, way, fence)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with door.opened(
        incident,
        planned.target,
        observe=lambda: rollbacks.planned_state(site, journal.read(incident)),
        evidence_holds=no_evidence,
    ) as passage:
        passage.carry_out(step, act)


if __name__ == "__main__":
    main(*sys.argv[1:])
