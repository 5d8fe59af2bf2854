"""User impact and logs, as triage looks at them: over the real Prometheus, and what plays Loki."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.lab.stack import Lab
from tasks.domain.facts import FactKind
from tasks.domain.observation import Health, Observation
from tasks.journal import name_affected
from tasks.logs import review_logs
from tasks.metrics import estimate_impact
from tasks.settings import settings
from tasks.work import incidents, journal
from tests.clients.loopback import answering, http, sending

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

ONSET = datetime.now(UTC) - timedelta(minutes=5)


@pytest.fixture
def incident(patient: Lab) -> str:
    assert settings().lab, patient
    return incidents.declare("t", "api", "api_service", by="anna")


def setting(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"RUNBOOK_{name}", value)
    settings.cache_clear()


@pytest.fixture(autouse=True)
def _settings_again() -> Iterator[None]:
    yield
    settings.cache_clear()


def journaled(incident: str, step: str) -> dict[str, Any]:
    return dict(journal.read(incident).checks[step])


def test_errors_of_the_real_api_are_seen_in_its_prometheus(
    patient: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    if patient.prometheus is None:
        pytest.skip("no prometheus is installed on PATH")
    setting(monkeypatch, METRICS__WINDOW_SECONDS="10", METRICS__USERS_QUERY="vector(40)")
    patient.patient.stop()
    until = time.monotonic() + 60
    while True:
        for _ in range(5):
            httpx.get(f"{patient.api.url}/health", timeout=20)
        look = incidents.declare("t", "api", "api_service", by="anna")
        seen = estimate_impact.fn(look, datetime.now(UTC))
        if (seen.evidence.get("error_share") or 0) > 0.3:
            break
        assert time.monotonic() < until, seen
    assert seen.health is Health.DEGRADED
    assert "requests/s fail" in seen.summary
    assert seen.evidence["users_affected"] >= 1
    assert seen.evidence["queries"]["requests"].startswith("sum(rate(http_requests_total{")
    assert journaled(look, "triage.impact")["evidence"] == seen.evidence


def test_without_a_prometheus_the_impact_is_unknown(
    incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, METRICS__PROMETHEUS_URL="")
    assert estimate_impact.fn(incident, None).health is Health.UNKNOWN


ANSWERS = {
    "HTML": http(200, b"<html>sign in</html>"),
    "500": http(500, b"{}"),
    "half": b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
    "403": http(403, b"{}"),
    "404": http(404, b"{}"),
    "NaN": http(200, b'{"data": {"resultType": "vector", "result": NaN}}'),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_prometheus_or_loki_that_answers_nonsense_makes_no_component_fail(
    what: str, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(sending(ANSWERS[what])) as port:
        url = f"http://127.0.0.1:{port}"
        setting(monkeypatch, METRICS__PROMETHEUS_URL=url, LOKI__URL=url)
        impact, logs = estimate_impact.fn(incident, ONSET), review_logs.fn(incident, ONSET)
    assert (impact.health, logs.health) == (Health.UNKNOWN, Health.UNKNOWN)
    assert "unknown" in impact.summary
    assert "not read" in logs.summary
    assert impact.evidence["queries"]


def streams(*lines: tuple[float, str]) -> bytes:
    values = [
        [str(int((ONSET + timedelta(minutes=minutes)).timestamp() * 1e9)), text]
        for minutes, text in lines
    ]
    stream = {"stream": {"pod": "api-1"}, "values": values}
    return json.dumps({"data": {"resultType": "streams", "result": [stream]}}).encode()


def test_new_errors_in_the_logs_are_told_without_the_secrets_of_our_settings(
    patient: Lab, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = streams(
        *((minute, "INFO heartbeat") for minute in range(-20, 4)),
        (1, f"ERROR the database refused {patient.api.token} at 10.0.0.5"),
    )
    with answering(sending(http(200, body))) as port:
        setting(monkeypatch, LOKI__URL=f"http://127.0.0.1:{port}")
        seen = review_logs.fn(incident, ONSET)
    assert seen.health is Health.DEGRADED
    assert "new: 2 x ERROR the database refused [redacted] at <*>" in seen.summary
    kept = json.dumps(journaled(incident, "triage.logs"))
    assert patient.api.token not in kept
    assert journaled(incident, "triage.logs")["evidence"]["templates"][0]["sources"] == ["api-1"]


def test_a_log_without_lines_is_unknown_and_not_healthy(
    incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(sending(http(200, streams()))) as port:
        setting(monkeypatch, LOKI__URL=f"http://127.0.0.1:{port}")
        assert review_logs.fn(incident, ONSET).health is Health.UNKNOWN


def test_the_affected_components_are_journaled_once_with_their_part(incident: str) -> None:
    seen = [
        Observation("triage.database", "database", Health.FAILED, "", 0.1),
        Observation("triage.api-health", "api", Health.FAILED, "", 0.1),
    ]
    for _ in range(2):
        named = name_affected(incident, seen)
    assert named.summary.startswith("database failed; api suffers from database")
    facts = [
        fact
        for fact in journal.read(incident).facts
        if fact.kind is FactKind.CHECK_OBSERVED and fact.data["step"] == "triage.components"
    ]
    assert len(facts) == 1
