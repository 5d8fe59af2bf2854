"""Causes of a database that does not answer from outside, by what it says in its own pod."""

from collections.abc import Iterable

from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.database_readings import DatabaseReadings, Disk, Unread, known
from tasks.domain.inside import Answer, is_contradicted
from tasks.domain.instance_restart import described, is_silent, restart_remedial
from tasks.domain.storage_causes import RESTART_DATABASE, what_a_restart_destroys

_COMPONENT = "database"
_NO_ROOM_SHARE = 0.99


def unreachable_causes(seen: DatabaseReadings, target: str) -> Iterable[Cause]:
    """One cause: cut off, not ready yet, or silent inside as well, which alone is restarted."""
    inside, instance = seen.inside, known(seen.instance)
    evidence = {
        "outside": seen.unreachable,
        "inside": inside.answer.value,
        "said": inside.text,
        "pod": described(instance) if instance else "",
    }
    match inside.answer:
        case Answer.READY:
            yield Cause(
                "db.unreachable-from-outside",
                _COMPONENT,
                Confidence.PROVEN,
                "PostgreSQL accepts connections in its pod and none from outside: look at its "
                f"service, network policies, address and password: {seen.unreachable}",
                evidence,
            )
        case Answer.BUSY:
            yield Cause(
                "db.starting",
                _COMPONENT,
                Confidence.PROVEN,
                "PostgreSQL starts, stops or replays WAL: wait, a restart would begin that anew: "
                f"{inside.text}",
                evidence,
            )
        case _:
            remedy = _restart(seen, target)
            hindrance = "" if remedy else f"; {why_no_restart(seen)}"
            yield Cause(
                "db.unreachable",
                _COMPONENT,
                Confidence.PROVEN,
                f"PostgreSQL does not answer, not even in a reserved slot{_inside(seen)}: "
                f"{seen.unreachable}{hindrance}",
                evidence,
                remedy,
            )


def contradicted_causes(seen: DatabaseReadings) -> Iterable[Cause]:
    """That the server which answers from outside says otherwise in its pod."""
    if is_contradicted(seen.inside):
        yield Cause(
            "db.answers-disagree",
            _COMPONENT,
            Confidence.POSSIBLE,
            "PostgreSQL answers from outside and not in its pod: is RUNBOOK_DATABASE__POD the pod "
            f"that its service leads to? {seen.inside.text}",
        )


def has_no_room(disk: Disk | None) -> bool:
    """Whether nothing can be written any more."""
    return bool(
        disk and disk.samples and disk.capacity and disk.used >= disk.capacity * _NO_ROOM_SHARE
    )


def why_no_restart(seen: DatabaseReadings) -> str:
    """Why we do not restart it ourselves."""
    instance = seen.instance
    if instance is None:
        return "which pod it runs in is not known: set RUNBOOK_DATABASE__POD"
    if isinstance(instance, Unread):
        return instance.reason
    if not is_silent(seen.inside, instance):
        return f"it is not restarted: whether it answers in its pod is unknown: {seen.inside.text}"
    if has_no_room(known(seen.disk)):
        return "it is not restarted: its disk is full, and it would not start"
    return instance.refusal


def _restart(seen: DatabaseReadings, target: str) -> Remedial | None:
    instance = known(seen.instance)
    if instance is None or not is_silent(seen.inside, instance) or has_no_room(known(seen.disk)):
        return None
    return restart_remedial(RESTART_DATABASE, instance, target, what_a_restart_destroys(seen))


def _inside(seen: DatabaseReadings) -> str:
    instance = known(seen.instance)
    if instance is not None and not instance.runs:
        return f", and its {described(instance)}"
    return ", nor in its pod" if seen.inside.answer is Answer.SILENT else ""
