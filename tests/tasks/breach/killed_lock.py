"""Locks the planned roles of an incident and dies before it is recorded.

python -m tests.tasks.breach.killed_lock INCIDENT
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tasks.domain.isolation import ACCOUNTS
from tasks.domain.isolation_plan import Isolating
from tasks.settings import settings
from tasks.work import door, isolating, isolation_site, journal, role_isolation
from tests.tasks.passing import no_evidence


def main(incident: str) -> None:
    site = isolation_site.site_of(settings())
    planned = Isolating.of(journal.read(incident).plan)

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        role_isolation.lock(site, planned, incident, fence)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with door.opened(
        incident,
        "roles/rlhf_audit",
        observe=lambda: isolating.planned_state(site, journal.read(incident)),
        evidence_holds=no_evidence,
    ) as passage:
        passage.carry_out(ACCOUNTS, act)


if __name__ == "__main__":
    main(*sys.argv[1:])
