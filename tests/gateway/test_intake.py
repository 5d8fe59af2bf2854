"""`POST /alerts` over real HTTP, into a real PostgreSQL."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from psycopg import sql

from deployments.gateway.app import build_app
from deployments.lab.postgres import SUPERUSER
from deployments.lab.processes import Processes
from tasks.clients.errors import Transient
from tasks.domain.facts import Fact, FactKind
from tasks.settings import settings
from tasks.work import journal, quarantine, responder
from tests.gateway.sample_flows import plan_for
from tests.gateway.stack import (
    ALERT_TOKEN,
    SECOND_ALERT_TOKEN,
    new_server,
    pointed_at,
    served,
    spoil,
    until_true,
)

pytestmark = pytest.mark.components

FOUR_MIB = 4 * 1024 * 1024
VECTORS = Path(__file__).parents[1] / "vectors" / "alertmanager"


def alert(
    name: str = "AuditTrailIntegrityFailure",
    fingerprint: str = "c57877249ee74c33",
    status: str = "firing",
    starts_at: str = "2026-11-23T12:05:46.114Z",
    **labels: str,
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "category": "audit", "severity": "critical", **labels},
        "annotations": {"summary": "integrity check failed"},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint,
    }


def notification(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "status": "firing",
        "receiver": "runbook",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "alerts": list(alerts) or [alert()],
        **more,
    }


def count(table: str) -> int:
    with responder.connection() as connection:
        counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        row = connection.execute(counting).fetchone()
    assert row is not None
    return int(row[0])


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def test_alert_opens_an_incident_with_its_facts_and_one_dispatch(sender: httpx.Client) -> None:
    answer = sender.post("/alerts", json=notification())
    assert answer.status_code == 200
    (incident,) = answer.json()["opened"]
    state = journal.read(incident)
    assert (state.component, state.procedure, state.cause) == (
        "audit-trail",
        "audit_trail",
        "alert",
    )
    (received,) = facts(incident, FactKind.ALERT_RECEIVED)
    assert received.data["notification"] == answer.json()["stored"]
    with responder.connection() as connection:
        rows = connection.execute("SELECT incident, deployment, key FROM dispatches").fetchall()
        stored = connection.execute("SELECT body FROM notifications").fetchone()
    assert rows == [(incident, "incident/incident", f"{incident}:1")]
    assert stored == (answer.request.content,)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {ALERT_TOKEN}", "Bearer é"]
)
def test_wrong_or_missing_token_is_401_and_leaves_nothing(gateway: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = httpx.post(f"{gateway}/alerts", json=notification(), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert [count(table) for table in ("notifications", "quarantine", "journal")] == [0, 0, 0]


def test_second_configured_token_is_as_good_as_the_first(gateway: str) -> None:
    headers = {"Authorization": f"Bearer {SECOND_ALERT_TOKEN}"}
    assert httpx.post(f"{gateway}/alerts", json=notification(), headers=headers).is_success


@pytest.mark.parametrize("tokens", ["[]", '[""]'])
def test_configuration_without_a_token_refuses_everybody(
    gateway: str, monkeypatch: pytest.MonkeyPatch, tokens: str
) -> None:
    monkeypatch.setenv("RUNBOOK_GATEWAY__ALERT_TOKENS", tokens)
    settings.cache_clear()
    for header in ("Bearer", f"Bearer {ALERT_TOKEN}"):
        headers = {"Authorization": header}
        answer = httpx.post(f"{gateway}/alerts", json=notification(), headers=headers)
        assert answer.status_code == 401


def test_body_over_the_limit_is_413_with_a_bounded_prefix_in_quarantine(
    sender: httpx.Client,
) -> None:
    answer = sender.post("/alerts", content=b"x" * (FOUR_MIB + 1))
    assert answer.status_code == 413
    assert quarantined() == [(FOUR_MIB + 1, 64 * 1024)]
    assert count("notifications") == 0


def test_chunked_body_without_a_length_is_cut_at_the_limit(sender: httpx.Client) -> None:
    answer = sender.post("/alerts", content=(b"y" * 65536 for _ in range(100)))
    assert answer.status_code == 413
    ((size, prefix),) = quarantined()
    assert FOUR_MIB < size < 100 * 65536
    assert prefix == 64 * 1024


def test_announced_giant_is_refused_after_its_first_bytes(gateway: str) -> None:
    address = urlsplit(gateway)
    head = (
        f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALERT_TOKEN}\r\n"
        "Content-Length: 99999999999\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"z" * 200_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert quarantined() == [(99999999999, 64 * 1024)]


def test_body_exactly_at_the_limit_is_read(sender: httpx.Client) -> None:
    body = json.dumps(notification()).encode()
    answer = sender.post("/alerts", content=body + b" " * (FOUR_MIB - len(body)))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"\x00\xff", "body"),
        (b'{"version": "3", "alerts": []}', "version"),
        (json.dumps(notification(alert(), truncatedAlerts="many")).encode(), "truncatedAlerts"),
        (json.dumps(notification({"status": "firing"})).encode(), "alerts[0].fingerprint"),
        (b"[" * 200_000, "body"),
    ],
)
def test_body_that_is_no_notification_is_422_naming_the_field(
    sender: httpx.Client, body: bytes, field: str
) -> None:
    answer = sender.post("/alerts", content=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert quarantined() == [(len(body), min(len(body), 64 * 1024))]
    assert [count(table) for table in ("notifications", "alerts")] == [0, 0]


@pytest.mark.parametrize("body", [b"not json", b"x" * (FOUR_MIB + 1)])
def test_what_nobody_understands_opens_an_incident_with_a_run(
    sender: httpx.Client, body: bytes
) -> None:
    assert sender.post("/alerts", content=body).is_client_error
    (incident,) = journal.all_incidents()
    state = journal.read(incident)
    assert (state.component, state.procedure, state.title) == (
        "alerting",
        "triage",
        "Notifications that nobody could understand",
    )
    assert ordered_keys() == [f"{incident}:1"]


def test_flood_of_bad_bodies_is_noted_once_a_minute_in_one_incident(sender: httpx.Client) -> None:
    def send(number: int) -> httpx.Response:
        return sender.post("/alerts", content=b"bad %d" % number)

    before = datetime.now(UTC)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(60)))
    minutes = (datetime.now(UTC) - before).total_seconds() / 60
    assert {answer.status_code for answer in answers} == {422}
    assert len(quarantined()) == 60
    (incident,) = journal.all_incidents()
    assert len(facts(incident, FactKind.NOTE)) <= 2 + minutes
    assert count("dispatches") == 1


def test_bad_body_of_a_later_minute_is_noted_and_after_the_close_opens_another(
    sender: httpx.Client,
) -> None:
    sender.post("/alerts", content=b"bad")
    (first,) = journal.all_incidents()
    end_this_minute()
    sender.post("/alerts", content=b"bad again")
    assert len(facts(first, FactKind.NOTE)) == 1
    journal.append(first, FactKind.CLOSED, {"outcome": "restored"})
    end_this_minute()
    sender.post("/alerts", content=b"bad for ever")
    assert len(journal.all_incidents()) == 2


def end_this_minute() -> None:
    """Make what is in quarantine a minute older."""
    with responder.connection() as connection:
        connection.execute("UPDATE quarantine SET received_at = received_at - interval '1 minute'")


@pytest.mark.parametrize("recorded", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_bodies_of_alertmanager_are_stored_byte_for_byte(
    sender: httpx.Client, recorded: Path
) -> None:
    body = recorded.read_bytes()
    answer = sender.post("/alerts", content=body)
    assert answer.status_code == 200
    with responder.connection() as connection:
        assert connection.execute("SELECT body FROM notifications").fetchall() == [(body,)]


def test_body_that_a_template_has_replaced_is_in_quarantine(sender: httpx.Client) -> None:
    """`payload` of Alertmanager 0.32 sends what it likes."""
    answer = sender.post("/alerts", json={"text": "ApplicationDown fires", "channel": "#ops"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "version"
    assert len(quarantined()) == 1


def test_large_notification_is_parsed_beside_the_event_loop_and_answers_alike(
    sender: httpx.Client,
) -> None:
    storm = notification(*(alert(fingerprint=f"{number:016x}") for number in range(400)))
    assert len(json.dumps(storm)) > 64 * 1024
    assert sender.post("/alerts", json=storm).json()["new_alerts"] == 400
    large = json.dumps(storm).encode()[:-1]
    assert sender.post("/alerts", content=large).status_code == 422


def test_quarantine_is_shown_to_people_without_control_characters(
    sender: httpx.Client, person: Callable[[str, str], httpx.Client]
) -> None:
    sender.post("/alerts", content=b"\x1b[31m\x00<script>")
    shown = person("vera", "viewer").get("/incidents").json()["quarantine"]
    assert shown["count"] == 1
    assert shown["newest"][0]["begins"] == "\ufffd[31m\ufffd<script>"


@pytest.mark.usefixtures("database")
def test_quarantine_keeps_the_newest_thousand() -> None:
    with responder.connection() as connection:
        connection.execute(
            "INSERT INTO quarantine (reason, size, prefix)"
            " SELECT 'old', 1, 'x' FROM generate_series(1, 1005)"
        )
    quarantine.keep("new", 1, b"x")
    assert quarantine.newest(1)[0] == 1000
    assert quarantine.newest(1)[1][0]["reason"] == "new"


def test_same_notification_twice_has_one_effect(sender: httpx.Client) -> None:
    first = sender.post("/alerts", json=notification())
    second = sender.post("/alerts", json=notification())
    assert second.status_code == 200
    assert second.json()["duplicate"]
    assert second.json()["stored"] == first.json()["stored"]
    assert [count(table) for table in ("notifications", "alerts", "dispatches")] == [1, 1, 1]


def test_same_alert_in_another_notification_has_one_effect(sender: httpx.Client) -> None:
    sender.post("/alerts", json=notification())
    again = sender.post("/alerts", json=notification(receiver="the other of the pair"))
    assert again.json()["new_alerts"] == 0
    assert [count(table) for table in ("notifications", "alerts", "dispatches")] == [2, 1, 1]
    assert len(journal.all_incidents()) == 1


def test_twenty_senders_of_the_same_notification_open_one_incident(sender: httpx.Client) -> None:
    def send(_: int) -> httpx.Response:
        return sender.post("/alerts", json=notification())

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(len(answer.json()["opened"]) for answer in answers) == 1
    assert len(journal.all_incidents()) == count("dispatches") == 1


def test_twenty_different_alerts_of_one_component_at_once_join_one_incident(
    sender: httpx.Client,
) -> None:
    def send(number: int) -> httpx.Response:
        return sender.post("/alerts", json=notification(alert(fingerprint=f"{number:016x}")))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    (incident,) = journal.all_incidents()
    assert len(facts(incident, FactKind.ALERT_RECEIVED)) == 20
    assert count("dispatches") == 1


def test_alerts_of_different_components_open_different_incidents(sender: httpx.Client) -> None:
    both = notification(alert(), alert("DatabaseDown", "d1"))
    assert len(sender.post("/alerts", json=both).json()["opened"]) == 2
    assert count("dispatches") == 2


def test_alert_after_the_incident_has_closed_opens_another(sender: httpx.Client) -> None:
    (first,) = sender.post("/alerts", json=notification()).json()["opened"]
    journal.append(first, FactKind.CLOSED, {"outcome": "restored"})
    later = notification(alert(starts_at="2026-11-23T13:00:00Z"))
    (second,) = sender.post("/alerts", json=later).json()["opened"]
    assert second != first


LATER = "2026-11-23T13:00:00Z"


def end_all_runs() -> None:
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = now(), result = 'manual'")


def ordered_keys() -> list[str]:
    with responder.connection() as connection:
        rows = connection.execute("SELECT key FROM dispatches ORDER BY id").fetchall()
    return [key for (key,) in rows]


def test_new_alert_of_an_incident_that_was_left_open_orders_one_more_run(
    sender: httpx.Client,
) -> None:
    (incident,) = sender.post("/alerts", json=notification()).json()["opened"]
    end_all_runs()
    again = notification(alert(starts_at=LATER), alert(fingerprint="f2", starts_at=LATER))
    assert sender.post("/alerts", json=again).json()["joined"] == [incident]
    expected = [
        f"{incident}:1",
        f"{incident}:alert:c57877249ee74c33:2026-11-23T13:00:00+00:00",
    ]
    assert ordered_keys() == expected
    third = notification(alert(fingerprint="f3"))
    sender.post("/alerts", json=third)  # while the run of the second is ordered: it only joins
    assert ordered_keys() == expected
    end_all_runs()
    sender.post("/alerts", json=again | {"receiver": "the other of the pair"})
    sender.post("/alerts", json=notification(alert(starts_at=LATER, status="resolved")))
    assert ordered_keys() == expected


def test_new_alert_while_a_plan_waits_for_approval_orders_no_run(sender: httpx.Client) -> None:
    (incident,) = sender.post("/alerts", json=notification()).json()["opened"]
    plan = plan_for(incident)
    data = {"plan": plan.as_json(), "hash": plan.hash}
    journal.append(incident, FactKind.PLAN_PROPOSED, data)
    end_all_runs()
    sender.post("/alerts", json=notification(alert(starts_at=LATER)))
    assert ordered_keys() == [f"{incident}:1"]
    denied = {"hash": plan.hash, "decision": "denied", "reason": "", "role": "approver"}
    journal.append(incident, FactKind.PLAN_DECIDED, denied, actor="bea")
    sender.post("/alerts", json=notification(alert(fingerprint="f2", starts_at=LATER)))
    assert len(ordered_keys()) == 2


def test_alert_of_an_incident_that_cannot_be_read_is_stored_and_orders_a_run(
    sender: httpx.Client,
) -> None:
    (incident,) = sender.post("/alerts", json=notification()).json()["opened"]
    spoil(incident)
    end_all_runs()
    assert sender.post("/alerts", json=notification(alert(starts_at=LATER))).is_success
    assert [count("alerts"), count("dispatches")] == [2, 2]


def test_resolved_alert_is_a_fact_of_its_incident_even_when_that_is_closed(
    sender: httpx.Client,
) -> None:
    (incident,) = sender.post("/alerts", json=notification()).json()["opened"]
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"})
    resolved = sender.post("/alerts", json=notification(alert(status="resolved")))
    assert resolved.json()["opened"] == []
    statuses = [fact.data["status"] for fact in facts(incident, FactKind.ALERT_RECEIVED)]
    assert statuses == ["firing", "resolved"]


def test_resolved_alert_without_an_incident_opens_none(sender: httpx.Client) -> None:
    answer = sender.post("/alerts", json=notification(alert(status="resolved")))
    assert answer.status_code == 200
    assert journal.all_incidents() == []
    assert [count("notifications"), count("alerts"), count("dispatches")] == [1, 1, 0]


def test_resolved_alert_that_overtook_its_firing_is_recorded_with_it(
    sender: httpx.Client,
) -> None:
    sender.post("/alerts", json=notification(alert(status="resolved")))
    (incident,) = sender.post("/alerts", json=notification()).json()["opened"]
    statuses = {fact.data["status"] for fact in facts(incident, FactKind.ALERT_RECEIVED)}
    assert statuses == {"firing", "resolved"}


def test_groups_own_status_is_not_trusted(sender: httpx.Client) -> None:
    truncated = notification(status="resolved", truncatedAlerts=3)
    assert len(sender.post("/alerts", json=truncated).json()["opened"]) == 1


def test_hostile_labels_are_stored_as_harmless_text(sender: httpx.Client) -> None:
    hostile = alert(
        "'; DROP TABLE journal; --",
        shard="\x00\ud800<script>alert(1)</script>",
        path="../../etc/passwd",
        huge="x" * 100_000,
    )
    hostile["labels"]["$(reboot)"] = "{{7*7}}"
    (incident,) = sender.post("/alerts", content=json.dumps(notification(hostile))).json()["opened"]
    (received,) = facts(incident, FactKind.ALERT_RECEIVED)
    labels = received.data["labels"]
    assert labels["shard"] == "\ufffd\ufffd<script>alert(1)</script>"
    assert len(labels["huge"]) == 1024
    assert labels["alertname"] == "'; DROP TABLE journal; --"
    assert labels["$(reboot)"] == "{{7*7}}"


def test_thousand_alerts_of_one_notification_are_all_stored_and_the_facts_bounded(
    sender: httpx.Client,
) -> None:
    storm = notification(*(alert(fingerprint=f"{number:016x}") for number in range(1000)))
    (incident,) = sender.post("/alerts", json=storm).json()["opened"]
    assert count("alerts") == 1000
    assert len(facts(incident, FactKind.ALERT_RECEIVED)) == 50
    (note,) = facts(incident, FactKind.NOTE)
    assert note.data["text"].startswith("950 more alerts")


def test_privacy_alert_starts_the_one_hour_clock_once(sender: httpx.Client) -> None:
    before = datetime.now(UTC)
    for fingerprint in ("p1", "p2"):
        sent = alert("DataRetentionViolation", fingerprint, category="privacy")
        sender.post("/alerts", json=notification(sent))
    (incident,) = journal.all_incidents()
    (clock,) = facts(incident, FactKind.CLOCK_STARTED)
    assert clock.data["recipient"] == "dpo"
    due = datetime.fromisoformat(clock.data["due"])
    assert 3590 < (due - before).total_seconds() < 3610


def test_notification_without_alerts_is_stored_and_does_nothing(sender: httpx.Client) -> None:
    empty = {"version": "4", "alerts": []}
    assert sender.post("/alerts", json=empty).status_code == 200
    assert [count("notifications"), count("journal")] == [1, 0]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/alerts/", "/alert"])
def test_unknown_paths_are_404_and_never_a_redirect(gateway: str, path: str) -> None:
    assert httpx.get(gateway + path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_on_alerts_are_405_and_stored_nowhere(gateway: str, method: str) -> None:
    answer = httpx.request(method, f"{gateway}/alerts", content=b"{}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["cache-control"] == "no-store"
    assert count("notifications") == 0


def _wait_until_connected(seconds: float = 60) -> None:
    """The pool tries again after pauses that grow; on a busy machine they outlast one request."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            stored_alerts()
        except Transient:
            assert time.monotonic() < deadline, "the pool does not come back"
        else:
            return


