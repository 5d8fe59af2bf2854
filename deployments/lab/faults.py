"""Faults: each does to the running lab what reality would do, as a superuser behind the API's back.

Nothing is undone and nothing is recomputed. Each returns exactly what it damaged, which only the
demo's table and the tests may look at: the product has to find it.
"""

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg

from deployments.lab.patient import DATABASE
from deployments.lab.postgres import PostgresServer

_MODIFIED, _DELETED = 7, 5
_REWARDED = (
    "SELECT seq, record FROM audit_records WHERE event_type = 'annotation' AND seq >= %s"
    " ORDER BY seq LIMIT 1"
)


class Patient(Protocol):
    """What a fault needs of a lab: the server, and how far its log is backed up and signed."""

    patient: PostgresServer
    backup_size: int
    sealed_size: int


@dataclass(frozen=True, slots=True)
class Damage:
    """The seqs that a fault altered and removed, ascending; `table`: the table itself is gone."""

    modified: tuple[int, ...] = ()
    deleted: tuple[int, ...] = ()
    table: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the alert that the patient's monitoring raises for it."""

    name: str
    description: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    inject: Callable[[Patient], Damage]


def tampered_records(lab: Patient, seed: int = 1) -> Damage:
    """Rewrite seven records and remove five, spread over the signed log.

    Two of the removed are neighbours, and of each kind some are newer than the backup.
    """
    chance = random.Random(seed)  # noqa: S311  reproducible on purpose
    newer = range(lab.backup_size, lab.sealed_size) or range(lab.sealed_size)
    first_lost = chance.randrange(lab.backup_size // 2, lab.backup_size - 1)
    deleted = {
        first_lost,
        first_lost + 1,
        chance.randrange(1, lab.backup_size // 2),
        *chance.sample(newer[: len(newer) // 2], _DELETED - 3),
    }
    modified: dict[int, bytes] = {}
    with lab.patient.connect(DATABASE) as connection, connection.transaction():
        for part in range(_MODIFIED):
            low = lab.sealed_size * part // _MODIFIED
            high = lab.sealed_size * (part + 1) // _MODIFIED - _MODIFIED
            seq, line = _rewritten(connection, chance.randrange(low, high), deleted, chance)
            modified[seq] = line
        for seq, line in modified.items():
            connection.execute("UPDATE audit_records SET record = %s WHERE seq = %s", (line, seq))
        connection.execute("DELETE FROM audit_records WHERE seq = ANY(%s)", (list(deleted),))
    return Damage(tuple(sorted(modified)), tuple(sorted(deleted)))


def table_dropped(lab: Patient) -> Damage:
    """The table is gone, and with it the view: what a wrong migration does."""
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("DROP TABLE audit_records CASCADE")
    return Damage(table=True)


def _rewritten(
    connection: psycopg.Connection, start: int, avoid: set[int], chance: random.Random
) -> tuple[int, bytes]:
    """An annotation from `start` on with another reward: the reason to tamper with such a log."""
    while True:
        row = connection.execute(_REWARDED, (start,)).fetchone()
        if row is None:
            raise LookupError(f"expected an annotation from record {start} on, found none")
        if row[0] not in avoid:
            break
        start = row[0] + 1
    event = json.loads(row[1])
    event["data"]["reward"] = round(event["data"]["reward"] + chance.choice((-1, 1)) * 0.5, 4)
    event["data"]["preferred"] = "b" if event["data"]["preferred"] == "a" else "a"
    return row[0], json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "tampered-records",
            "an attacker with superuser rights rewrites seven audit records and removes five",
            {
                "alertname": "AuditTrailIntegrityFailure",
                "severity": "critical",
                "category": "audit",
                "job": "audit-integrity",
            },
            {
                "summary": "Audit trail integrity check failed",
                "description": "audit_log_integrity_check_passed is 0",
                "remediation": "Verify the audit trail and restore it from backup if data is lost",
            },
            tampered_records,
        ),
        Fault(
            "table-dropped",
            "a wrong migration drops the table of audit records",
            {
                "alertname": "AuditLogStorageIssue",
                "severity": "high",
                "category": "audit",
                "job": "rlhf-audit-trail-app",
            },
            {
                "summary": "Audit records cannot be written",
                "description": "increase(audit_log_write_errors_total[5m]) > 0",
                "remediation": "Check the database and its storage",
            },
            table_dropped,
        ),
    )
}


def notification(fault: Fault, at: datetime | None = None) -> dict[str, Any]:
    """Alertmanager's version-4 webhook for the fault, as it would send it."""
    starts = (at or datetime.now(UTC)).isoformat().replace("+00:00", "Z")
    labels = dict(fault.labels)
    name = labels["alertname"]
    fingerprint = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "version": "4",
        "receiver": "runbook",
        "status": "firing",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": dict(fault.annotations),
        "externalURL": "http://127.0.0.1:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": dict(fault.annotations),
                "startsAt": starts,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9090/graph",
                "fingerprint": fingerprint,
            }
        ],
    }
