"""Routing: every alert of the served system has its place, and none is dropped."""

from datetime import UTC, datetime

import pytest

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.policy import TRIAGE, route


def alert(name: str, category: str = "") -> Alert:
    labels = {"alertname": name} | ({"category": category} if category else {})
    return Alert("f", AlertStatus.FIRING, datetime(2026, 3, 14, tzinfo=UTC), labels, {})


@pytest.mark.parametrize(
    ("name", "category", "component", "procedure", "clock"),
    [
        ("CriticalComplianceViolation", "compliance", "compliance", TRIAGE, False),
        ("ComplianceScoreLow", "compliance", "compliance", TRIAGE, False),
        ("ComplianceWarningsHigh", "compliance", "compliance", TRIAGE, False),
        ("PrivacyBudgetExceeded", "privacy", "privacy-engine", "privacy_engine", True),
        ("DifferentialPrivacyNoiseLow", "privacy", "privacy-engine", "privacy_engine", True),
        ("DataRetentionViolation", "privacy", "privacy", "privacy_incident", True),
        ("AuditTrailIntegrityFailure", "audit", "audit-trail", "audit_trail", False),
        ("MerkleTreeValidationFailure", "audit", "audit-trail", "audit_trail", False),
        ("AuditLogStorageIssue", "audit", "audit-trail", "audit_trail", False),
        ("ApplicationDown", "operational", "api", "api_service", False),
        ("HighResponseTime", "performance", "api", "api_service", False),
        ("HighErrorRate", "operational", "api", "api_service", False),
        ("RLHFTrainingStalled", "rlhf", "rlhf", TRIAGE, False),
        ("LowAnnotationRate", "rlhf", "rlhf", TRIAGE, False),
        ("HumanOversightFailure", "rlhf", "rlhf", TRIAGE, False),
        ("DatabaseDown", "infrastructure", "database", "database", False),
        ("RedisDown", "infrastructure", "cache", TRIAGE, False),
        ("HighMemoryUsage", "infrastructure", "api", "api_service", False),
        ("HighCPUUsage", "infrastructure", "api", "api_service", False),
        ("DiskSpaceLow", "infrastructure", "database", "database", False),
        ("SuspiciousAuthenticationPattern", "security", "security", "breach", False),
        ("PotentialDataExfiltration", "security", "security", "breach", True),
        ("UnauthorizedAccessAttempt", "security", "security", "breach", False),
        ("NeverSeen", "", "unknown", TRIAGE, False),
        ("NeverSeen", "privacy", "privacy", "privacy_incident", True),
        ("NeverSeen", "no such category", "unknown", TRIAGE, False),
        ("", "", "unknown", TRIAGE, False),
    ],
)
def test_alert_goes_to_its_section_of_the_runbook(
    name: str, category: str, component: str, procedure: str, clock: bool
) -> None:
    found = route(alert(name, category))
    assert (found.component, found.procedure, found.starts_dpo_clock) == (
        component,
        procedure,
        clock,
    )
    assert found.title


def test_title_of_a_known_alert_is_ours_and_of_an_unknown_one_is_bounded() -> None:
    assert route(alert("DatabaseDown")).title == "Database: down"
    assert len(route(alert("x" * 1000)).title) <= 160
