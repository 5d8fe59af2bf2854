"""Carries an approved restart out and dies right after its n-th change.

python -m tests.tasks.api.killed_restart INCIDENT CHANGES
"""

import os
import signal
import sys
from typing import Any

from tasks.domain.restart_plan import RESTART, restart_in
from tasks.settings import settings
from tasks.work import door, journal, pod_restarts
from tasks.work.pod_restarts import Site
from tests.tasks.api.restarts import TARGET
from tests.tasks.passing import no_evidence


def main(incident: str, changes: int) -> None:
    site = Site(settings().kubernetes, settings().api_care.ready_seconds)
    plan = journal.read(incident).plan
    left = changes

    def act(fence: Any) -> tuple[str, dict[str, Any]]:
        def counted() -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            fence()

        pod_restarts.carry_out(site, restart_in(plan), counted)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with door.opened(
        incident,
        TARGET,
        observe=lambda: pod_restarts.planned_state(site, journal.read(incident)),
        evidence_holds=no_evidence,
    ) as passage:
        passage.carry_out(RESTART, act)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
