"""Faults: each does to the running lab what reality would do, as a superuser behind the API's back.

Nothing is undone and nothing is recomputed. Each returns exactly what it damaged, which only the
demo's table and the tests may look at: the product has to find it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deployments.lab.api_faults import api_slow, pods_crash_looping
from deployments.lab.backup_faults import (
    corrupt_backup,
    disk_full,
    missing_wal,
    tampered_and_backed_up,
)
from deployments.lab.breach_faults import (
    credential_stuffing,
    data_exfiltration,
    evidence_store_down,
    insider_tampering,
)
from deployments.lab.cache_faults import redis_down
from deployments.lab.cluster_faults import api_down
from deployments.lab.communication_faults import chat_down, dpo_unreachable
from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.privacy_faults import annotator_exposed, noise_broken, privacy_overspend
from deployments.lab.queue_faults import queue_backlog
from deployments.lab.release_faults import bad_release
from deployments.lab.session_faults import connections_exhausted, lock_storm, slow_queries
from deployments.lab.storage_faults import database_down, disk_filling
from deployments.lab.store_faults import bucket_versions_deleted, segments_deleted
from deployments.lab.table_faults import table_dropped, tampered_records

_INTEGRITY_LABELS = {
    "alertname": "AuditTrailIntegrityFailure",
    "severity": "critical",
    "category": "audit",
    "job": "audit-integrity",
}
_INTEGRITY = {
    "summary": "Audit trail integrity check failed",
    "description": "audit_log_integrity_check_passed is 0",
    "remediation": "Verify the audit trail and restore it from backup if data is lost",
}
_STORAGE_LABELS = {
    "alertname": "AuditLogStorageIssue",
    "severity": "high",
    "category": "audit",
    "job": "rlhf-audit-trail-app",
}
_STORAGE = {
    "summary": "Audit records cannot be written",
    "description": "increase(audit_log_write_errors_total[5m]) > 0",
    "remediation": "Check the database and its storage",
}
_PRIVACY_LABELS = {"category": "privacy", "job": "privacy-metrics"}
_DATABASE_LABELS = {"severity": "high", "category": "infrastructure", "job": "postgres"}
_API_LABELS = {"category": "operational", "job": "rlhf-audit-trail-app"}
_SECURITY_LABELS = {"category": "security", "job": "rlhf-audit-trail-app"}
_EXPOSED_LABELS = {
    "alertname": "AnnotatorDataExposed",
    "severity": "critical",
    "category": "privacy",
    "job": "rlhf-audit-trail-app",
}
_EXPOSED = {
    "summary": "Data of annotators was found where everybody can read it",
    "description": "an export of annotations lies in a public bucket",
}
_REBUILD = "Rebuild what proves the log from what is proven"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the alert about it.

    `monitored`: the patient's own monitoring sees it and raises that alert by itself.
    """

    name: str
    description: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    inject: Callable[[Parts], Damage]
    monitored: bool = True


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "tampered-records",
            "an attacker with superuser rights rewrites seven audit records and removes five",
            _INTEGRITY_LABELS,
            _INTEGRITY,
            tampered_records,
        ),
        Fault(
            "tampered-and-backed-up",
            "seven rewritten records go unnoticed while two signed backups are taken of them",
            _INTEGRITY_LABELS,
            _INTEGRITY,
            tampered_and_backed_up,
        ),
        Fault(
            "table-dropped",
            "a wrong migration drops the table of audit records",
            _STORAGE_LABELS,
            _STORAGE,
            table_dropped,
        ),
        Fault(
            "corrupt-backup",
            "records are tampered with, and the newest backup has flipped bytes",
            _INTEGRITY_LABELS,
            _INTEGRITY,
            corrupt_backup,
        ),
        Fault(
            "missing-wal",
            "a wrong migration deletes tables, and a WAL segment is missing from the archive",
            _STORAGE_LABELS,
            _STORAGE,
            missing_wal,
        ),
        Fault(
            "disk-full",
            "records are tampered with, and the responder has no room for a restore (needs root)",
            _INTEGRITY_LABELS,
            _INTEGRITY,
            disk_full,
        ),
        Fault(
            "segments-deleted",
            "somebody deletes segments and tiles of the sealed log; the bucket keeps versions",
            _INTEGRITY_LABELS,
            {
                "summary": "Audit log segments are missing in the object store",
                "description": "objects of the sealed audit log were deleted",
                "remediation": _REBUILD,
            },
            segments_deleted,
            monitored=False,
        ),
        Fault(
            "bucket-versions-deleted",
            "segments and tiles of the sealed log are destroyed with all their versions",
            _INTEGRITY_LABELS,
            {
                "summary": "Audit log segments are gone from the object store",
                "description": "objects of the sealed audit log have no version left",
                "remediation": _REBUILD,
            },
            bucket_versions_deleted,
            monitored=False,
        ),
        Fault(
            "lock-storm",
            "a migration that nobody ends locks the audit table, and everybody waits",
            {"alertname": "DatabaseLockContention", **_DATABASE_LABELS},
            {"summary": "Sessions wait for locks", "description": "lock waits for minutes"},
            lock_storm,
            monitored=False,
        ),
        Fault(
            "connections-exhausted",
            "a client leaks connections until the database takes no more",
            {"alertname": "DatabaseConnectionsExhausted", **_DATABASE_LABELS},
            {"summary": "No connection is left", "description": "numbackends at the limit"},
            connections_exhausted,
            monitored=False,
        ),
        Fault(
            "slow-queries",
            "queries without an end keep the database busy",
            {"alertname": "DatabaseSlowQueries", **_DATABASE_LABELS},
            {"summary": "Queries run for too long", "description": "the longest for minutes"},
            slow_queries,
            monitored=False,
        ),
        Fault(
            "privacy-overspend",
            "the privacy budgets are reset at night, and the engine overspends one person's",
            {"alertname": "PrivacyBudgetExceeded", "severity": "critical", **_PRIVACY_LABELS},
            {"summary": "More than 90 % of the privacy budget is spent"},
            privacy_overspend,
            monitored=False,
        ),
        Fault(
            "noise-broken",
            "the privacy engine adds half of the noise that it claims",
            {"alertname": "DifferentialPrivacyNoiseLow", "severity": "high", **_PRIVACY_LABELS},
            {"summary": "privacy_noise_multiplier below 1.0"},
            noise_broken,
            monitored=False,
        ),
        Fault(
            "disk-filling",
            "the database's volume is nearly full and goes on filling",
            {"alertname": "DiskSpaceLow", "severity": "high", "category": "infrastructure"},
            {"summary": "A volume is more than 85 % full"},
            disk_filling,
        ),
        Fault(
            "database-down",
            "PostgreSQL hangs in its pod and answers nobody",
            {"alertname": "DatabaseDown", "severity": "critical", "category": "infrastructure"},
            {"summary": "PostgreSQL does not answer"},
            database_down,
            monitored=False,  # errors of the API ring as well, and perhaps first
        ),
        Fault(
            "redis-down",
            "Redis hangs in its pod and answers nobody",
            {"alertname": "RedisDown", "severity": "high", "category": "infrastructure"},
            {"summary": "Redis does not answer"},
            redis_down,
        ),
        Fault(
            "queue-backlog",
            "tasks arrive faster than the two workers take them, and pile up",
            {
                "alertname": "CeleryQueueBacklog",
                "severity": "warning",
                "category": "performance",
                "job": "redis",
            },
            {"summary": "More than 1000 jobs wait for the workers"},
            queue_backlog,
        ),
        Fault(
            "api-down",
            "the API's pods are there, but the program in each of them hangs",
            {"alertname": "ApplicationDown", "severity": "critical", **_API_LABELS},
            {"summary": "The RLHF Audit Trail application is down"},
            api_down,
        ),
        Fault(
            "api-slow",
            "the load grows until the API's pods are short of CPU and every answer takes seconds",
            {
                "alertname": "HighResponseTime",
                "severity": "warning",
                "category": "performance",
                "job": "rlhf-audit-trail-app",
            },
            {"summary": "95th percentile of the response time above 2 s"},
            api_slow,
        ),
        Fault(
            "bad-release",
            "a release is rolled out that is ready and then fails nine of ten requests",
            {"alertname": "HighErrorRate", "severity": "high", **_API_LABELS},
            {"summary": "More than 5 % of the requests fail"},
            bad_release,
        ),
        Fault(
            "pods-crash-looping",
            "one of the API's pods crashes at each start and fails its share of the requests",
            {"alertname": "HighErrorRate", "severity": "high", **_API_LABELS},
            {"summary": "More than 5 % of the requests fail"},
            pods_crash_looping,
        ),
        Fault(
            "breach-credential-stuffing",
            "forty accounts are tried from one address, which is then let in with a stolen token",
            {
                "alertname": "SuspiciousAuthenticationPattern",
                "severity": "critical",
                **_SECURITY_LABELS,
            },
            {"summary": "Many accounts are refused, and then one is let in"},
            credential_stuffing,
            monitored=False,
        ),
        Fault(
            "breach-data-exfiltration",
            "an analyst's account, refused by the API, copies the audit trail from the database",
            {"alertname": "PotentialDataExfiltration", "severity": "critical", **_SECURITY_LABELS},
            {"summary": "One session reads far more than ever before"},
            data_exfiltration,
            monitored=False,
        ),
        Fault(
            "insider-tampering",
            "somebody of the house rewrites seven audit records and removes five",
            {"alertname": "UnauthorizedAccessAttempt", "severity": "critical", **_SECURITY_LABELS},
            {"summary": "An account is denied what it may not read, again and again"},
            insider_tampering,
            monitored=False,
        ),
        Fault(
            "privacy-annotator-exposed",
            "an export with the annotators' data lies in a bucket that everybody can read",
            _EXPOSED_LABELS,
            _EXPOSED,
            annotator_exposed,
            monitored=False,
        ),
        Fault(
            "dpo-unreachable",
            "the same, while chat is down and the data protection officer's mailbox is full",
            _EXPOSED_LABELS,
            _EXPOSED,
            dpo_unreachable,
            monitored=False,
        ),
        Fault(
            "chat-down",
            "seven records are rewritten and five removed while chat is down",
            _INTEGRITY_LABELS,
            _INTEGRITY,
            chat_down,
        ),
        Fault(
            "evidence-store-down",
            "an intruder is let in while the store that would take the evidence is down",
            {
                "alertname": "SuspiciousAuthenticationPattern",
                "severity": "critical",
                **_SECURITY_LABELS,
            },
            {"summary": "Many accounts are refused, and then one is let in"},
            evidence_store_down,
            monitored=False,
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
