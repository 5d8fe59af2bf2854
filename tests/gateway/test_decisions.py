"""What people may say and read, by their own tokens."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from deployments.gateway.resumption import expire
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan
from tasks.settings import settings
from tasks.work import incidents, journal, people, responder
from tests.gateway.sample_flows import plan_for

pytestmark = pytest.mark.components

People = Callable[[str, str], httpx.Client]


def planned(valid_for: timedelta = timedelta(hours=1), opened_by: str = "runbook") -> Plan:
    incident = incidents.declare("tampered", "audit-trail", "audit_trail", by=opened_by)
    plan = plan_for(incident, valid_for)
    data = {"plan": plan.as_json(), "hash": plan.hash}
    journal.append(incident, FactKind.PLAN_PROPOSED, data)
    return plan


def decide(client: httpx.Client, plan: Plan, word: str = "approve") -> httpx.Response:
    return client.post(f"/incidents/{plan.incident}/plans/{plan.hash}/{word}", json={"reason": "r"})


def resumptions() -> list[str]:
    with responder.connection() as connection:
        rows = connection.execute("SELECT key FROM dispatches WHERE deployment = 'resume'")
        return [key for (key,) in rows.fetchall()]


def test_approval_is_journaled_under_the_persons_name_and_orders_the_resumption(
    person: People,
) -> None:
    plan = planned()
    answer = decide(person("bea", "approver"), plan)
    assert answer.status_code == 200
    assert answer.json()["by"] == "bea"
    (decision,) = journal.read(plan.incident).decisions
    assert (decision.by, decision.decision, decision.reason, decision.role) == (
        "bea",
        "approved",
        "r",
        "approver",
    )
    assert resumptions() == [f"resume:{plan.incident}:{answer.json()['seq']}"]


def test_denial_is_journaled_and_orders_the_resumption(person: People) -> None:
    plan = planned()
    assert decide(person("bea", "approver"), plan, "deny").status_code == 200
    assert journal.read(plan.incident).decisions[0].decision == "denied"
    assert len(resumptions()) == 1


def test_same_click_twice_counts_once(person: People) -> None:
    plan = planned()
    bea = person("bea", "approver")
    assert decide(bea, plan).json()["seq"] == decide(bea, plan).json()["seq"]
    assert len(journal.read(plan.incident).decisions) == 1
    assert len(resumptions()) == 1


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5000])
def test_unknown_token_is_401_everywhere(gateway: str, token: str) -> None:
    plan = planned()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=gateway, headers=headers) as stranger:
        answers = [
            decide(stranger, plan),
            decide(stranger, plan, "deny"),
            stranger.post(f"/incidents/{plan.incident}/acknowledge"),
            stranger.post(f"/incidents/{plan.incident}/notes", json={"text": "t"}),
            stranger.get("/incidents"),
            stranger.get(f"/incidents/{plan.incident}"),
            stranger.get(f"/incidents/{plan.incident}/plan"),
        ]
    assert [answer.status_code for answer in answers] == [401] * 7
    assert journal.read(plan.incident).decisions == []


def test_alert_senders_token_is_no_persons_token(sender: httpx.Client) -> None:
    assert sender.get("/incidents").status_code == 401


def test_expired_token_is_401(gateway: str) -> None:
    token = people.add_person("late", "approver", timedelta(seconds=-1))
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{gateway}/incidents", headers=headers).status_code == 401


@pytest.mark.parametrize("role", ["viewer", "responder"])
@pytest.mark.parametrize("word", ["approve", "deny"])
def test_wrong_role_is_403_and_decides_nothing(person: People, role: str, word: str) -> None:
    plan = planned()
    answer = decide(person("vera", role), plan, word)
    assert answer.status_code == 403
    assert answer.json()["found"] == f"a {role}"
    assert journal.read(plan.incident).decisions == []


def test_who_opened_the_incident_may_not_approve_but_may_deny(person: People) -> None:
    plan = planned(opened_by="anna")
    anna = person("anna", "approver")
    assert decide(anna, plan).status_code == 403
    assert decide(anna, plan, "deny").status_code == 200


def test_plan_that_was_replaced_is_409_with_both_hashes(person: People) -> None:
    old = planned()
    new = plan_for(old.incident, timedelta(hours=2))
    data = {"plan": new.as_json(), "hash": new.hash}
    journal.append(old.incident, FactKind.PLAN_PROPOSED, data)
    answer = decide(person("bea", "approver"), old)
    assert answer.status_code == 409
    assert answer.json()["expected"] == new.hash
    assert answer.json()["found"] == old.hash
    assert f"/incidents/{old.incident}/plan" in answer.json()["next"]


def test_expired_plan_is_409(person: People) -> None:
    plan = planned(valid_for=timedelta(seconds=-1))
    answer = decide(person("bea", "approver"), plan)
    assert answer.status_code == 409
    assert "expired" in answer.json()["found"]
    assert resumptions() == []


def test_decided_plan_is_409_for_the_next_person(person: People) -> None:
    plan = planned()
    decide(person("bea", "approver"), plan, "deny")
    answer = decide(person("carl", "approver"), plan)
    assert answer.status_code == 409
    assert "denied" in answer.json()["found"]


@pytest.mark.parametrize(
    "path",
    [
        "/incidents/INC-none/plans/" + "0" * 64 + "/approve",
        "/incidents/INC-none/plans/nohash/approve",
        "/incidents/a%20b/plans/" + "0" * 64 + "/approve",
        "/incidents/INC-none/acknowledge",
    ],
)
def test_what_does_not_exist_is_404(person: People, path: str) -> None:
    answer = person("bea", "approver").post(path, json={"reason": ""})
    assert answer.status_code == 404


def test_incident_without_a_plan_is_404_for_a_decision_and_for_the_plan(person: People) -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna")
    bea = person("bea", "approver")
    assert bea.post(f"/incidents/{incident}/plans/{'0' * 64}/approve", json={}).status_code == 404
    assert bea.get(f"/incidents/{incident}/plan").status_code == 404


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"reason": 1}', b'{"reasn": "x"}'])
def test_wrong_body_is_422_and_decides_nothing(person: People, body: bytes) -> None:
    plan = planned()
    answer = person("bea", "approver").post(
        f"/incidents/{plan.incident}/plans/{plan.hash}/approve",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "expected", "found", "next"}
    assert journal.read(plan.incident).decisions == []


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": " \n"}])
def test_denial_without_a_reason_is_422_and_decides_nothing(
    person: People, body: dict[str, str] | None
) -> None:
    plan, bea = planned(), person("bea", "approver")
    path = f"/incidents/{plan.incident}/plans/{plan.hash}"
    answer = bea.post(f"{path}/deny", json=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "expected", "found", "next"}
    assert journal.read(plan.incident).decisions == []
    assert bea.post(f"{path}/approve", json=body).status_code == 200


def test_overlong_reason_is_422(person: People) -> None:
    plan = planned()
    path = f"/incidents/{plan.incident}/plans/{plan.hash}/deny"
    answer = person("bea", "approver").post(path, json={"reason": "x" * 2001})
    assert answer.status_code == 422


def test_acknowledgement_and_note_are_facts_under_the_persons_name(person: People) -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna")
    rosa = person("rosa", "responder")
    assert rosa.post(f"/incidents/{incident}/acknowledge").status_code == 200
    assert rosa.post(f"/incidents/{incident}/acknowledge").status_code == 200
    rosa.post(f"/incidents/{incident}/notes", json={"text": "looking \x1b[31m"})
    notes = [fact for fact in journal.read(incident).facts if fact.kind is FactKind.NOTE]
    assert [(fact.actor, fact.data["text"]) for fact in notes] == [
        ("rosa", "acknowledged by rosa"),
        ("rosa", "looking \ufffd[31m"),
    ]
    shown = rosa.get(f"/incidents/{incident}").json()
    assert shown["acknowledged_at"] == notes[0].at.isoformat()


def test_acknowledgement_stops_the_clock_of_the_dpo_once_the_dpo_was_told(
    person: People, sender: httpx.Client
) -> None:
    labels = {"alertname": "DataRetentionViolation", "category": "privacy"}
    sent = {"status": "firing", "labels": labels, "startsAt": "2026-11-23T12:05:46Z"}
    body = {"version": "4", "alerts": [sent | {"fingerprint": "p1"}]}
    (incident,) = sender.post("/alerts", json=body).json()["opened"]
    later = datetime.now(UTC) + timedelta(hours=2)
    rosa, bea = person("rosa", "responder"), person("bea", "responder")
    assert rosa.post(f"/incidents/{incident}/acknowledge").status_code == 200
    assert "clock.dpo.missed" in {due.step for due in due_steps(journal.read(incident), later)}
    told = {"audience": settings().contacts.dpo, "moment": "privacy", "channel": "#i"}
    journal.append(incident, FactKind.NOTIFIED, told)
    for client in (rosa, bea):
        assert client.post(f"/incidents/{incident}/acknowledge").status_code == 200
    state = journal.read(incident)
    assert not [due for due in due_steps(state, later) if due.step.startswith("clock.")]
    (stopped,) = [fact for fact in state.facts if fact.kind is FactKind.CLOCK_STOPPED]
    assert (stopped.actor, stopped.data["clock"]) == ("rosa", "dpo")
    assert "rosa" in stopped.data["reason"]


def test_acknowledgement_without_a_running_clock_stops_none(person: People) -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna")
    person("rosa", "responder").post(f"/incidents/{incident}/acknowledge")
    assert journal.read(incident).clocks_stopped == set()


def test_plan_that_was_begun_since_it_was_looked_at_does_not_expire(person: People) -> None:
    plan = planned()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    decide(person("bea", "approver"), plan)
    step = {"step": "recovery.swap", "target": "database/rlhf_audit", "fencing_token": 1}
    journal.append(plan.incident, FactKind.STEP_STARTED, step)
    assert not expire(plan.incident, tomorrow)
    assert [made.decision for made in journal.read(plan.incident).decisions] == ["approved"]


def test_plan_that_nobody_began_expires_once_and_says_why(person: People) -> None:
    plan = planned()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    decide(person("bea", "approver"), plan)
    assert not expire(plan.incident, datetime.now(UTC))
    assert expire(plan.incident, tomorrow)
    assert not expire(plan.incident, tomorrow)
    last = journal.read(plan.incident).decisions[-1]
    assert (last.decision, last.by, last.reason) == (
        "expired",
        "runbook",
        "it was not begun in time",
    )


def test_viewer_reads_and_does_nothing_else(person: People) -> None:
    plan = planned()
    vera = person("vera", "viewer")
    listed = vera.get("/incidents").json()["incidents"]
    assert [(one["id"], one["stage"]) for one in listed] == [(plan.incident, "awaiting approval")]
    shown = vera.get(f"/incidents/{plan.incident}/plan").json()
    assert (shown["hash"], shown["plan"]) == (plan.hash, plan.as_json())
    kinds = [fact["kind"] for fact in vera.get(f"/incidents/{plan.incident}").json()["facts"]]
    assert kinds == ["opened", "plan proposed"]
    (opened, proposed) = journal.read(plan.incident).facts
    for after, expected in ((opened.seq, [proposed.seq]), (proposed.seq, [])):
        newer = vera.get(f"/incidents/{plan.incident}?after={after}").json()
        assert [fact["seq"] for fact in newer["facts"]] == expected
        assert newer["plan"]["hash"] == plan.hash
    assert vera.get(f"/incidents/{plan.incident}?after=x").status_code == 422
    assert vera.post(f"/incidents/{plan.incident}/acknowledge").status_code == 403
    assert vera.post(f"/incidents/{plan.incident}/notes", json={"text": "t"}).status_code == 403


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "reports"
    directory.mkdir()
    monkeypatch.setenv("RUNBOOK_RESPONDER__REPORTS", str(directory))
    settings.cache_clear()
    return directory


def reported(path: Path, content: bytes) -> str:
    """Journal a report at `path` and return its address."""
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    incident = incidents.declare("t", "api", "api_service", by="anna")
    journal.append(incident, FactKind.REPORTED, {"html": {"path": str(path), "sha256": digest}})
    return f"/reports/{incident}/{digest}.html"


def test_report_is_served_by_its_hash_under_a_strict_policy(gateway: str, reports: Path) -> None:
    answer = httpx.get(gateway + reported(reports / "r.html", b"<h1>report</h1>"))
    assert answer.status_code == 200
    assert answer.content == b"<h1>report</h1>"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_report_that_was_altered_on_disk_is_refused(gateway: str, reports: Path) -> None:
    address = reported(reports / "r.html", b"true")
    (reports / "r.html").write_bytes(b"false")
    assert httpx.get(gateway + address).status_code == 409


def test_file_outside_the_directory_of_reports_is_never_served(
    gateway: str, reports: Path, tmp_path: Path
) -> None:
    outside = reported(tmp_path / "secret.html", b"secret")
    assert httpx.get(gateway + outside).status_code == 404
    (reports / "link.html").symlink_to(tmp_path / "secret.html")
    linked = reported(reports / "link.html", b"secret")
    assert httpx.get(gateway + linked).status_code == 404


def test_report_under_another_hash_type_or_incident_is_404(gateway: str, reports: Path) -> None:
    address = reported(reports / "r.html", b"true")
    assert httpx.get(gateway + address.replace(".html", ".pdf")).status_code == 404
    assert httpx.get(gateway + address.replace(".html", ".exe")).status_code == 404
    assert (
        httpx.get(f"{gateway}/reports/{address.split('/')[2]}/{'0' * 64}.html").status_code == 404
    )
    other = incidents.declare("t", "api", "api_service", by="anna")
    assert httpx.get(f"{gateway}/reports/{other}/{address.split('/')[3]}").status_code == 404


def test_health_and_readiness_say_what_is_missing(gateway: str) -> None:
    assert httpx.get(f"{gateway}/healthz").json() == {"status": "ok"}
    answer = httpx.get(f"{gateway}/readyz")
    assert answer.status_code == 200  # it has no children, but alerts are stored
    assert (answer.json()["takes_alerts"], answer.json()["complete"]) == (True, False)
    assert answer.json()["ready"] == {
        "database": True,
        "children": False,
        "dispatcher": False,
        "prefect": False,
        "ticker": False,
    }


def test_opened_at_is_shown_in_utc(person: People) -> None:
    plan = planned()
    shown = person("vera", "viewer").get(f"/incidents/{plan.incident}").json()
    opened = datetime.fromisoformat(shown["opened_at"])
    assert abs((datetime.now(UTC) - opened).total_seconds()) < 60
