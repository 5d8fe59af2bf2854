"""How often one target is restarted within an hour, whatever the component. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tasks.domain.cache_diagnosis import RESTART_CACHE
from tasks.domain.causes import Cause
from tasks.domain.restart_plan import RESTART
from tasks.domain.storage_causes import RESTART_DATABASE

RESTARTS = frozenset({RESTART, RESTART_CACHE, RESTART_DATABASE})
"""The steps of plans that restart something."""


def within_cap(
    causes: Iterable[Cause], lately: Mapping[str, int], per_hour: int
) -> tuple[Cause, ...]:
    """The same causes; one whose remedy would be a restart too many has none, and says so.

    `lately`: how many plans have restarted each target within the hour.
    """
    return tuple(_without(each, lately, per_hour) for each in causes)


def _without(cause: Cause, lately: Mapping[str, int], per_hour: int) -> Cause:
    remedy = cause.remedy
    if remedy is None or remedy.step not in RESTARTS:
        return cause
    count = lately.get(remedy.target, 0)
    if count < per_hour:
        return cause
    said = f"{remedy.target} was restarted {count} times within the hour: something repeats"
    return replace(
        cause,
        summary=f"{cause.summary}; {said}",
        evidence={**cause.evidence, "restarts_within_the_hour": count},
        remedy=None,
    )
