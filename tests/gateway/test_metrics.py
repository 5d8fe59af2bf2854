"""What Prometheus reads from us, over real HTTP and a real PostgreSQL."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import incidents, journal, responder, successes
from tasks.work.successes import Work

pytestmark = pytest.mark.components


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


def metrics(gateway: str) -> str:
    answer = httpx.get(f"{gateway}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def firing(fingerprint: str, name: str = "DatabaseDown") -> dict[str, Any]:
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "category": "infrastructure"},
        "annotations": {},
        "startsAt": "2026-11-23T12:05:46.114Z",
        "fingerprint": fingerprint,
    }
    return {"version": "4", "alerts": [alert]}


def grown(before: str, after: str, series: str) -> float:
    return (value(after, series) or 0) - (value(before, series) or 0)


def test_intake_is_counted_by_what_became_of_it(sender: httpx.Client, gateway: str) -> None:
    before = metrics(gateway)
    sender.post("/alerts", json=firing("m1"))
    sender.post("/alerts", json=firing("m1"))
    sender.post("/alerts", content=b"nonsense")
    httpx.post(f"{gateway}/alerts", json=firing("m2"))
    after = metrics(gateway)
    assert grown(before, after, "runbook_notifications_received_total") == 3
    assert grown(before, after, 'runbook_notifications_stored_total{where="postgresql"}') == 1
    assert grown(before, after, "runbook_notifications_duplicate_total") == 1
    assert grown(before, after, "runbook_notifications_quarantined_total") == 1
    assert grown(before, after, "runbook_alerts_new_total") == 1
    assert grown(before, after, "runbook_intake_seconds_count") == 3
    assert grown(before, after, 'runbook_notifications_refused_total{status="401"}') == 1


def test_queue_and_open_incidents_are_those_of_the_database(
    sender: httpx.Client, gateway: str
) -> None:
    sender.post("/alerts", json=firing("m1"))
    text = metrics(gateway)
    assert value(text, 'runbook_dispatch_queue{priority="P2"}') == 1
    assert value(text, 'runbook_dispatch_queue{priority="P0"}') == 0
    assert (value(text, 'runbook_dispatch_oldest_seconds{priority="P2"}') or 0) > 0
    assert value(text, 'runbook_incidents_open{severity="none"}') == 1


def test_people_are_timed_from_opening_to_their_first_word_and_to_the_end(
    gateway: str, person: Callable[[str, str], httpx.Client]
) -> None:
    metrics(gateway)  # from now on
    before = metrics(gateway)
    incident = incidents.declare("t", "api", "api_service", by="bea")
    anna = person("anna", "responder")
    for _ in range(2):
        assert anna.post(f"/incidents/{incident}/acknowledge").is_success
    journal.append(incident, FactKind.CLOSED, {"outcome": "manual"})
    after = metrics(gateway)
    assert grown(before, after, "runbook_tta_seconds_count") == 1
    assert grown(before, after, "runbook_ttr_seconds_count") == 1


def test_work_that_never_succeeded_has_no_series_and_one_that_did_says_when(gateway: str) -> None:
    assert "last_success_timestamp_seconds{" not in metrics(gateway)
    successes.record(Work.SEALING)
    at = value(metrics(gateway), 'runbook_last_success_timestamp_seconds{work="sealing"}')
    assert at == pytest.approx(successes.last()["sealing"].timestamp())


def test_no_text_of_an_alert_becomes_a_label(sender: httpx.Client, gateway: str) -> None:
    sender.post("/alerts", json=firing("m9", name='evil"} 1\n# HELP hostile-canary'))
    assert "hostile-canary" not in metrics(gateway)


def test_without_the_database_the_process_still_shows_its_own(
    gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:9/none")
    settings.cache_clear()
    responder.close()
    text = metrics(gateway)
    assert value(text, "runbook_intake_waiting") == 0
    assert "runbook_dispatch_queue" not in text
