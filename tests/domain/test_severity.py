"""Severity by the runbook's lists."""

from datetime import UTC, datetime

import pytest

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.observation import Health, Observation
from tasks.domain.severity import (
    Severity,
    assess_alert,
    assess_alerts,
    assess_alteration,
    assess_checks,
)


def alert(name: str = "X", **labels: str) -> Alert:
    known = {"alertname": name, **labels}
    return Alert("f", AlertStatus.FIRING, datetime(2026, 1, 1, tzinfo=UTC), known, {})


def seen(component: str, health: Health) -> Observation:
    return Observation("triage.x", component, health, "", 0.1)


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        ({"category": "audit", "severity": "critical"}, Severity.P1),
        ({"category": "audit", "severity": "warning"}, Severity.P1),
        ({"category": "privacy", "severity": "critical"}, Severity.P0),
        ({"category": "privacy", "severity": "high"}, Severity.P1),
        ({"category": "compliance", "severity": "critical"}, Severity.P0),
        ({"category": "security"}, Severity.P1),
        ({"category": "infrastructure"}, Severity.P2),
        ({"category": "nobody knows"}, Severity.P2),
        ({}, Severity.P2),
    ],
)
def test_alert_is_as_severe_as_its_category_says(labels, severity):
    assert assess_alert(alert(**labels)).severity is severity


def test_possible_exfiltration_is_a_breach_whatever_its_labels():
    found = assess_alert(alert("PotentialDataExfiltration", severity="warning"))
    assert (found.severity, found.rule) == (Severity.P0, "class.p0.security-breach")


def test_worst_of_several_alerts_counts():
    journaled = [
        {
            "fingerprint": "f",
            "status": "firing",
            "starts_at": "2026-01-01T00:00:00+00:00",
            "labels": {"category": category},
            "annotations": {},
        }
        for category in ("infrastructure", "audit")
    ]
    found = assess_alerts(journaled)
    assert found is not None
    assert found.severity is Severity.P1


def test_api_and_database_both_failed_is_an_outage():
    both = [seen("api", Health.FAILED), seen("database", Health.FAILED)]
    found = assess_checks(both)
    assert found is not None
    assert found.rule == "class.p0.outage"


def test_unknown_components_are_not_counted_as_failed():
    unsure = [seen("api", Health.UNKNOWN), seen("database", Health.UNKNOWN)]
    assert assess_checks(unsure) is None


def test_failed_cache_alone_is_a_single_component():
    found = assess_checks([seen("api", Health.HEALTHY), seen("cache", Health.FAILED)])
    assert found is not None
    assert found.severity is Severity.P2


def test_one_proven_altered_record_is_data_corruption():
    found = assess_alteration(1, 0)
    assert found is not None
    assert found.severity is Severity.P0
    assert assess_alteration(0, 0) is None
