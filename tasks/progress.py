"""Progress of long work, as Prefect shows it beside a run."""

import logging
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.domain.pace import Pace

_logger = logging.getLogger(__name__)

_SHORT_SECONDS = 2.0
_STEP_SECONDS = 1.0


def shown_progress(key: str, what: str) -> Callable[[int, int], None]:
    """A progress callback (done, due) that shows long work in the UI; short work shows nothing."""
    shown = _Shown(key)

    def show(done: int, due: int) -> None:
        percent = min(100.0, 100.0 * done / due) if due else 100.0
        shown.tell(percent, f"{done:,} of {due:,} {what}", is_end=done >= due)

    return show


def shown_pace(key: str, also: Callable[[Pace], None] | None = None) -> Callable[[Pace], None]:
    """The same for work that says how long it will take; `also` hears it as often as the UI."""
    shown = _Shown(key)

    def show(now: Pace) -> None:
        if shown.tell(100.0 * now.share, str(now), is_end=now.share >= 1) and also is not None:
            also(now)

    return show


class _Shown:
    """One artifact, made when work takes long, and then updated once a second."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._began = self._last = time.monotonic()
        self._artifact: UUID | None = None

    def tell(self, percent: float, text: str, *, is_end: bool) -> bool:
        """Whether it was time to tell."""
        now = time.monotonic()
        if now - self._began < _SHORT_SECONDS or (now - self._last < _STEP_SECONDS and not is_end):
            return False
        self._last = now
        try:
            self._update(percent, text)
        except Exception as error:  # noqa: BLE001 - what is shown must never end what is done
            _logger.warning("progress is not shown: %s", error)
        return True

    def _update(self, percent: float, text: str) -> None:
        if self._artifact is None:
            made = create_progress_artifact(percent, key=f"progress-{self._key}", description=text)
            # a coroutine only in async tasks
            self._artifact = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(self._artifact, percent, description=text)
