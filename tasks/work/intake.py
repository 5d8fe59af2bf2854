"""What notifications do: they are stored, and open or join incidents, all in one transaction.

Many are taken at once, so that one commit is paid for all of them. Notifications, alert rows,
facts and orders are committed together and before a sender hears 2xx, so nothing is stored by
half. The same event sent twice has one effect: a notification is known by its SHA-256, an alert by
fingerprint + startsAt + status.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients.errors import Transient
from tasks.domain.alert_state import Sighting, Source
from tasks.domain.alertmanager import Notification
from tasks.work import alert_states, heartbeats, incidents, journal, quarantine, routing
from tasks.work.admission import Admission

log = logging.getLogger("gateway.intake")

RECONCILED = "reconciliation"
"""The source of what Alertmanager never sent, and we found by asking it."""

_STORE = """
INSERT INTO notifications (digest, body)
SELECT * FROM unnest(%b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING RETURNING digest
"""


@dataclass(frozen=True, slots=True)
class Received:
    """An understood notification with its bytes. `source` says who brought it.

    `received_at`: when it came, where that was earlier than now: it lay in the spool.
    """

    body: bytes
    notification: Notification
    source: str = ""
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a notification did.

    `duplicate`: it was stored before, and did nothing now. `not_admitted`: it is stored and shown
    in quarantine, because admitting its alerts failed.
    """

    digest: str
    opened: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    new_alerts: int = 0
    duplicate: bool = False
    not_admitted: bool = False


def take_notification(body: bytes, notification: Notification, source: str = "") -> Taken:
    """Take one notification; committed when this returns. Raises Transient as `take` does."""
    (taken,) = take([Received(body, notification, source)])
    return taken


def take(batch: Sequence[Received]) -> list[Taken]:
    """Take notifications in their order, in one transaction that is on disk when this returns.

    Raises Transient when the database cannot be reached: then nothing is known to be stored, and
    taking the batch again does no harm.
    """
    try:
        return _take_together(batch)
    except Transient:
        raise
    except Exception as error:  # one that cannot be admitted must not keep the others out
        if len(batch) > 1:
            return [taken for received in batch for taken in take([received])]
        log.exception("a notification could not be admitted")
        return [_keep_aside(batch[0], error)]


def _take_together(batch: Sequence[Received]) -> list[Taken]:
    policy, now = routing.current(), datetime.now(UTC)
    digests = [hashlib.sha256(received.body).digest() for received in batch]
    with incidents.durably() as connection:
        admission = Admission(connection, policy, now)
        for name, at in sorted(_heartbeats(batch, admission, now).items()):
            heartbeats.beat_in(connection, name, at)
        new = _store(connection, batch, digests)
        journal.lock(connection)  # what is open at our first look is open when we commit
        admission.look(received.notification for received in batch)
        taken = []
        for received, digest in zip(batch, digests, strict=True):
            if digest in new:
                new.remove(digest)  # its second copy in this batch is a duplicate
                at = received.received_at or now
                did = admission.take(digest, received.notification.alerts, at)
                taken.append(
                    Taken(digest.hex(), tuple(did.opened), tuple(did.joined), did.new_alerts)
                )
            else:
                taken.append(Taken(digest.hex(), duplicate=True))
        admission.write()
        alert_states.observe_in(connection, list(_sightings(batch, admission, now)))
    return taken


def _store(
    connection: Connection[TupleRow], batch: Sequence[Received], digests: Sequence[bytes]
) -> set[bytes]:
    """Store the bodies; the digests that were not there before.

    In the order of their digests, or two gateways that store the same would wait for each other.
    """
    bodies = dict(sorted(zip(digests, (received.body for received in batch), strict=True)))
    rows = connection.execute(_STORE, (list(bodies), list(bodies.values()))).fetchall()
    return {digest for (digest,) in rows}


def _heartbeats(
    batch: Sequence[Received], admission: Admission, now: datetime
) -> dict[str, datetime]:
    """When each heartbeat of the batch last beat: one from the spool has beaten long ago."""
    beats: dict[str, datetime] = {}
    for received in batch:
        at = received.received_at or now
        for name in admission.heartbeats(received.notification):
            beats[name] = max(at, beats.get(name, at))
    return beats


def _sightings(
    batch: Sequence[Received], admission: Admission, now: datetime
) -> Iterator[Sighting]:
    """Every alert as it was seen, duplicates too: they say that it still fires."""
    for received in batch:
        reconciled = received.source == RECONCILED
        for alert in received.notification.alerts:
            yield Sighting(
                alert=alert,
                incident=admission.incident_of(alert),
                at=received.received_at or now,
                source=Source.RECONCILIATION if reconciled else Source.NOTIFICATION,
                truncated=received.notification.truncated > 0,
            )


def _keep_aside(received: Received, error: Exception) -> Taken:
    """Store it and quarantine it in one transaction: once stored, its copies are duplicates."""
    digest = hashlib.sha256(received.body).digest()
    reason = f"understood, but not admitted: {type(error).__name__}"
    with incidents.durably() as connection:
        _store(connection, [received], [digest])
        quarantine.keep_in(connection, reason, len(received.body), received.body)
    return Taken(digest.hex(), not_admitted=True)
