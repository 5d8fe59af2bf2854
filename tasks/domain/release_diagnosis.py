"""Whether the release that a workload runs is to blame, by what the cluster shows of it. Pure.

A release that starts and then answers with errors shows nothing here: the API's own diagnosis finds
it, or a person says so.
"""

from collections.abc import Sequence
from typing import Any

from tasks.domain.causes import Cause, Confidence, ranked
from tasks.domain.mending import Effect
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.rollback_plan import Planned, WayBack, undo_remedial, way_back
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.rollout_evidence import Worth
from tasks.domain.rollout_history import CannotUndo
from tasks.domain.rollout_look import Looked
from tasks.domain.rollout_status import Progress
from tasks.domain.untrusted import visible

COMPONENT = "release"

_TEXT_LIMIT = 200


def diagnose(looked: Looked, wish: RollbackWish | None = None) -> tuple[Cause, ...]:
    """A release that cannot start, or that a person wants gone."""
    current = looked.current
    failed = looked.said_of(current, Worth.FAILED) if current else ()
    if looked.status.progress is Progress.FAILED:
        failed = (looked.status.text, *failed)
    if wish is None and not failed:
        return ()
    way = way_back(looked, wanted=wish.holder if wish else "")
    causes = []
    if failed:
        text = f"{looked.target}: the new release does not start: {visible(failed[0], _TEXT_LIMIT)}"
        causes.append(_cause("release.stalled", Confidence.PROVEN, text, looked, way))
    if wish is not None:
        text = f"{visible(wish.by, 80)} wants {looked.target} rolled back"
        causes.append(_cause("release.unwanted", Confidence.LIKELY, text, looked, way))
    return ranked(causes)


def effect_of(looked: Looked, planned: Planned, code: str) -> Effect:
    """Whether the workload is at the planned revision, whole.

    One that still goes on is `unseen`: to return from a slow rollout would be to the bad release.
    """
    status = looked.status
    failed = status.progress is Progress.FAILED
    if looked.template != planned.good.template:
        failed = False
        text = f"{code} is not gone: {planned.target} is not at {planned.good}"
    elif status.progress is Progress.DONE:
        return Effect(gone=True, text=f"{code} is gone: {status.text}, at {planned.good}")
    else:
        text = f"{code} is not gone: {status.text}"
    return Effect(gone=False, text=text, causes=(code,), unseen=not failed)


def nothing_to_undo(looked: Looked, causes: Sequence[Cause]) -> Outcome:
    """A release that only people mend, a history that is not certain, or nothing wrong at all."""
    if causes:
        why = causes[0].evidence["no_way_back"]["text"]
        return Outcome(Ending.MANUAL, f"{causes[0].summary}; there is no way back by us: {why}")
    if isinstance(looked.history, CannotUndo):
        return Outcome(Ending.MANUAL, looked.history.text)
    text = f"nothing is wrong with the release of {looked.target}: {looked.status.text}"
    return Outcome(Ending.NO_ACTION, f"{text}; nothing was changed")


def _cause(
    code: str, confidence: Confidence, text: str, looked: Looked, way: WayBack | CannotUndo
) -> Cause:
    current = looked.current
    evidence: dict[str, Any] = {
        "workload": looked.target,
        "status": looked.status.progress.value,
        "revision": current.number if current else None,
        "against": [
            visible(each, _TEXT_LIMIT)
            for each in (looked.said_of(current, Worth.FAILED)[:5] if current else ())
        ],
    }
    if isinstance(way, CannotUndo):
        evidence["no_way_back"] = {"why": way.why.value, "text": visible(way.text, 300)}
    remedy = undo_remedial(way) if isinstance(way, WayBack) else None
    return Cause(code, COMPONENT, confidence, text, evidence, remedy)
