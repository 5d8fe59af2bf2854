"""Whom the trouble reaches, estimated from Prometheus's answers, with the questions shown.

Failing requests are the request rate times the share of answers with a 5xx status; users are asked
for only where a metric tells them apart. What Prometheus does not say, or says as NaN or Inf, is
unknown with the reason, never 0: no requests and no metric are two different troubles.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.domain.observation import Health
from tasks.domain.severity import SLOWER_SHARE

FEWEST_REQUESTS = 20
"""In a window: quantiles and shares of fewer requests are chance."""

QUANTILES = {"p50_seconds": 0.5, "p95_seconds": 0.95, "p99_seconds": 0.99}

_NOTICED = 0.01  # share of errors from which the API is degraded, long before it is P1
_PRECISION = 6


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked: names of the system's own metrics, windows in seconds.

    `selector` holds PromQL matchers of the API's series; `since_onset` is how long ago the trouble
    began: the baseline is taken from before it. `users` is PromQL of one value, or empty.
    """

    requests: str
    durations: str
    status: str
    selector: str
    users: str
    window: int
    baseline: int
    since_onset: int

    def as_promql(self) -> dict[str, str]:
        """Name of each reading, and the PromQL that gives it as one value."""
        now = f"[{self.window}s]"
        # an alert fires some time after its cause: a whole window before it is left out
        before = f"[{self.baseline}s] offset {self.since_onset + self.window}s"
        failing = f'{self.selector},{self.status}=~"5.."'.lstrip(",")
        asked = {
            "requests": f"sum(rate({self.requests}{{{self.selector}}}{now}))",
            "errors": f"sum(rate({self.requests}{{{failing}}}{now}))",
            "baseline_requests": f"sum(rate({self.requests}{{{self.selector}}}{before}))",
            "baseline_p95_seconds": self._quantile(QUANTILES["p95_seconds"], before),
        }
        asked |= {name: self._quantile(share, now) for name, share in QUANTILES.items()}
        return asked | ({"users": self.users} if self.users else {})

    def _quantile(self, share: float, window: str) -> str:
        buckets = f"{self.durations}_bucket{{{self.selector}}}{window}"
        return f"histogram_quantile({share}, sum by (le) (rate({buckets})))"


