"""Whether a release of the API is to blame, and the way back to one that worked. Pure.

Pods say it best: none of the new revision serves while others do, or cannot even start. Where they
say nothing, only the time does: a release just before it began is likely, never proven.
"""

from collections.abc import Iterable, Sequence

from tasks.domain.api_need_causes import COMPONENT
from tasks.domain.api_readings import ApiReadings, known
from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.pod_health import PodHealth, Trouble
from tasks.domain.rollback_plan import undo_remedial, way_back
from tasks.domain.rollout_history import CannotUndo
from tasks.domain.workloads import Revision

_NAMED = 10


def of_new_revision(seen: ApiReadings, healths: Sequence[PodHealth]) -> tuple[PodHealth, ...]:
    """Pods in trouble that are in it because of their revision; none when it is not to blame.

    It is when no pod of it serves, and either they cannot start, or it came just before the onset,
    or pods of another revision serve well.
    """
    looked = known(seen.looked)
    current = looked.current if looked else None
    if current is None:
        return ()
    mine = [each for each in healths if _is_of(each, current)]
    bad = tuple(each for each in mine if each.trouble.is_trouble)
    served = any(each.trouble is Trouble.WELL for each in mine)
    unmendable = any(each.trouble is Trouble.CANNOT_START for each in bad)
    others = any(each.trouble is Trouble.WELL and not _is_of(each, current) for each in healths)
    if not bad or (served and not unmendable):
        return ()
    if all(each.trouble is Trouble.NO_NODE for each in bad):
        return ()
    return bad if unmendable or seen.suspect is not None or others else ()


def broken_release(
    seen: ApiReadings, bad: Sequence[PodHealth], *, explained: bool
) -> Iterable[Cause]:
    """The revision that serves now, whose pods do not: `bad`, as `of_new_revision` found them."""
    looked = known(seen.looked)
    if not bad or looked is None or looked.current is None:
        return
    cannot = any(each.trouble is Trouble.CANNOT_START for each in bad)
    explained = explained and not cannot
    remedy, why = _undo(seen)
    since = f" since {seen.suspect.summary}" if seen.suspect else ""
    yield Cause(
        "api.release-change",
        COMPONENT,
        Confidence.POSSIBLE if explained else Confidence.PROVEN if cannot else Confidence.LIKELY,
        f"{len(bad)} pods of revision {looked.current.number} do not serve ({bad[0]}){since}{why}",
        _evidence(seen, looked.current) | {"pods": [str(each) for each in bad[:_NAMED]]},
        None if explained else remedy,
    )


def release_before_onset(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    """A release just before it began, where the pods themselves show no reason."""
    looked, suspect = known(seen.looked), seen.suspect
    if looked is None or looked.current is None or suspect is None:
        return
    remedy, why = _undo(seen)
    yield Cause(
        "api.release-change",
        COMPONENT,
        Confidence.POSSIBLE if explained else Confidence.LIKELY,
        f"released shortly before it began: {suspect.summary}{why}",
        _evidence(seen, looked.current),
        None if explained else remedy,
    )


def _undo(seen: ApiReadings) -> tuple[Remedial | None, str]:
    looked = known(seen.looked)
    if looked is None:
        return None, ""
    way = way_back(looked)
    if isinstance(way, CannotUndo):
        return None, f"; no way back: {way.text}"
    return undo_remedial(way), ""


def _evidence(seen: ApiReadings, current: Revision) -> dict[str, object]:
    return {
        "revision": current.number,
        "change": seen.suspect.as_json() if seen.suspect else None,
    }


def _is_of(health: PodHealth, revision: Revision) -> bool:
    owner = health.pod.controller
    return owner is not None and owner.uid == revision.holder_uid
