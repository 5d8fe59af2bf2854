"""What was read of a Redis or Valkey server at one moment: typed, frozen, each part by itself.

Texts are the server's and hostile: printable and bounded by the reader. Sizes are bytes, rates per
second between two looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tasks.domain.database_readings import Unread
from tasks.domain.inside import NOT_ASKED, Inside
from tasks.domain.instance_restart import Instance

OK = "ok"
NOT_LOOKED_AT = Unread("not looked at")


@dataclass(frozen=True, slots=True)
class CacheState:
    """`INFO`, as far as we look at it.

    `max_memory` 0: no bound. `bgsave`, `aof_write` and `aof_rewrite` are "ok" or what went wrong;
    `saves` tells whether snapshots are configured, None where that may not be read. `changes`:
    writes that no snapshot holds; `misconf` and `oom`: refused writes so far.
    """

    version: str
    role: str
    replica_linked: bool
    loading: bool
    clients: int
    max_clients: int
    rejected: int
    used_memory: int
    max_memory: int
    policy: str
    evicted: int
    oom: int
    misconf: int
    keys: int
    bgsave: str
    saved_at: datetime | None
    changes: int
    saves: bool | None
    aof: bool
    aof_write: str
    aof_rewrite: str

    @property
    def memory_share(self) -> float | None:
        """Of its own bound; None where it has none."""
        return self.used_memory / self.max_memory if self.max_memory else None

    @property
    def persists(self) -> bool:
        """Whether it writes anything to a disk, as far as can be told."""
        return self.aof or self.saves is not False


@dataclass(frozen=True, slots=True)
class Rates:
    """Between two looks: keys thrown away, writes refused for memory, connections refused."""

    evicted: float = 0.0
    oom: float = 0.0
    rejected: float = 0.0


@dataclass(frozen=True, slots=True)
class LastCounted:
    """What monitoring counted last, of a server that can be asked no more; None: unknown."""

    queued: int | None = None
    changes: int | None = None


@dataclass(frozen=True, slots=True)
class CacheReadings:
    """One look. `unreachable` says why there is nothing from outside.

    `inside` is what it says in its pod, `instance` that pod, None where none is configured;
    `counted` is asked for when it does not answer from outside. `queued`: tasks by queue.
    """

    at: datetime
    unreachable: str = ""
    state: CacheState | Unread = NOT_LOOKED_AT
    rates: Rates = Rates()
    queued: Mapping[str, int] = field(default_factory=dict)
    inside: Inside = NOT_ASKED
    instance: Instance | Unread | None = None
    counted: LastCounted = LastCounted()

    def unread(self) -> Mapping[str, str]:
        """Parts that could not be read, with the reason."""
        parts = {"state": self.state, "pod": self.instance}
        return {name: part.reason for name, part in parts.items() if isinstance(part, Unread)}
