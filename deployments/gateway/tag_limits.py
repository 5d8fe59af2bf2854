"""What a child is told of Prefect's limits on tags, so that its tasks need not ask.

Prefect asks its server before each task whether one of the task's tags has a limit, and remembers
for five seconds that none has. The eight checks of the triage have eight different tags and start
at once: eight calls, each on a connection of its own, before the first check looks at anything. The
gateway knows the answer already, from its last look at the server.

What is spared is the call: for each set of tags Prefect keeps a thread and a client, a megabyte,
asked or not, until the process ends.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from prefect import Task
from prefect.concurrency import services


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


def _tasks() -> Iterable[Task[..., object]]:
    for module in tuple(sys.modules.values()):
        values = tuple(getattr(module, "__dict__", {}).values())  # some put other things there
        yield from (value for value in values if isinstance(value, Task))
