"""Alertmanager asked what fires, and the differences mended through the intake's own way.

What never arrived is taken in as a notification that we write ourselves, in version 4 and read by
the same parser, so hostile text is handled alike; what no longer fires becomes a resolved event of
its incident. Asking takes seconds and holds no transaction; two gateways that ask at the same
time do no harm, since the intake knows an event that it has taken.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import alertmanager
from tasks.clients.errors import ClientError
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alert_state import Episode
from tasks.domain.alertmanager import VERSION, parse
from tasks.domain.errors import BadInput
from tasks.domain.policy import RoutingPolicy
from tasks.domain.reconciling import Differences, Listed, Look, absent, compare, is_believed, union
from tasks.settings import settings
from tasks.work import alert_states, asking, incidents, intake, journal, responder, routing

_EVENTS_PER_BODY = 200
_GONE = "noticed by reconciliation: no Alertmanager knows this alert any more"
_AGAIN = "noticed by reconciliation: resolved, and Alertmanager says that it fires"
_OUTLASTING = "noticed by reconciliation: its incident was closed, and it still fires"

_CLOSED = """
SELECT incident, min(at) FROM journal WHERE kind = 'closed' AND incident = ANY(%s) GROUP BY incident
"""

_Event = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One look. `complaints`: why peers did not answer, and why alerts could not be taken in."""

    peers: int
    answered: int
    missing: int = 0
    again: int = 0
    outlasting: int = 0
    gone: int = 0
    complaints: tuple[str, ...] = ()

    @property
    def differences(self) -> int:
        """How many alerts we did not have right."""
        return self.missing + self.again + self.outlasting + self.gone


def reconcile(now: datetime, *, at_once: bool = False) -> Reconciled:
    """Ask every peer at `now`, and take in what differs; committed when this returns.

    Raises Transient when our database is away: then nothing counts as answered. `at_once` as in
    `compare`.
    """
    urls = settings().alertmanager.urls
    looks, complaints = _look_at(urls)
    found = _differences(looks, len(urls), now, at_once=at_once) if looks else Differences()
    events = [
        *(_firing(listed, listed.starts_at, listed.annotations) for listed in found.missing),
        *(_firing(listed, since, {"summary": _AGAIN}) for listed, since in found.again),
        *(_firing(listed, since, {"summary": _OUTLASTING}) for listed, since in found.outlasting),
        *(_resolved(episode) for episode in found.gone),
    ]
    complaints += _take(events)
    asking.record(now, len(urls), len(looks))  # what was left out is taken in by now
    return Reconciled(
        peers=len(urls),
        answered=len(looks),
        missing=len(found.missing),
        again=len(found.again),
        outlasting=len(found.outlasting),
        gone=len(found.gone),
        complaints=tuple(complaints),
    )


def _differences(looks: Sequence[Look], peers: int, now: datetime, *, at_once: bool) -> Differences:
    """What differs, without heartbeats: our own question is no beat.

    Compared without the journal's lock, which the intake waits for: what is seen meanwhile is
    never disputed, and the intake knows an event that it has taken.
    """
    there = union(looks)
    with responder.connection() as connection:
        firing = alert_states.firing_in(connection)
        here = alert_states.episodes_in(connection, firing | there.keys())
        closed = _closed_at(connection, {episodes[-1].incident for episodes in here.values()})
    found = compare(
        there,
        here,
        now,
        closed=closed,
        receiver=settings().alertmanager.receiver,
        at_once=at_once,
        is_whole=len(looks) == peers and _are_believed(looks, absent(there, here), now),
    )
    with incidents.durably() as connection:
        journal.lock(connection)
        alert_states.dispute_in(connection, found.disputed, now)
    policy = routing.current()
    return replace(
        found,
        missing=[listed for listed in found.missing if not _is_heartbeat(policy, listed)],
        again=[one for one in found.again if not _is_heartbeat(policy, one[0])],
        outlasting=[one for one in found.outlasting if not _is_heartbeat(policy, one[0])],
    )


def _closed_at(connection: Connection[TupleRow], names: Collection[str]) -> dict[str, datetime]:
    return dict(connection.execute(_CLOSED, (list(names),)).fetchall())


def _look_at(urls: Sequence[str]) -> tuple[list[Look], list[str]]:
    looks, complaints = [], []
    for url in urls:
        try:
            looks.append(alertmanager.look(settings().alertmanager, url.rstrip("/")))
        except ClientError as error:
            complaints.append(f"{type(error).__name__}: {error}")
    return looks, complaints


def _are_believed(looks: Sequence[Look], gone: Sequence[Episode], now: datetime) -> bool:
    """Asked only when something depends on it: it routes every alert of every peer."""
    policy = routing.current()
    expected = settings().gateway.watchdog_minutes > 0
    return bool(gone) and all(
        is_believed(look, now, lambda listed: _is_heartbeat(policy, listed), expected=expected)
        for look in looks
    )


def _is_heartbeat(policy: RoutingPolicy, listed: Listed) -> bool:
    alert = Alert(
        listed.fingerprint,
        AlertStatus.FIRING,
        listed.starts_at,
        listed.labels,
        listed.annotations,
    )
    return policy.route(alert).heartbeat


def _firing(listed: Listed, starts_at: datetime, annotations: Mapping[str, str]) -> _Event:
    return {
        "status": AlertStatus.FIRING.value,
        "fingerprint": listed.fingerprint,
        "startsAt": starts_at.isoformat(),
        "labels": dict(listed.labels),
        "annotations": dict(annotations),
    }


def _resolved(episode: Episode) -> _Event:
    return {
        "status": AlertStatus.RESOLVED.value,
        "fingerprint": episode.fingerprint,
        "startsAt": episode.starts_at.isoformat(),
        "labels": dict(episode.labels),
        "annotations": {"summary": _GONE},
    }


def _take(events: Sequence[_Event]) -> list[str]:
    """Take the events in; complaints about those that cannot be understood."""
    complaints: list[str] = []
    for start in range(0, len(events), _EVENTS_PER_BODY):
        received = []
        for body in _bodies(events[start : start + _EVENTS_PER_BODY]):
            try:
                received.append(intake.Received(body, parse(body), intake.RECONCILED))
            except BadInput as error:
                complaints.append(f"an alert of Alertmanager's was not understood: {error}")
        if received:
            intake.take(received)
    return complaints


def _bodies(events: Sequence[_Event]) -> Iterator[bytes]:
    """One notification of all; of each its own when they are not understood together."""
    together = _body(events)
    try:
        parse(together)
    except BadInput:
        yield from (_body([event]) for event in events)
    else:
        yield together


def _body(events: Sequence[_Event]) -> bytes:
    notification = {
        "version": VERSION,
        "groupKey": intake.RECONCILED,
        "receiver": intake.RECONCILED,
        "truncatedAlerts": 0,
        "alerts": list(events),
    }
    return json.dumps(notification, sort_keys=True).encode()
