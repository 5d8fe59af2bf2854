"""What people say over HTTP and by the command: shapes, refusals, and the runs that follow."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from deployments.cli import cli
from deployments.saying import read_review
from tasks.domain.errors import BadInput
from tasks.domain.incident import Stage
from tasks.work import incidents, journal, people

pytestmark = pytest.mark.components

People = Callable[[str, str], httpx.Client]

TARGET = "database/rlhf_audit"


def opened() -> str:
    return incidents.declare("API: down", "api", "api_service", by="runbook")


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def bodies() -> dict[str, dict[str, Any]]:
    """Every path of ours, with a body that is good; {} stands for the incident."""
    why = {"reason": "why"}
    declared = {"title": "t", "component": "api", "procedure": "api_service", "severity": "P2"}
    return {
        "/incidents": declared | why,
        "/incidents/{}/acknowledge": {},
        "/incidents/{}/notes": {"text": "t"},
        "/incidents/{}/lead": {},
        "/incidents/{}/severity": {"severity": "P1"} | why,
        "/incidents/{}/holds": {"scope": TARGET, "review_at": in_an_hour()} | why,
        "/incidents/{}/glass": {"scope": TARGET} | why,
        "/incidents/{}/holds/lift": {"scope": TARGET} | why,
        "/restores": {"target": "2026-11-22 14:05Z"} | why,
        "/rollbacks": {"workload": "deployment/rlhf-audit-trail"} | why,
        "/changes": {"wanted": "scale", "part": "workers", "replicas": 3} | why,
        "/holds": {"review_at": in_an_hour()} | why,
        "/holds/lift": why,
        "/incidents/{}/close": why,
    }


def test_everything_can_be_said_and_is_answered_with_who_said_it(person: People) -> None:
    bea, incident = person("bea", "approver"), opened()
    for path, body in bodies().items():
        answer = bea.post(path.format(incident), json=body)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["by"] == "bea"
        if "{}" in path:
            assert answer.json()["incident"] == incident
    state = journal.read(incident)
    assert (state.lead, state.stage, state.outcome) == ("bea", Stage.CLOSED, "closed by hand")
    assert (state.held(), [glass.by for glass in state.glass]) == ([], ["bea"])


def test_a_viewer_and_a_stranger_are_refused_and_nothing_is_recorded(
    person: People, gateway: str
) -> None:
    vera, incident = person("vera", "viewer"), opened()
    before = len(journal.facts_after(-1))
    for path, body in bodies().items():
        answer = vera.post(path.format(incident), json=body)
        assert answer.status_code == 403, path
        assert set(answer.json()) == {"error", "expected", "found", "next"}
        assert httpx.post(gateway + path.format(incident), json=body).status_code == 401, path
    assert len(journal.facts_after(-1)) == before


def test_a_responder_may_hold_but_neither_lift_nor_break_the_glass(person: People) -> None:
    rosa, incident = person("rosa", "responder"), opened()
    for path, body in bodies().items():
        expected = 403 if path.endswith(("lift", "glass")) else 200
        if not path.endswith("close"):
            assert rosa.post(path.format(incident), json=body).status_code == expected, path


def test_an_incident_that_is_not_there_is_404(person: People) -> None:
    bea = person("bea", "approver")
    for path, body in bodies().items():
        if "{}" in path:
            answer = bea.post(path.format("INC-none"), json=body)
            assert (answer.status_code, answer.json()["error"]) == (404, "no such incident"), path
    assert bea.post("/holds/lift", json={"reason": "why"}).status_code == 404
    assert journal.facts_after(-1) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""},
        {"reason": "  \n"},
        {"reason": "x" * 2001},
        {"reason": 7},
        {"more": "than asked"},
        {"severity": "P4"},
        {"severity": 0},
        {"scope": "a b"},
        {"scope": "x" * 10_000},
        {"scope": None},
        {"review_at": "tomorrow"},
        {"review_at": "2020-01-01T00:00:00Z"},
        {"review_at": "2099-01-01T00:00:00Z"},
        {"review_at": "2099-01-01T00:00:00"},
        {"component": "../x"},
        {"procedure": "flows.breach"},
        {"title": "x" * 161},
    ],
)
def test_a_wrong_field_is_422_in_the_one_shape_and_records_nothing(
    person: People, wrong: dict[str, Any]
) -> None:
    bea, incident = person("bea", "approver"), opened()
    before = len(journal.facts_after(-1))
    field = next(iter(wrong))
    for path, body in bodies().items():
        if body and (field in body or field == "more"):
            answer = bea.post(path.format(incident), json=body | wrong)
            assert answer.status_code == 422, (path, answer.text)
            assert set(answer.json()) == {"error", "expected", "found", "next"}
    assert len(journal.facts_after(-1)) == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"reason": "\\ud800"}', b"\xff\xfe"])
def test_a_body_that_is_none_is_refused(person: People, body: bytes) -> None:
    bea, incident = person("bea", "approver"), opened()
    headers = {"Content-Type": "application/json"}
    answer = bea.post(f"/incidents/{incident}/close", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert journal.read(incident).closed_at is None


def test_what_the_state_does_not_allow_is_409_and_says_what_to_do(person: People) -> None:
    bea, incident = person("bea", "approver"), opened()
    bea.post(f"/incidents/{incident}/holds", json=bodies()["/incidents/{}/holds"])
    answer = bea.post(f"/incidents/{incident}/close", json={"reason": "enough"})
    assert answer.status_code == 409
    assert "have it lifted" in answer.json()["found"]
    part = {"scope": f"{TARGET}/audit_records", "reason": "now"}
    nothing = bea.post(f"/incidents/{incident}/glass", json=part)
    assert nothing.status_code == 409
    assert "no glass to break" in nothing.json()["found"]


@pytest.mark.parametrize("scope", ["rlhf_audit", "audit-trail", "database/rlhf_audt"])
def test_a_mistyped_scope_is_422_with_the_known_ones_and_holds_nothing(
    person: People, scope: str
) -> None:
    bea, incident = person("bea", "approver"), opened()
    body = bodies()
    for path in ("/incidents/{}/holds", "/incidents/{}/glass", "/holds"):
        answer = bea.post(path.format(incident), json=body[path] | {"scope": scope})
        assert answer.status_code == 422, path
        assert f"known are {TARGET}" in answer.json()["found"], path
    assert journal.all_incidents() == [incident]
    assert journal.read(incident).held() == []


def test_what_is_declared_says_whether_it_joined_what_is_open(person: People) -> None:
    bea, body = person("bea", "approver"), bodies()["/incidents"]
    first = bea.post("/incidents", json=body).json()
    assert (first["joined"], first["procedure_differs"], first["by"]) == (False, False, "bea")
    again = bea.post("/incidents", json=body | {"procedure": "breach"}).json()
    assert again == first | {"joined": True, "procedure_differs": True}


def test_the_privacy_officer_stops_the_clock_that_keeps_the_incident_open(person: People) -> None:
    rosa, dora = person("rosa", "responder"), person("dora", "privacy-officer")
    declared = bodies()["/incidents"] | {"component": "privacy", "procedure": "privacy_incident"}
    incident = rosa.post("/incidents", json=declared).json()["incident"]
    closing = {"reason": "over"}
    refused = rosa.post(f"/incidents/{incident}/close", json=closing)
    assert refused.status_code == 409
    assert "stop it first" in refused.json()["found"]
    stop, why = f"/incidents/{incident}/clocks/dpo/stop", {"reason": "told by telephone"}
    assert rosa.post(stop, json=why).status_code == 403
    assert httpx.post(str(rosa.base_url) + stop, json=why).status_code == 401
    assert dora.post(stop, json={"reason": ""}).status_code == 422
    assert dora.post(stop.replace("dpo", "none"), json=why).status_code == 422
    assert dora.post(stop.replace(incident, "INC-none"), json=why).status_code == 404
    assert journal.read(incident).clocks_stopped == set()
    answer = dora.post(stop, json=why)
    assert (answer.status_code, answer.json()["by"]) == (200, "dora")
    assert rosa.post(f"/incidents/{incident}/close", json=closing).status_code == 200


def test_a_hostile_reason_comes_back_as_it_is_kept_printable(person: People) -> None:
    rosa, incident = person("rosa", "responder"), opened()
    words = '<script>alert(1)</script>\x1b[31m\u202e";--'
    body = {"severity": "P1", "reason": words}
    assert rosa.post(f"/incidents/{incident}/severity", json=body).status_code == 200
    shown = rosa.get(f"/incidents/{incident}").json()["severity_reason"]
    assert shown.isprintable()
    assert shown.startswith("<script>alert(1)</script>")


@pytest.fixture
def command(gateway: str, tmp_path: Path) -> Callable[..., Result]:
    token = tmp_path / "token"
    token.write_text(people.add_person("bea", "approver", timedelta(hours=1)))

    def run(*arguments: str) -> Result:
        where = ["--gateway", gateway, "--token-file", str(token)]
        return CliRunner().invoke(cli, [*arguments, *where])

    return run


def test_the_command_holds_everything_and_lifts_it(command: Callable[..., Result]) -> None:
    held = command("hold", "*", "--reason", "stop", "--review", "2h")
    assert (held.exit_code, held.stderr) == (0, "")
    incident = held.stdout.partition(":")[0]
    assert "* held, to be reviewed at" in held.stdout
    (hold,) = journal.read(incident).held()
    assert hold.review_due is not None
    assert timedelta(minutes=119) < hold.review_due - datetime.now(UTC) < timedelta(minutes=121)
    lifted = command("hold", "*", "--lift", "--reason", "go on")
    assert (lifted.exit_code, lifted.stdout) == (0, f"{incident}: hold on * lifted by bea\n")
    assert journal.read(incident).held() == []


def test_the_command_says_its_person_in_one_incident(command: Callable[..., Result]) -> None:
    incident = opened()
    said = [
        command("acknowledge", incident),
        command("hold", TARGET, "--incident", incident, "--reason", "wait"),
        command("hold", TARGET, "--incident", incident, "--lift", "--reason", "go on"),
        command("close", incident, "--reason", "a drill"),
    ]
    assert [(one.exit_code, one.stderr) for one in said] == [(0, "")] * 4
    assert said[0].stdout == f"{incident}: acknowledged by bea\n"
    assert journal.read(incident).stage is Stage.CLOSED


def test_the_command_says_why_the_gateway_refused_and_exits_with_2(
    command: Callable[..., Result],
) -> None:
    incident = opened()
    command("hold", TARGET, "--incident", incident, "--reason", "wait")
    refused = command("close", incident, "--reason", "enough")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("not now: ")
    assert command("close", "../x", "--reason", "r").exit_code == 2
    assert command("hold", "A b", "--reason", "r").exit_code == 2


NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ahead"),
    [
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("2026-03-14T05:00:00+01:00", timedelta(hours=1)),
    ],
)
def test_a_review_time_is_a_length_or_an_instant(text: str, ahead: timedelta) -> None:
    assert read_review(text, NOW) == NOW + ahead


@pytest.mark.parametrize(
    "text", ["", "h", "2", "-2h", "2w", "99999d", "2026-03-14T05:00:00", "\u0662h"]
)
def test_another_text_is_no_review_time(text: str) -> None:
    with pytest.raises(BadInput, match="review time"):
        read_review(text, NOW)
