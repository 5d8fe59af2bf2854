"""Alertmanager's alerts, from the real one and from what answers nonsense."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deployments.lab import alertmanager as labs
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tasks.clients import alertmanager
from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.domain.reconciling import Listed, Look
from tasks.sections.systems import AlertmanagerSettings
from tests.clients import loopback
from tests.clients.loopback import Answering, answering, dripping, sending

UP = {"uptime": "2026-03-14T02:00:00.250Z", "cluster": {"status": "disabled"}}
ONE: dict[str, Any] = {
    "annotations": {"summary": "s"},
    "endsAt": "2026-03-14T03:05:00.000Z",
    "fingerprint": "6145004c73697686",
    "receivers": [{"name": "runbook"}, {"name": "pager"}],
    "startsAt": "2026-03-14T04:00:00.123+01:00",
    "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
    "updatedAt": "2026-03-14T03:00:00.852Z",
    "labels": {"alertname": "A"},
}


def serving(status: object, alerts: object, code: int = 200) -> Answering:
    """Answers the first question, then the second."""
    answers = iter((status, alerts))

    def answer(connection: Any) -> None:
        body = next(answers)
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.sendall(loopback.http(code, encoded))

    return answer


def looked(answer: Answering, timeout_seconds: float = 2) -> Look:
    with answering(answer) as port:
        here = AlertmanagerSettings(timeout_seconds=timeout_seconds, token=SecretStr("t"))
        return alertmanager.look(here, f"http://127.0.0.1:{port}")


def test_what_fires_is_told_with_what_is_silenced_and_since_when_it_is_up() -> None:
    states = ("suppressed", "unprocessed")
    others = [{**ONE, "fingerprint": state, "status": {"state": state}} for state in states]
    found = looked(serving(UP, [ONE, *others]))
    assert found.up_since == datetime(2026, 3, 14, 2, 0, 0, 250_000, tzinfo=UTC)
    assert found.alerts[0] == Listed(
        fingerprint="6145004c73697686",
        starts_at=datetime(2026, 3, 14, 3, 0, 0, 123_000, tzinfo=UTC),
        labels={"alertname": "A"},
        annotations={"summary": "s"},
        receivers=("runbook", "pager"),
    )
    assert [(one.suppressed, one.pending) for one in found.alerts] == [
        (False, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("status", "alerts"),
    [
        ([], []),
        ({}, []),
        ({"uptime": 7}, []),
        ({"uptime": "yesterday"}, []),
        ({"uptime": "2026-03-14T02:00:00"}, []),  # of no zone
        (UP, {}),
        (UP, None),
        (UP, "none"),
        (UP, {"alerts": []}),
        (UP, [7]),
        (UP, [[]]),
        (UP, [{}]),
        (UP, [ONE, {**ONE, "fingerprint": 7}]),
        (UP, [{**ONE, "status": "active"}]),
        (UP, [{**ONE, "status": {"state": "resolved"}}]),
        (UP, [{**ONE, "status": {"state": ["active"]}}]),
        (UP, [{**ONE, "startsAt": "0000-00-00T00:00:00Z"}]),
        (UP, [{**ONE, "startsAt": None}]),
        (UP, [{**ONE, "startsAt": "0001-01-01T00:00:00+23:59"}]),
        (UP, [{**ONE, "labels": ["alertname"]}]),
        (UP, [{**ONE, "labels": {"alertname": 7}}]),
        (UP, [{**ONE, "annotations": None}]),
        (UP, [{**ONE, "receivers": 7}]),
        (UP, [{**ONE, "receivers": [{"name": None}]}]),
        (UP, b"<html>"),
        (UP, b"["),
    ],
)
def test_an_answer_of_another_shape_is_malformed_and_never_looks_like_nothing_fires(
    status: object, alerts: object
) -> None:
    with pytest.raises(Malformed):
        looked(serving(status, alerts))


@pytest.mark.parametrize(
    ("code", "ours"),
    [(503, Transient), (429, Transient), (401, Denied), (403, Denied), (404, NotFound)],
)
def test_an_error_of_alertmanager_is_an_error(code: int, ours: type[ClientError]) -> None:
    with pytest.raises(ours):
        looked(serving(b"no", b"no", code))


def test_an_answer_that_drips_is_given_up_in_time() -> None:
    start = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    began = time.monotonic()
    with pytest.raises(Transient):
        looked(dripping(start, b" ", 0.05, 200), timeout_seconds=0.4)
    assert time.monotonic() - began < 5


def test_nobody_who_listens_is_transient() -> None:
    with answering(sending()) as port:
        pass
    with pytest.raises(Transient):
        alertmanager.look(AlertmanagerSettings(timeout_seconds=1), f"http://127.0.0.1:{port}")


def test_more_than_sixteen_mebibytes_are_not_read_and_thousands_of_alerts_are() -> None:
    many = [{**ONE, "fingerprint": f"{number:016x}"} for number in range(20_000)]
    encoded = json.dumps(many).encode()
    assert 4 << 20 < len(encoded) < 16 << 20
    assert len(looked(serving(UP, encoded), 20).alerts) == 20_000
    with pytest.raises(Malformed, match="16777216"):
        looked(serving(UP, b"[" + b" " * (16 << 20) + b"]"), 20)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[labs.AlertmanagerServer]:
    program = labs.installed()
    assert program is not None
    processes = Processes(StateDirectory.take(tmp_path))
    server = labs.AlertmanagerServer(
        tmp_path / "alertmanager", processes, program, "http://127.0.0.1:9/alerts", "token"
    )
    try:
        server.start()
        yield server
    finally:
        processes.stop_all()


@pytest.mark.components
@pytest.mark.skipif(labs.installed() is None, reason="no Alertmanager is installed on PATH")
def test_the_real_one_says_what_fires_and_what_is_silenced(
    real: labs.AlertmanagerServer,
) -> None:
    here = AlertmanagerSettings()
    assert alertmanager.look(here, real.url).alerts == ()
    with httpx.Client(base_url=f"{real.url}/api/v2", timeout=10) as client:
        matcher = {"name": "alertname", "value": "B", "isRegex": False, "isEqual": True}
        silence = {
            "matchers": [matcher],
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": "2099-01-01T00:00:00Z",
            "createdBy": "anna",
            "comment": "known",
        }
        client.post("/silences", json=silence).raise_for_status()
        alerts = [
            {"labels": {"alertname": name}, "startsAt": "2026-03-14T03:00:00.123456789Z"}
            for name in ("A", "B")
        ]
        client.post("/alerts", json=alerts).raise_for_status()
    until = time.monotonic() + 20
    found = alertmanager.look(here, real.url)
    while any(one.pending for one in found.alerts):
        assert time.monotonic() < until
        found = alertmanager.look(here, real.url)
    assert abs((datetime.now(UTC) - found.up_since).total_seconds()) < 120
    by_name = {one.labels["alertname"]: one for one in found.alerts}
    assert by_name["A"].starts_at == datetime(2026, 3, 14, 3, 0, 0, 123_000, tzinfo=UTC)
    assert by_name["A"].receivers == ("runbook",)
    assert (by_name["A"].suppressed, by_name["B"].suppressed) == (False, True)
    (hidden,) = alertmanager.hidden(here, real.url)
    assert str(hidden) == "B is silenced by anna until 2099-01-01 00:00 UTC: known"
