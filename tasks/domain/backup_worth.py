"""Whether the backups are sound: the runbook's "Check that the backups are sound"; pure.

Sound is a fresh one that somebody we trust signed and that a drill has brought back. Each thing
that is missing from that is said, because each is mended by somebody else.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tasks.domain.backups import Backup, Kind
from tasks.domain.observation import Health

FRESH = timedelta(hours=26)
"""The system dumps daily; two hours are for the dump itself."""

_RESTORED = frozenset({Kind.DUMP, Kind.CLUSTER_DUMP, Kind.BASE})
_DRILLED = timedelta(days=8)  # an older one is drilled each week


def judge(backups: Iterable[Backup], now: datetime) -> tuple[Health, str]:
    """Health and one sentence.

    Failed: nothing could be restored. Degraded: something could, but it is old, unsigned or
    unproven. Healthy: a fresh signed one, and a drill of the last eight days that passed.
    """
    listed = list(backups)
    useful = [each for each in listed if not each.unusable and each.kind in _RESTORED]
    if not useful:
        reasons = sorted({each.unusable for each in listed if each.unusable})
        return Health.FAILED, f"no usable backup: {'; '.join(reasons[:3]) or 'none is there'}"
    trusted = [each for each in useful if each.trusted]
    newest = max(trusted or useful, key=_reach)
    missing = [
        "" if trusted else "none has a signed manifest",
        "" if now - _reach(newest) <= FRESH else f"older than {FRESH.total_seconds() / 3600:.0f} h",
        _unproven(useful, now),
    ]
    lacking = "; ".join(each for each in missing if each)
    text = f"{len(useful)} usable, the newest of {_moment(_reach(newest))} ({newest.key})"
    if lacking:
        return Health.DEGRADED, f"{text}: {lacking}"
    return Health.HEALTHY, f"{text}, proven by a drill"


def _unproven(useful: list[Backup], now: datetime) -> str:
    drills = [each.proven.at for each in useful if each.proven is not None]
    if not drills:
        return "no drill has proven any of them"
    last = max(drills)
    return "" if now - last <= _DRILLED else f"the last drill that passed was {_moment(last)}"


def _reach(backup: Backup) -> datetime:
    """The last moment that it brings back."""
    times = [each for each in (backup.covers_until, backup.taken_at) if each is not None]
    return max(times, default=datetime.min.replace(tzinfo=UTC))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z"
