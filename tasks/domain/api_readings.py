"""What was seen of the API at one moment, part by part: each may be `Unread` by itself.

What could not be read is never taken for well. Texts that others wrote are printable and bounded by
whoever read them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tasks.domain.api_limits import ApiLimits
from tasks.domain.causes import Cause
from tasks.domain.configuration import Configuration
from tasks.domain.database_readings import Unread, known
from tasks.domain.impact import FEWEST_REQUESTS, Impact
from tasks.domain.observation import Health
from tasks.domain.pod_health import PodHealth, Trouble, pod_health
from tasks.domain.pods import Event, PodState, PodUsage
from tasks.domain.recent_changes import RecentChange, Timing
from tasks.domain.releases import RESTARTED
from tasks.domain.rollout_look import Looked
from tasks.domain.scaling import ScalingPolicy, Surroundings
from tasks.domain.severity import SLOWER_SHARE

__all__ = ["ApiReadings", "Need", "Traffic", "Unread", "known"]

_NOT_LOOKED = Unread("not looked at")
_NOTICED = 0.01  # share of errors from which something is wrong, long before it is P1


@dataclass(frozen=True, slots=True)
class Traffic:
    """What Prometheus says of the last `window` seconds: requests, and logins that were refused."""

    impact: Impact
    refused_logins: float | None
    window: float

    @property
    def is_enough(self) -> bool:
        """Whether there were requests enough: shares and quantiles of fewer are chance."""
        return (self.impact.requests or 0.0) * self.window >= FEWEST_REQUESTS

    @property
    def error_share(self) -> float | None:
        """Of all requests; None is unknown, of too few requests too."""
        return self.impact.error_share if self.is_enough else None

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the time to answer, in seconds; None of too few requests."""
        return self.impact.seconds.get("p95_seconds") if self.is_enough else None

    def is_slow(self, limits: ApiLimits) -> bool:
        """Half as slow again as before or slower; without a baseline, by an absolute bound."""
        if self.impact.slower is not None:
            return self.impact.slower >= SLOWER_SHARE
        has_baseline = self.impact.seconds.get("baseline_p95_seconds") is not None
        return not has_baseline and (self.p95 or 0.0) >= limits.slow_seconds

    def is_failing(self) -> bool:
        """Whether requests fail, or have stopped to arrive."""
        return self.impact.vanished or (self.error_share or 0.0) >= _NOTICED


@dataclass(frozen=True, slots=True)
class Need:
    """The health of something that the API needs; `causes` are its own serious ones.

    `hurts`: whether such a trouble reaches the API's users now; a disk that fills does not yet.
    """

    health: Health
    summary: str
    causes: tuple[Cause, ...] = ()
    hurts: bool = True


@dataclass(frozen=True, slots=True)
class Connections:
    """Of the database that the API needs: how many are taken, of how many, and by which roles."""

    used: int
    usable: int
    by_user: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ApiReadings:
    """One look at the API and at what it needs. `at` and `onset` (of the trouble) are UTC.

    `answers`: what its health endpoint says to us. `looked`: its Deployment with its revisions, and
    `changes` the same as they lie to the onset, the most suspect first. `needs` are by component.
    `restarts_lately`: how often pods of the workload were restarted by us in the last hour.
    `policy`: our own bounds of its replicas; without one it is not scaled.
    """

    at: datetime
    onset: datetime | None = None
    answers: Need | Unread = _NOT_LOOKED
    traffic: Traffic | Unread = _NOT_LOOKED
    looked: Looked | Unread = _NOT_LOOKED
    changes: tuple[RecentChange, ...] = ()
    pods: tuple[PodState, ...] | Unread = _NOT_LOOKED
    usage: tuple[PodUsage, ...] | Unread = _NOT_LOOKED
    events: tuple[Event, ...] | Unread = _NOT_LOOKED
    around: Surroundings | Unread = _NOT_LOOKED
    configuration: Configuration | Unread = _NOT_LOOKED
    needs: Mapping[str, Need] = field(default_factory=dict)
    connections: Connections | Unread = _NOT_LOOKED
    restarts_lately: int = 0
    policy: ScalingPolicy | None = None

    def unread(self) -> Mapping[str, str]:
        """Parts that could not be read, with the reason; a missing permission is named."""
        parts = (
            *("answers", "traffic", "looked", "pods", "usage", "events", "around"),
            *("configuration", "connections"),
        )
        found = {name: getattr(self, name) for name in parts}
        return {name: part.reason for name, part in found.items() if isinstance(part, Unread)}

    def healths(self, limits: ApiLimits) -> tuple[PodHealth, ...]:
        """The pods, each with what is wrong with it; none when they could not be read."""
        return tuple(pod_health(pod, self.at, limits.starting) for pod in known(self.pods) or ())

    @property
    def suspect(self) -> RecentChange | None:
        """The revision that serves now, if it came just before the onset; a restart is none."""
        looked = known(self.looked)
        current = looked.current.number if looked and looked.current else None
        found = (
            each
            for each in self.changes
            if each.release.revision == current and each.release.cause != RESTARTED
        )
        return next((each for each in found if each.timing is Timing.JUST_BEFORE), None)

    def is_troubled(self, limits: ApiLimits) -> bool:
        """Whether users would notice: errors, slowness, or no answer at all."""
        answers, traffic = known(self.answers), known(self.traffic)
        dead = answers is not None and answers.health is Health.FAILED
        return dead or (traffic is not None and (traffic.is_slow(limits) or traffic.is_failing()))


def troubled(healths: Iterable[PodHealth], *kinds: Trouble) -> tuple[PodHealth, ...]:
    """Those with one of these troubles; without any named, those with any."""
    wanted = frozenset(kinds)
    return tuple(
        each for each in healths if (each.trouble in wanted if wanted else each.trouble.is_trouble)
    )
