"""From where on the diagnosis of the API calls something a cause, and how much it may do."""

from dataclasses import dataclass, field
from datetime import timedelta

from tasks.domain.disruption import RestartCaps


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Bounds: shares from 0 to 1, times in seconds.

    `busy_share` of its limit is where a pod is short of it, `wanted_share` what it is to use after
    scaling up. `slow_seconds` is slow also where no baseline is known. `caps` bound one remedy,
    `restarts_per_hour` how many remedies that restart pods of the workload there may be.
    """

    busy_share: float = 0.9
    wanted_share: float = 0.7
    slow_seconds: float = 2.0
    refused_logins: float = 10.0
    starting_seconds: float = 120.0
    caps: RestartCaps = field(default_factory=lambda: RestartCaps(share=0.5, number=10))
    restarts_per_hour: int = 3

    @property
    def starting(self) -> timedelta:
        """How long a pod may take until it is ready."""
        return timedelta(seconds=self.starting_seconds)
