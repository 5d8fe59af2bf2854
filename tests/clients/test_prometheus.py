"""Prometheus's alerts, from the real one and from what answers nonsense."""

import json
import time

import pytest

from deployments.lab import prometheus as labs
from deployments.lab.stack import Lab
from tasks.clients import prometheus
from tasks.clients.errors import ClientError, Malformed, Transient
from tasks.clients.prometheus import FiringAlert
from tasks.settings import MetricsSettings
from tests.clients import loopback
from tests.clients.loopback import answering, sending


def told(body: bytes, status: int = 200) -> list[FiringAlert]:
    with answering(sending(loopback.http(status, body))) as port:
        return prometheus.firing_alerts(
            MetricsSettings(prometheus_url=f"http://127.0.0.1:{port}", timeout_seconds=2)
        )


def alerts(*found: object) -> bytes:
    return json.dumps({"status": "success", "data": {"alerts": found}}).encode()


@pytest.mark.components
@pytest.mark.skipif(labs.installed() is None, reason="no prometheus is installed on PATH")
def test_the_real_one_says_what_fires_and_nothing_before(patient: Lab) -> None:
    assert patient.prometheus is not None
    here = MetricsSettings(prometheus_url=patient.prometheus.url)
    assert {alert.name for alert in prometheus.firing_alerts(here)} <= {"ApplicationDown"}
    patient.api.stop()
    until = time.monotonic() + 60
    while not (found := prometheus.firing_alerts(here)):
        assert time.monotonic() < until, "ApplicationDown does not fire"
        time.sleep(0.2)
    (alert,) = found
    assert (alert.name, alert.severity, alert.category) == (
        "ApplicationDown",
        "critical",
        "operational",
    )
    assert alert.active_at.startswith("20")


def test_only_firing_alerts_are_told_with_what_is_missing_left_empty() -> None:
    found = told(
        alerts(
            {"state": "firing", "labels": {"alertname": "A", "severity": "high"}, "activeAt": "x"},
            {"state": "pending", "labels": {"alertname": "B"}},
            {"state": "inactive", "labels": {}},
            {"labels": {"alertname": "C"}},
            {"state": "firing", "labels": {"alertname": "Watchdog", "severity": "none"}},
            {"state": "firing", "labels": {"alertname": 7, "category": ["<!channel>"]}},
        )
    )
    assert found == [FiringAlert("A", "high", "", "x"), FiringAlert("7", "", "['<!channel>']", "")]


def test_no_alerts_are_none() -> None:
    assert told(alerts()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"data": []}',
        b'{"data": {"alerts": null}}',
        b'{"data": {"alerts": {"state": "firing"}}}',
        b'{"data": {"alerts": "firing"}}',
        b'{"data": {"alerts": {}}}',
        b'{"data": {"alerts": ""}}',
        alerts(7),
        alerts({"state": "firing"}),
        alerts({"state": "firing", "labels": ["alertname"]}),
        b"<html>",
    ],
)
def test_an_answer_of_another_shape_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        told(body)


@pytest.mark.parametrize(("status", "ours"), [(503, Transient), (400, Malformed)])
def test_an_error_of_prometheus_is_an_error(status: int, ours: type[ClientError]) -> None:
    with pytest.raises(ours):
        told(b'{"status": "error", "error": "tsdb not ready"}', status)
