"""What ails the API's answers: how many fail, with what, and how long they take.

The lab's cluster writes it to a small file; the API process reads the file again when it changed.
"""

import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deployments.lab.errors import LabError

_JITTER = 0.2  # of a delay: no two requests take exactly as long


@dataclass(frozen=True, slots=True)
class Effect:
    """On requests: the share that fails with `status` and `detail`, and seconds that all wait."""

    error_share: float = 0.0
    status: int = 500
    detail: str = "Internal Server Error"
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.error_share <= 1 or self.delay_seconds < 0:
            raise LabError(f"expected a share of errors from 0 to 1 and a delay, found {self}")

    def and_also(self, other: "Effect") -> "Effect":
        """Both at once, each as if it were alone."""
        worse = max(self, other, key=lambda each: each.error_share)
        share = 1 - (1 - self.error_share) * (1 - other.error_share)
        delay = self.delay_seconds + other.delay_seconds
        return Effect(share, worse.status, worse.detail, delay)


NONE = Effect()


def shared(effects: Sequence[Effect]) -> Effect:
    """What users have of several pods, each with the same share of the requests."""
    if not effects:
        return NONE
    worst = max(effects, key=lambda each: each.error_share)
    share = sum(each.error_share for each in effects) / len(effects)
    delay = sum(each.delay_seconds for each in effects) / len(effects)
    return Effect(share, worst.status, worst.detail, delay)


def write_effect(file: Path, effect: Effect) -> None:
    """Replace the file as a whole."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(effect)), encoding="utf-8")
    unfinished.replace(file)


class Strain:
    """The effect as it is now, for each request anew. Without a file there is none, ever."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen = 0
        self._effect = NONE
        self._chance = random.Random()  # noqa: S311  not a secret

    def now(self) -> Effect:
        """As the file says; as before while there is none."""
        if self._file is None:
            return NONE
        try:
            found = os.stat(self._file)  # noqa: PTH116  a tenth of Path.stat, at each request
        except FileNotFoundError:
            return self._effect
        if found.st_mtime_ns != self._seen:
            self._effect = Effect(**json.loads(self._file.read_text(encoding="utf-8")))
            self._seen = found.st_mtime_ns
        return self._effect

    def delay(self) -> float:
        """Seconds that this request waits."""
        delay = self.now().delay_seconds
        return delay * self._chance.uniform(1 - _JITTER, 1 + _JITTER) if delay else 0.0

    def failure(self) -> Effect | None:
        """What this request fails with, if it is one that fails."""
        effect = self.now()
        return effect if self._chance.random() < effect.error_share else None
