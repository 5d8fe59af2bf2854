"""How the gateway begins to store: with the spool that the settings name, and a current schema.

Without a spool a gateway does not start while PostgreSQL is away. With one it does, since it can
keep its promise; our schema is then brought up to date before the first batch.
"""

import logging
import threading
from collections.abc import Sequence

from deployments.gateway.group_commit import GroupCommit
from deployments.gateway.spool import Spool
from tasks.clients.errors import Transient
from tasks.settings import settings
from tasks.work import intake, responder
from tasks.work.intake import Received, Taken

log = logging.getLogger("gateway.intake")


def open_storing() -> GroupCommit:
    """Everything between a parsed notification and its 2xx, not started yet.

    Raises Transient when the database is away and there is no spool, BadInput for a spool that
    cannot be.
    """
    directory = settings().gateway.spool
    if directory is None:
        responder.migrate()
        return GroupCommit(intake.take)
    spool = Spool.open(directory, settings().gateway.spool_limit_bytes)
    take = _MigratingTake()
    try:
        take.migrate()
    except Transient as error:
        log.warning("starting with the spool alone: %s", error)
    return GroupCommit(take, spool)


class _MigratingTake:
    """The intake, behind a schema that is up to date."""

    def __init__(self) -> None:
        self._migrated = threading.Event()

    def migrate(self) -> None:
        """Once; running it twice does no harm."""
        if not self._migrated.is_set():
            responder.migrate()
            self._migrated.set()

    def __call__(self, batch: Sequence[Received]) -> list[Taken]:
        self.migrate()
        return intake.take(batch)
