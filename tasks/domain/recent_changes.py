"""What was deployed lately, and which of it may have begun the trouble: correlated in time.

Nearness in time is no proof. So the nearest change before the onset is suspected, never convicted;
what came after the onset cannot have begun it, and is named so that nobody rolls it back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tasks.domain.untrusted import visible

NEAR = timedelta(minutes=30)
"""Most bad releases show within so long of their rollout."""

LATELY = timedelta(days=1)

CLOCKS_DIFFER = timedelta(minutes=1)
"""Of the cluster and of whoever saw the trouble first: so little after the onset is before it."""

SCREEN = 10

_TEXT_LIMIT = 200
_IMAGES = 5


class Timing(StrEnum):
    """How a change lies to the onset, the more suspect first. UNKNOWN: one of both has no time."""

    JUST_BEFORE = "just before"
    LATELY = "lately"
    AFTER = "after"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a workload as it was rolled out; texts are a stranger's.

    `component` is that of the runbook which the workload serves, "api" for example; `at` is UTC.
    """

    component: str
    workload: str
    revision: int
    images: tuple[str, ...]
    cause: str
    at: datetime | None
    who: str


@dataclass(frozen=True, slots=True)
class RecentChange:
    """A release and how it lies to the onset; `before` is negative for one that came after it."""

    release: Release
    timing: Timing
    before: timedelta | None

    @property
    def summary(self) -> str:
        """One line for people."""
        release = self.release
        when = "at an unknown time" if self.before is None else _in_words(self.before)
        parts = [f"{visible(release.workload, 80)} revision {release.revision} {when}"]
        parts += [visible(image, _TEXT_LIMIT) for image in release.images[:_IMAGES]]
        parts += [visible(release.cause, _TEXT_LIMIT)] if release.cause else []
        return ", ".join(parts) + (f", by {visible(release.who, 80)}" if release.who else "")

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        release = self.release
        return {
            "component": release.component,
            "workload": visible(release.workload, 80),
            "revision": release.revision,
            "images": [visible(image, _TEXT_LIMIT) for image in release.images[:_IMAGES]],
            "cause": visible(release.cause, _TEXT_LIMIT),
            "at": release.at and release.at.isoformat(),
            "who": visible(release.who, 80),
            "timing": self.timing.value,
            "minutes_before_onset": None if self.before is None else _minutes(self.before),
        }


def correlate(
    releases: Iterable[Release],
    onset: datetime | None,
    affected: Iterable[str] = (),
    shown: int = SCREEN,
) -> tuple[RecentChange, ...]:
    """The changes that may matter, the most suspect first; those older than a day are left out.

    Among equals one of an `affected` component comes first, then the nearest to the onset.
    """
    suspects = frozenset(affected)
    found = [_timed(release, onset) for release in releases]
    lately = [each for each in found if each.before is None or each.before <= LATELY]
    lately.sort(
        key=lambda each: (
            _ORDER[each.timing],
            each.release.component not in suspects,
            abs(each.before) if each.before is not None else LATELY,
            each.release.workload,
            -each.release.revision,
        )
    )
    return tuple(lately[:shown])


_ORDER = {timing: place for place, timing in enumerate(Timing)}


def _timed(release: Release, onset: datetime | None) -> RecentChange:
    if release.at is None or onset is None:
        return RecentChange(release, Timing.UNKNOWN, None)
    before = onset - release.at
    if before < -CLOCKS_DIFFER:
        return RecentChange(release, Timing.AFTER, before)
    return RecentChange(release, Timing.JUST_BEFORE if before <= NEAR else Timing.LATELY, before)


def _minutes(before: timedelta) -> float:
    return round(before.total_seconds() / 60, 1)


def _in_words(before: timedelta) -> str:
    side = "before" if before >= timedelta(0) else "after"
    return f"{abs(_minutes(before)):.0f} min {side} the onset"
