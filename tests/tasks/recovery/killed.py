"""Runs one step of a recovery and is killed at its n-th fence, or by a timer. JSON on stdin."""

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from tasks.domain.backups import Backup
from tasks.domain.carry_over import WritersHead
from tasks.domain.ledger import Trust
from tasks.domain.restore import database_names
from tasks.work.carry_over import carry_bulk
from tasks.work.log_heads import latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.recovery import Site
from tasks.work.restore import restore_beside
from tasks.work.swap import swap


class Fence:
    """Counts; at the deadly one the process is gone, without any finally of Python's."""

    def __init__(self, deadly: int) -> None:
        self._left = deadly

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    job = json.load(sys.stdin)
    trust = Trust.in_key(job["verifier"], job["origin"])
    site = Site(
        incident=job["incident"],
        names=database_names("rlhf_audit", job["incident"]),
        dsn=job["dsn"],
        owner="audit_owner",
        needed={"audit_api": ("SELECT", "INSERT")},
        log=DirectoryLog(Path(job["log"])),
        trust=trust,
        anchored=lambda _: None,
        binaries=Path(job["binaries"]),
    )
    fence = Fence(job["deadly"])

    def ask() -> WritersHead | None:
        return WritersHead(job["size"], bytes.fromhex(job["leaf"]))

    # SIGALRM ends the process where it stands, because nothing handles it.
    signal.setitimer(signal.ITIMER_REAL, job["after"])
    match job["step"]:
        case "restore":
            fields = job["backup"]
            backup = Backup(**fields | {"taken_at": datetime.fromisoformat(fields["taken_at"])})
            head = latest_head(site.log, trust)
            restore_beside(site, backup, Path(job["archive"]), head, fence)
        case "carry":
            carry_bulk(site, ask, fence)
        case "reconcile":
            reconcile_bulk(site, job["backup_size"], fence)
        case "swap":
            swap(site, ask, fence)


if __name__ == "__main__":
    main()