@dataclass(frozen=True, slots=True)
class Impact:
    """What users notice. Rates per second, shares of 1; None is unknown, for `unknown`'s reason.

    `slower` is the change of the 95th percentile against the time before the onset: 0.5 is 50 %
    slower, None also where the difference is too small to be noticed.
    """

    requests: float | None
    error_share: float | None
    failing: float | None
    users: float | None
    users_affected: float | None
    seconds: Mapping[str, float | None]
    slower: float | None
    vanished: bool
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def health(self) -> Health:
        """Of the API, as its users have it."""
        if self.requests is None:
            return Health.UNKNOWN
        troubled = (
            self.vanished
            or (self.error_share or 0.0) >= _NOTICED
            or (self.slower or 0.0) >= SLOWER_SHARE
        )
        return Health.DEGRADED if troubled else Health.HEALTHY

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.requests is None:
            return f"user impact unknown: {self.unknown.get('requests', 'nothing is known')}"
        if self.vanished:
            return "no requests arrive any more; before the onset there were"
        if self.error_share is None:
            return f"no share of errors: {self.unknown['error_share']}"
        said = [
            f"{self.error_share:.1%} of {self.requests:.3g} requests/s fail",
            "users unknown"
            if self.users_affected is None
            else f"about {self.users_affected:.0f} of {self.users:.0f} users",
        ]
        p95 = self.seconds["p95_seconds"]
        if p95 is not None:
            changed = "" if self.slower is None else f" ({self.slower:+.0%})"
            said.append(f"p95 {p95 * 1000:.0f} ms{changed}")
        return ", ".join(said)

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence; severity reads `error_share`, `slower`, `users`."""
        return {
            "requests_per_second": self.requests,
            "error_share": self.error_share,
            "failing_per_second": self.failing,
            "users": self.users,
            "users_affected": self.users_affected,
            **self.seconds,
            "slower": self.slower,
            "vanished": self.vanished,
            "unknown": dict(self.unknown),
        }


def estimate(
    answers: Mapping[str, Sequence[float]],
    *,
    window: int,
    baseline: int,
    noticeable_seconds: float,
) -> Impact:
    """The impact from the values that Prometheus gave for each of the questions.

    `window` and `baseline` in seconds, as asked; a difference of the 95th percentile below
    `noticeable_seconds` is nobody's trouble, however large a share it is.
    """
    unknown: dict[str, str] = {}
    read = {
        name: _one(name, answers, unknown)
        for name in ("requests", "baseline_requests", *QUANTILES, "baseline_p95_seconds")
    }
    requests, before = read["requests"], read["baseline_requests"]
    share = _error_share(requests, answers, unknown)
    users = _one("users", answers, unknown)
    enough = requests is not None and requests * window >= FEWEST_REQUESTS
    if not enough or (before or 0.0) * baseline < FEWEST_REQUESTS:
        slower = None
        unknown["slower"] = f"fewer than {FEWEST_REQUESTS} requests, now or before the onset"
    else:
        slower = _slower(
            read["p95_seconds"], read["baseline_p95_seconds"], noticeable_seconds, unknown
        )
    known = share is not None and users is not None
    return Impact(
        requests=_round(requests),
        error_share=_round(share),
        failing=None if share is None or requests is None else _round(requests * share),
        users=_round(users),
        users_affected=_round(_affected(users or 0.0, share or 0.0)) if known else None,
        seconds={name: _round(read[name]) for name in (*QUANTILES, "baseline_p95_seconds")},
        slower=slower,
        vanished=requests == 0.0 and (before or 0.0) * baseline >= FEWEST_REQUESTS,
        unknown=unknown,
    )


def _one(
    name: str, answers: Mapping[str, Sequence[float]], unknown: dict[str, str]
) -> float | None:
    """The one finite value of an answer, or None with the reason noted."""
    values = answers.get(name, ())
    if len(values) == 1 and math.isfinite(values[0]) and values[0] >= 0:
        return values[0]
    if name not in answers:
        unknown[name] = "no query is configured"
    elif not values:
        unknown[name] = "Prometheus has no such series"
    elif len(values) > 1:
        unknown[name] = f"expected one value, found {len(values)}"
    else:
        unknown[name] = f"expected a number of 0 or more, found {values[0]}"
    return None


def _error_share(
    requests: float | None, answers: Mapping[str, Sequence[float]], unknown: dict[str, str]
) -> float | None:
    """Failing requests as a share of all; no series of a 5xx status means that none failed yet."""
    if requests is None:
        unknown["error_share"] = unknown["requests"]
        return None
    if requests == 0.0:
        unknown["error_share"] = "no requests"
        return None
    if "errors" in answers and not answers["errors"]:
        return 0.0
    errors = _one("errors", answers, unknown)
    if errors is None:
        unknown["error_share"] = unknown["errors"]
        return None
    return min(errors / requests, 1.0)  # two counters that were not read at the same instant


def _affected(users: float, share: float) -> float:
    """Users who meet an error, if errors reach all alike; one at least when anything fails."""
    return min(users, max(users * share, 1.0)) if share else 0.0


def _slower(
    now: float | None, before: float | None, noticeable: float, unknown: dict[str, str]
) -> float | None:
    if now is None or before is None:
        unknown["slower"] = unknown["p95_seconds" if now is None else "baseline_p95_seconds"]
        return None
    if before == 0.0:
        unknown["slower"] = "the baseline is 0 s"
        return None
    if abs(now - before) < noticeable:
        unknown["slower"] = f"p95 differs by less than {noticeable} s, which nobody notices"
        return None
    return _round(now / before - 1.0)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _PRECISION)
