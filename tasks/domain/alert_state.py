"""What state an alert is in: firing, resolved, flapping or stale. No clock, no database.

An alert is known by its fingerprint, one stretch of its firing (an episode) by its startsAt. What
counts is the time of the event and never the order of arrival: all that was seen of one episode is
joined (commutative, associative, idempotent), so any order and any repetition of the same
sightings end in the same states. A newer episode says that every older one of its fingerprint is
over; a resolved closes the episode it names and no other. Only a startsAt in the future is not
believed: the sender's clock was wrong, and the episode began when it was first seen.

That does not hold, and need not, of `labels` and `source`: the first sighting gives them (labels
are equal where fingerprints are). And when the same deliveries arrive in another order *and* are
therefore stamped with other times, the moment of a change may differ, though not the state that
is left once things are quiet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.domain.alert import Alert, AlertStatus

FLAPPING_CHANGES = 4
"""So many changes (began, resolved, began, resolved) ..."""

FLAPPING_WITHIN = timedelta(minutes=30)
"""... within this time make an alert flap."""

FLAPPING_QUIET = timedelta(minutes=15)
"""Without a change for so long it no longer flaps."""

STALE_AFTER = timedelta(minutes=10)
"""An alert that nobody can be asked about for so long is believed neither to fire nor to rest."""

EPISODES_KEPT = 8
"""The newest ones of a fingerprint decide; older ones are over in any case."""


class State(StrEnum):
    """Only `RESOLVED` lets an incident close."""

    FIRING = "firing"
    RESOLVED = "resolved"
    FLAPPING = "flapping"
    STALE = "stale"


class Source(StrEnum):
    """Who said so: a notification, our own question to Alertmanager, our own dead-man timer."""

    NOTIFICATION = "notification"
    RECONCILIATION = "reconciliation"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Sighting:
    """An alert as it came in at `at`; `incident` is empty while it belongs to none.

    `truncated`: its notification left alerts out, so silence about the others means nothing.
    """

    alert: Alert
    incident: str
    at: datetime
    source: Source
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Episode:
    """All that was seen of one startsAt of one fingerprint.

    `fired` is False while only its resolved has come. `first_seen` and `last_seen` are arrivals.
    `disputed_since`: since then Alertmanager says otherwise than this episode does.
    """

    fingerprint: str
    starts_at: datetime
    labels: Mapping[str, str]
    source: Source
    incident: str
    fired: bool
    resolved_at: datetime | None
    first_seen: datetime
    last_seen: datetime
    truncated_at: datetime | None = None
    disputed_since: datetime | None = None

    @classmethod
    def of(cls, seen: Sighting) -> "Episode":
        """The episode as one sighting shows it."""
        resolved = seen.alert.status is AlertStatus.RESOLVED
        return cls(
            fingerprint=seen.alert.fingerprint,
            starts_at=seen.alert.starts_at,
            labels=seen.alert.labels,
            source=seen.source,
            incident=seen.incident,
            fired=not resolved,
            resolved_at=seen.at if resolved else None,
            first_seen=seen.at,
            last_seen=seen.at,
            truncated_at=seen.at if seen.truncated else None,
        )

    @property
    def began_at(self) -> datetime:
        """Its startsAt, unless that lay in the future when it was seen."""
        return min(self.starts_at, self.first_seen)

    @property
    def order(self) -> tuple[datetime, datetime]:
        """Sorts the episodes of a fingerprint, oldest first."""
        return self.began_at, self.starts_at

    def join(self, other: "Episode") -> "Episode":
        """What both say together; `other` is the same episode."""
        return replace(
            self,
            incident=max(self.incident, other.incident),  # any name rather than none
            fired=self.fired or other.fired,
            resolved_at=_earliest(self.resolved_at, other.resolved_at),
            first_seen=min(self.first_seen, other.first_seen),
            last_seen=max(self.last_seen, other.last_seen),
            truncated_at=_latest(self.truncated_at, other.truncated_at),
        )


@dataclass(frozen=True, slots=True)
class AlertState:
    """An alert of an incident, judged at one moment. `since`: when its newest episode changed."""

    fingerprint: str
    labels: Mapping[str, str]
    state: State
    since: datetime
    last_seen: datetime
    truncated_at: datetime | None = None

    @property
    def name(self) -> str:
        """The alertname label; hostile text, empty when absent."""
        return self.labels.get("alertname", "")


def joined(sightings: Iterable[Sighting]) -> list[Episode]:
    """The episodes of a batch, each once, in a fixed order (so that two batches lock alike)."""
    episodes: dict[tuple[str, datetime], Episode] = {}
    for seen in sightings:
        episode = Episode.of(seen)
        place = (episode.fingerprint, episode.starts_at)
        known = episodes.get(place)
        episodes[place] = episode if known is None else known.join(episode)
    return [episodes[place] for place in sorted(episodes)]


def judge(
    episodes: Sequence[Episode],
    now: datetime,
    unanswered_since: datetime | None = None,
    incident: str | None = None,
) -> AlertState:
    """The state at `now` of one fingerprint, from at least one of its episodes, in any order.

    `unanswered_since`: since when no Alertmanager answers; None while one does, and where there is
    none to ask. With `incident` its newest episode in that incident is judged: one that
    began anew in another incident is over in this one.
    """
    ordered = sorted(episodes, key=lambda episode: episode.order)[-EPISODES_KEPT:]
    places = [
        place
        for place, episode in enumerate(ordered)
        if incident is None or episode.incident == incident
    ]
    place = places[-1] if places else 0  # all of the incident's are older than the ones kept
    judged, over_at = ordered[place], _over_at(ordered, place)
    if is_flapping(changes(ordered), now):
        state = State.FLAPPING
    elif over_at is not None:
        state = State.RESOLVED
    else:
        state = State.STALE if _is_stale(judged, now, unanswered_since) else State.FIRING
    return AlertState(
        fingerprint=judged.fingerprint,
        labels=judged.labels,
        state=state,
        since=over_at or judged.began_at,
        last_seen=judged.last_seen,
        truncated_at=judged.truncated_at,
    )


def changes(ordered: Sequence[Episode]) -> list[datetime]:
    """When a fingerprint began and ceased to fire, oldest first."""
    found = []
    for place, episode in enumerate(ordered):
        found.append(episode.began_at)
        over_at = _over_at(ordered, place)
        if over_at is not None:
            found.append(over_at)
    return sorted(found)


def is_flapping(changed: Sequence[datetime], now: datetime) -> bool:
    """Whether it changed often since it was last quiet. Changes after `now` are nobody's proof."""
    past = [moment for moment in changed if moment <= now]
    if not past or now - past[-1] >= FLAPPING_QUIET:
        return False
    restless = [past[-1]]
    for moment in reversed(past[:-1]):
        if restless[-1] - moment >= FLAPPING_QUIET:
            break
        restless.append(moment)
    return any(
        newer - older <= FLAPPING_WITHIN
        for newer, older in zip(restless, restless[FLAPPING_CHANGES - 1 :], strict=False)
    )


def _over_at(ordered: Sequence[Episode], place: int) -> datetime | None:
    """When an episode ended: resolved, or followed by the next of its fingerprint."""
    episode = ordered[place]
    followed_at = ordered[place + 1].began_at if place + 1 < len(ordered) else None
    ended = _earliest(episode.resolved_at, followed_at)
    return None if ended is None else max(ended, episode.began_at)


def _is_stale(episode: Episode, now: datetime, unanswered_since: datetime | None) -> bool:
    doubtful_since = [
        max(moment, episode.last_seen)
        for moment in (unanswered_since, episode.disputed_since)
        if moment is not None
    ]
    return any(now - moment > STALE_AFTER for moment in doubtful_since)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)
