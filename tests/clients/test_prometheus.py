"""Prometheus's alerts, from the real one and from what answers nonsense."""

import json
import time

import httpx
import pytest

from deployments.lab import prometheus as labs
from deployments.lab.stack import Lab
from tasks.clients import prometheus
from tasks.clients.errors import ClientError, Malformed, Transient
from tasks.clients.prometheus import FiringAlert
from tasks.domain.impact import Questions
from tasks.sections.systems import MetricsSettings
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


def read(body: bytes, status: int = 200) -> dict[str, tuple[float, ...]]:
    with answering(sending(loopback.http(status, body))) as port:
        here = MetricsSettings(prometheus_url=f"http://127.0.0.1:{port}")
        return prometheus.readings(here, {"a": "x", "b": "y"}, timeout_seconds=2)


def vector(*samples: object, kind: str = "vector") -> bytes:
    return json.dumps({"data": {"resultType": kind, "result": samples}}).encode()


def sample(name: str, value: object) -> dict[str, object]:
    return {"metric": {"reading": name}, "value": [1.5, value]}


def test_readings_are_told_apart_and_what_is_no_number_is_passed_on() -> None:
    found = read(vector(sample("a", "NaN"), sample("b", "1.5"), sample("b", "+Inf")))
    assert str(found["a"]) == "(nan,)"
    assert found["b"] == (1.5, float("inf"))
    assert read(vector()) == {"a": (), "b": ()}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"<html>",
        b'{"data": {"resultType": "vector", "result": {}}}',
        vector(kind="matrix"),
        vector(sample("other", "1")),
        vector(sample("a", "one")),
        vector(sample("a", 1.5)),
        vector(sample("a", None)),
        vector({"metric": [], "value": [1, "1"]}),
        vector({"metric": {"reading": "a"}, "value": []}),
        vector(*[sample("a", "1")] * 1001),
    ],
)
def test_readings_of_another_shape_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.components
@pytest.mark.skipif(labs.installed() is None, reason="no prometheus is installed on PATH")
def test_the_real_one_answers_every_question_of_the_impact_at_once(patient: Lab) -> None:
    assert patient.prometheus is not None
    here = MetricsSettings(prometheus_url=patient.prometheus.url)
    asked = Questions(
        here.requests, here.durations, here.status_label, here.selector, "vector(7)", 10, 60, 0
    ).as_promql()
    until = time.monotonic() + 60
    while True:
        found = prometheus.readings(here, asked, timeout_seconds=5)
        if found["requests"] and found["requests"][0] > 0:
            break
        assert time.monotonic() < until, found
        httpx.get(f"{patient.api.url}/health", timeout=10)
        time.sleep(0.2)
    assert set(found) == set(asked)
    assert found["users"] == (7.0,)
    assert 0 < found["p95_seconds"][0] < 10
    with pytest.raises(Malformed, match="parse error"):
        prometheus.readings(here, {"a": "sum(("}, timeout_seconds=5)
