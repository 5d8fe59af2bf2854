"""How far long work is, and when it will end, from the share of it that is done."""

from collections.abc import Callable
from dataclasses import dataclass

_LEAST_SHARE = 0.02
"""Below it an estimate says nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`share` from 0 to 1; `seconds_left` is None as long as nobody can say."""

    what: str
    share: float
    seconds_left: float | None = None

    def __str__(self) -> str:
        if self.seconds_left is None:
            return self.what if not self.share else f"{self.what}: {100 * self.share:.0f} %"
        percent = f"{self.what}: {100 * self.share:.0f} %"
        minutes, seconds = divmod(round(self.seconds_left), 60)
        left = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        return f"{percent}, about {left} left"


Told = Callable[[Pace], None]
"""Hears about progress, a few times a second at most."""


def pace(what: str, done: float, due: float, seconds: float) -> Pace:
    """The pace after `seconds` of work, of which `done` of `due` is done."""
    share = min(1.0, max(0.0, done / due)) if due > 0 else 0.0
    if share < _LEAST_SHARE:
        return Pace(what, share)
    return Pace(what, share, seconds * (1 - share) / share)