def test_dead_postgresql_is_503_and_afterwards_nothing_is_stored_by_half(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server(lab_processes, "dying")
    server.start()
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    with (
        pointed_at(server.dsn(SUPERUSER, "postgres"), monkeypatch),
        served(build_app()) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as sender,
    ):
        answers: list[httpx.Response] = []

        def send_until_refused(first: int) -> None:
            for number in range(first, first + 1000):
                body = notification(alert(fingerprint=f"{number:06x}"))
                answers.append(sender.post("/alerts", json=body))
                if not answers[-1].is_success:
                    return

        with ThreadPoolExecutor(8) as pool:
            senders = [pool.submit(send_until_refused, 1000 * place) for place in range(8)]
            until_true(lambda: len(answers) >= 50)
            server.kill()
            for one in senders:
                one.result()
        assert [answer.status_code for answer in answers].count(503) == 8
        assert {answer.status_code for answer in answers} == {200, 503}
        server.start()
        _wait_until_connected()
        acknowledged = [answer for answer in answers if answer.is_success]
        assert stored_alerts() >= len(acknowledged)
        (incident,) = journal.all_incidents()
        assert len(facts(incident, FactKind.ALERT_RECEIVED)) == stored_alerts()
        assert count("notifications") == stored_alerts()
        assert count("dispatches") == 1
        refused = [answer for answer in answers if not answer.is_success]
        for answer in [*refused, *answers[:10]]:  # as Alertmanager does: until it is taken
            body = answer.request.content
            until_true(lambda body=body: sender.post("/alerts", content=body).is_success)
        assert len(facts(incident, FactKind.ALERT_RECEIVED)) == len(answers)
        server.kill()


def stored_alerts() -> int:
    return count("alerts")


def quarantined() -> list[tuple[int, int]]:
    with responder.connection() as connection:
        return connection.execute(
            "SELECT size, octet_length(prefix) FROM quarantine ORDER BY id"
        ).fetchall()
