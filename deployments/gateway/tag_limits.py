"""What a child is told of Prefect's limits on tags, so that its tasks need not ask.

Prefect asks its server before each task whether one of the task's tags has a limit, and remembers
for five seconds that none has. The eight checks of the triage have eight different tags and start
at once: eight calls, each with a thread, a client and a connection of its own, before the first
check looks at anything. The gateway knows the answer already, from its last look at the server.

Those threads and clients are never given back, a megabyte for each step of the runbook that a child
has ever come to: so while a run goes on, the child asks for all of them.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from prefect import Task
from prefect.concurrency import services

from deployments.gateway.prefect_api import PrefectApi
from tasks.clients.errors import ClientError

_EVERY_SECONDS = 4.0  # sooner than Prefect forgets

log = logging.getLogger("gateway.child")


@dataclass(frozen=True, slots=True)
class TagLimits:
    """The sets of limits that our tasks would ask for."""

    names: frozenset[frozenset[str]]

    @classmethod
    def of_imported_tasks(cls) -> Self:
        """Those of all tasks in modules that are imported by now."""
        return cls(frozenset(frozenset(f"tag:{tag}" for tag in task.tags) for task in _tasks()))

    def are_none(self) -> None:
        """Prefect takes our word as its own answer, for as long as it would keep that."""
        # Prefect has no public way to say it. Should this one go, tasks ask again.
        with services._cache_lock:  # noqa: SLF001
            services._no_limits_cache.update(dict.fromkeys(self.names, True))  # noqa: SLF001


class TagWatch(threading.Thread):
    """Asks the server again and again while a run goes on, and passes on that there are none."""

    def __init__(self, limits: TagLimits, api: PrefectApi) -> None:
        super().__init__(name="tag-limits", daemon=True)
        self._limits = limits
        self._api = api
        self._running = threading.Event()

    @contextmanager
    def during_a_run(self) -> Iterator[None]:
        """The watch is on in here."""
        self._running.set()
        try:
            yield
        finally:
            self._running.clear()

    def run(self) -> None:
        """Until the process ends."""
        while self._running.wait():
            time.sleep(_EVERY_SECONDS)
            if not self._running.is_set():
                continue
            try:
                if self._api.finds_no_tag_limits():
                    self._limits.are_none()
            except ClientError as error:  # each task asks for itself then
                log.warning("Prefect did not say what limits there are: %s", type(error).__name__)


def _tasks() -> Iterable[Task[..., object]]:
    for module in tuple(sys.modules.values()):
        values = tuple(getattr(module, "__dict__", {}).values())  # some put other things there
        yield from (value for value in values if isinstance(value, Task))
