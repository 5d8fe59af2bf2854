"""Progress of long work, as Prefect shows it beside a run."""

import logging
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

_logger = logging.getLogger(__name__)

_SHORT_SECONDS = 2.0
_STEP_SECONDS = 1.0


def shown_progress(key: str, what: str) -> Callable[[int, int], None]:
    """A progress callback (done, due) that shows long work in the UI; short work shows nothing."""
    began = last = time.monotonic()
    artifact: UUID | None = None

    def show(done: int, due: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - began < _SHORT_SECONDS or (now - last < _STEP_SECONDS and done < due):
            return
        last = now
        percent = min(100.0, 100.0 * done / due) if due else 100.0
        text = f"{done:,} of {due:,} {what}"
        try:
            tell(percent, text)
        except Exception as error:  # noqa: BLE001 - what is shown must never end what is done
            _logger.warning("progress is not shown: %s", error)

    def tell(percent: float, text: str) -> None:
        nonlocal artifact
        if artifact is None:
            made = create_progress_artifact(percent, key=f"progress-{key}", description=text)
            artifact = made if isinstance(made, UUID) else None  # a coroutine only in async tasks
        else:
            update_progress_artifact(artifact, percent, description=text)

    return show
