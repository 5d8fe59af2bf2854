"""A workload's history as people read it: `kubectl rollout history`, with images and evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.releases import releases_of
from tasks.domain.rollout_evidence import Worth
from tasks.domain.rollout_look import Looked
from tasks.domain.untrusted import visible

SHOWN = 20

_IMAGES = 5
_TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One revision; all texts are made harmless. `at` is UTC: when it was rolled out."""

    number: int
    holder: str
    current: bool
    images: tuple[str, ...]
    cause: str
    at: datetime | None
    who: str
    healthy: tuple[str, ...]
    failed: tuple[str, ...]

    def as_json(self) -> Mapping[str, Any]:
        """For an observation's evidence, and for programs."""
        return {
            "revision": self.number,
            "holder": self.holder,
            "current": self.current,
            "images": list(self.images),
            "cause": self.cause,
            "at": self.at and self.at.isoformat(),
            "who": self.who,
            "healthy": list(self.healthy),
            "failed": list(self.failed),
        }

    @property
    def known(self) -> str:
        """What is known of it, the worse first."""
        if self.failed:
            return f"failed: {self.failed[0]}"
        return f"healthy: {self.healthy[0]}" if self.healthy else "nothing is known of it"


def history_lines(looked: Looked, shown: int = SHOWN) -> Sequence[HistoryLine]:
    """The revisions, newest first; change causes may sit on the wrong one and decide nothing."""
    history = looked.revisions
    releases = releases_of("", looked.workload, history)
    return [
        HistoryLine(
            number=each.number,
            holder=each.holder,
            current=each.current,
            images=tuple(visible(image, _TEXT_LIMIT) for image in each.images[:_IMAGES]),
            cause=visible(release.cause, _TEXT_LIMIT),
            at=release.at,
            who=visible(release.who, _TEXT_LIMIT),
            healthy=_shown(looked.said_of(each, Worth.HEALTHY)),
            failed=_shown(looked.said_of(each, Worth.FAILED)),
        )
        for each, release in list(zip(history, releases, strict=True))[:shown]
    ]


def _shown(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(visible(each, _TEXT_LIMIT) for each in texts[:3])
