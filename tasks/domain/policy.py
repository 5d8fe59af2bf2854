"""Routing: which part of the runbook an alert starts.

By the alert's name first (the served system's own alerts), then by its category label, else
triage: an alert without a procedure is looked at, told to a person and escalated, never dropped.
Titles are our own words: alert text is hostile and stays in the alert's facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from tasks.domain.alert import Alert
from tasks.domain.alertmanager import clean

TRIAGE = "triage"
"""The procedure of alerts for which the runbook has none: first checks, then a person."""

SECURITY = "security"
"""The component whose alerts are told to the security team at once."""

DPO_CLOCK = "dpo"
"""Name of the one-hour clock of "Notify DPO within 1 hour"."""

DPO_LIMIT = timedelta(hours=1)

_TITLE_LIMIT = 160


@dataclass(frozen=True, slots=True)
class Route:
    """Where an alert goes.

    `component` groups alerts into one incident, `procedure` is a section of the runbook (the
    module in flows/), `starts_dpo_clock` whether personal data may be concerned.
    """

    component: str
    procedure: str
    title: str
    starts_dpo_clock: bool = False


_BY_NAME: Mapping[str, Route] = {
    "AuditTrailIntegrityFailure": Route(
        "audit-trail", "audit_trail", "Audit trail: integrity verification failed"
    ),
    "MerkleTreeValidationFailure": Route(
        "audit-trail", "audit_trail", "Audit trail: Merkle tree validation failed"
    ),
    "AuditLogStorageIssue": Route(
        "audit-trail", "audit_trail", "Audit trail: records cannot be written"
    ),
    "PrivacyBudgetExceeded": Route(
        "privacy-engine",
        "privacy_engine",
        "Privacy: budget nearly or wholly spent",
        starts_dpo_clock=True,
    ),
    "DifferentialPrivacyNoiseLow": Route(
        "privacy-engine", "privacy_engine", "Privacy: too little noise", starts_dpo_clock=True
    ),
    "DataRetentionViolation": Route(
        "privacy", "privacy_incident", "Privacy: personal data kept too long", starts_dpo_clock=True
    ),
    "ApplicationDown": Route("api", "api_service", "API: down"),
    "HighResponseTime": Route("api", "api_service", "API: slow"),
    "HighErrorRate": Route("api", "api_service", "API: many errors"),
    "DatabaseDown": Route("database", "database", "Database: down"),
    "DiskSpaceLow": Route("database", "database", "Storage: disk space is low"),
    "RedisDown": Route("cache", TRIAGE, "Cache: down"),
    "HighMemoryUsage": Route("api", "api_service", "API: memory is short"),
    "HighCPUUsage": Route("api", "api_service", "API: processor is short"),
    "SuspiciousAuthenticationPattern": Route(
        SECURITY, "breach", "Security: suspicious authentication"
    ),
    "UnauthorizedAccessAttempt": Route(SECURITY, "breach", "Security: unauthorised access"),
    "PotentialDataExfiltration": Route(
        SECURITY, "breach", "Security: data may be leaving the system", starts_dpo_clock=True
    ),
}

_BY_CATEGORY: Mapping[str, Route] = {
    "audit": Route("audit-trail", "audit_trail", "Audit trail"),
    "privacy": Route("privacy", "privacy_incident", "Privacy", starts_dpo_clock=True),
    "operational": Route("api", "api_service", "API"),
    "performance": Route("api", "api_service", "API"),
    "infrastructure": Route("infrastructure", TRIAGE, "Infrastructure"),
    "security": Route(SECURITY, "breach", "Security"),
    "compliance": Route("compliance", TRIAGE, "Compliance"),
    "rlhf": Route("rlhf", TRIAGE, "RLHF training"),
}

_OTHER = Route("unknown", TRIAGE, "Alert")


def route(alert: Alert) -> Route:
    """The route of an alert; every alert has one."""
    known = _BY_NAME.get(alert.name)
    if known is not None:
        return known
    broad = _BY_CATEGORY.get(alert.category, _OTHER)
    title = clean(f"{broad.title}: {alert.name or 'alert without a name'}", _TITLE_LIMIT)
    return Route(broad.component, broad.procedure, title, broad.starts_dpo_clock)
