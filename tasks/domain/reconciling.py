"""What Alertmanager says fires, held against what we know: which differences there are. Pure.

Alertmanager's word is taken with care: what it has and we do not is taken in, after the time that
it waits itself before it sends; what we have and it does not is over only when every peer says so
again and again, has been up for a while and shows the Watchdog.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tasks.domain.alert_state import Episode, Source

SETTLED = timedelta(minutes=5)
"""An Alertmanager that is younger may not have heard yet of all that fires."""

ARRIVING = timedelta(seconds=60)
"""A younger alert's notification may be on its way: Alertmanager collects a group for 30 s."""

GONE_AFTER = timedelta(minutes=2)
"""What no Alertmanager has known for so long is over."""

AGAIN_AFTER = timedelta(minutes=5)
"""What is resolved here, or its incident closed, and fires there for so long does fire: longer than
a peer takes to forget what only the other was told of."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert as one Alertmanager lists it. Texts are hostile, as they came.

    `suppressed`: it fires, and is silenced or inhibited. `pending`: not yet processed.
    """

    fingerprint: str
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    receivers: tuple[str, ...] = ()
    suppressed: bool = False
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What one peer answered. `up_since`: when its process started."""

    up_since: datetime
    alerts: tuple[Listed, ...]


@dataclass(slots=True)
class Differences:
    """Where the two disagree.

    `missing`: fires there, unknown here. `again`: fires there, resolved here, and since when.
    `outlasting`: fires there, its incident closed here, and when. `gone`: fires here, unknown
    there. `disputed`: all episodes of which they say different things, decided or not yet.
    """

    missing: list[Listed] = field(default_factory=list)
    again: list[tuple[Listed, datetime]] = field(default_factory=list)
    outlasting: list[tuple[Listed, datetime]] = field(default_factory=list)
    gone: list[Episode] = field(default_factory=list)
    disputed: list[Episode] = field(default_factory=list)


def union(looks: Iterable[Look]) -> dict[str, Listed]:
    """What fires according to anybody, by fingerprint; the newest episode, one that notifies first.

    A peer that has silenced an alert does not hide that another is going to tell of it.
    """
    found: dict[str, Listed] = {}
    for look in looks:
        for listed in look.alerts:
            known = found.get(listed.fingerprint)
            if known is None or _weight(listed) > _weight(known):
                found[listed.fingerprint] = listed
    return found


def compare(
    there: Mapping[str, Listed],
    here: Mapping[str, Sequence[Episode]],
    now: datetime,
    *,
    closed: Mapping[str, datetime],
    receiver: str = "",
    at_once: bool = False,
    is_whole: bool,
) -> Differences:
    """`here`: episodes by fingerprint, oldest first, of all that fires here or is listed there.

    `closed`: incidents of theirs that were closed, and when. `receiver`: of others' alerts none is
    taken in. `at_once`: alerts are known to have been left out, so nothing is waited for.
    `is_whole`: every peer answered and can be believed when it does not know an alert.
    """
    found = Differences()
    for fingerprint, listed in there.items():
        newest = here[fingerprint][-1] if here.get(fingerprint) else None
        if newest is None or _is_followed_by(newest, listed):
            has_arrived = abs(now - listed.starts_at) >= ARRIVING  # a future one tells no age
            if _is_ours(listed, receiver) and (at_once or has_arrived):
                found.missing.append(listed)
        elif newest.resolved_at is not None and not listed.suppressed:
            found.disputed.append(newest)
            since = newest.disputed_since
            if since is not None and now - since >= AGAIN_AFTER and _is_ours(listed, receiver):
                found.again.append((listed, since))
        elif newest.incident in closed and _is_ours(listed, receiver):
            closed_at = closed[newest.incident]
            if now - closed_at >= AGAIN_AFTER:
                found.outlasting.append((listed, closed_at))
    for newest in absent(there, here):
        found.disputed.append(newest)
        since = newest.disputed_since
        if is_whole and since is not None and now - since >= GONE_AFTER:
            found.gone.append(newest)
    return found


def is_believed(
    look: Look, now: datetime, is_heartbeat: Callable[[Listed], bool], *, expected: bool
) -> bool:
    """Whether this peer's not knowing an alert means that it does not fire.

    With `expected` it must list an alert that always fires: else it does not hear Prometheus.
    """
    if now - look.up_since < SETTLED:
        return False
    return not expected or any(map(is_heartbeat, look.alerts))


def absent(there: Mapping[str, Listed], here: Mapping[str, Sequence[Episode]]) -> list[Episode]:
    """What fires here and is listed by nobody."""
    return [
        episodes[-1]
        for fingerprint, episodes in here.items()
        if fingerprint not in there and _fires_here(episodes[-1])
    ]


def _is_followed_by(newest: Episode, listed: Listed) -> bool:
    return newest.starts_at != listed.starts_at and newest.began_at < listed.starts_at


def _fires_here(episode: Episode) -> bool:
    """Of an incident, told by others, and not resolved."""
    ours = episode.incident != "" and episode.source is not Source.HEARTBEAT
    return ours and episode.fired and episode.resolved_at is None


def _is_ours(listed: Listed, receiver: str) -> bool:
    notified = not listed.suppressed and not listed.pending
    return notified and (not receiver or receiver in listed.receivers)


def _weight(listed: Listed) -> tuple[datetime, bool]:
    return listed.starts_at, not listed.suppressed and not listed.pending
