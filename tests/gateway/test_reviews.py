"""The review of an incident: by HTTP, by the page's forms and by the command; and its report."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from click.testing import CliRunner, Result

from deployments.cli import cli
from tasks.domain.action_items import Ended, Kind, action_items
from tasks.domain.compliance_decisions import Matter
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import Fact, FactKind
from tasks.domain.ledger import NoteSigner
from tasks.domain.questions import ASKED, Question
from tasks.domain.report_json import shipped_schema
from tasks.domain.review import Status, status
from tasks.evidence import write_report
from tasks.settings import settings
from tasks.work import following_up, incidents, journal, people, responder, reviewing
from tasks.work.people import Person, Role
from tests.gateway.browsers import Browser, Forms
from tests.gateway.page_stories import closed, opened

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

People = Callable[[str, str], httpx.Client]
LogIn = Callable[[str, str], Browser]

HOSTILE = '<script>alert(1)</script>\x1b[31m\u202e";--'
ROSA = Person("rosa", Role.RESPONDER)
BEA = Person("bea", Role.APPROVER)
VERA = Person("vera", Role.VIEWER)
SIGNER = NoteSigner.from_seed("responder.example", b"s" * 32)
SOON = datetime.now(UTC).date() + timedelta(days=9)
ITEM: dict[str, Any] = {
    "action": "rotate the keys",
    "kind": "prevent",
    "owner": "database team",
    "due": SOON.isoformat(),
    "verification": "the old key is refused",
}


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def ordered(incident: str, deployment: str) -> list[str]:
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT key FROM dispatches WHERE incident = %s AND deployment = %s ORDER BY id",
            (incident, deployment),
        ).fetchall()
    return [key for (key,) in rows]


def add(incident: str, person: Person = ROSA, *, action: str = "rotate", due: date = SOON) -> Fact:
    return reviewing.add_action(
        incident, person, action, Kind.PREVENT, "bea", due, "the old key is refused"
    )


def test_an_answer_is_a_fact_once_and_the_next_one_is_another_version() -> None:
    incident = closed()
    first = reviewing.answer(incident, ROSA, Question.CAUSES, f"one\n{HOSTILE}", version=0)
    assert reviewing.answer(incident, ROSA, Question.CAUSES, f"one\n{HOSTILE}") == first
    assert "\x1b" not in first.data["text"]
    assert "\u202e" not in first.data["text"]
    with pytest.raises(NotApproved, match="by rosa"):
        reviewing.answer(incident, BEA, Question.CAUSES, "two", version=0)
    reviewing.answer(incident, BEA, Question.CAUSES, "two", version=1)
    assert [fact.actor for fact in facts(incident, FactKind.ANSWERED)] == ["rosa", "bea"]


def test_who_may_not_write_and_what_means_nothing_leave_no_fact() -> None:
    incident = closed()
    before = len(journal.read(incident).facts)
    for refused, words, error in (
        (VERA, "x", NotPermitted),
        (ROSA, "  ", BadInput),
        (ROSA, "x" * 2001, BadInput),
    ):
        with pytest.raises(error):
            reviewing.answer(incident, refused, Question.CAUSES, words)
    with pytest.raises(BadInput, match="due date"):
        add(incident, due=date(2001, 1, 1))
    with pytest.raises(BadInput, match="none, found 'A1'"):
        reviewing.end_action(incident, ROSA, "A1", Ended.DONE, "x")
    with pytest.raises(NotPermitted):
        reviewing.sign_off(incident, ROSA, "x")
    with pytest.raises(NotApproved, match="Root causes"):
        reviewing.sign_off(incident, BEA, "x")
    with pytest.raises(NotPermitted):
        reviewing.decide_compliance(incident, ROSA, Matter.AUDITORS, "x", yes=True)
    assert len(journal.read(incident).facts) == before


def test_items_are_numbered_changed_ended_once_and_opened_again() -> None:
    incident = closed()
    assert add(incident) == add(incident)
    assert add(incident, action="watch it").data["item"] == "A2"
    done = reviewing.end_action(incident, BEA, "A1", Ended.DONE, "tried the old key")
    assert reviewing.end_action(incident, BEA, "A1", Ended.DONE, "tried it again") == done
    with pytest.raises(NotApproved, match="done by bea"):
        reviewing.end_action(incident, ROSA, "A1", Ended.DROPPED, "no")
    put = ("A1", "rotate", Kind.PREVENT, "bea", SOON, "the old key is refused")
    again = reviewing.change_action(incident, ROSA, *put)
    assert reviewing.change_action(incident, ROSA, *put) == again
    states = [(item.item, item.state) for item in action_items(journal.read(incident).facts)]
    assert states == [("A1", "open"), ("A2", "open")]


def test_a_closed_incidents_report_is_ordered_anew_once_for_these_minutes() -> None:
    incident, running = closed(), opened()
    add(running)
    assert ordered(running, incidents.REPORT) == []
    for words in ("one", "two", "three"):
        reviewing.answer(incident, ROSA, Question.LUCK, words)
    assert 1 <= len(ordered(incident, incidents.REPORT)) <= 2


def test_a_yes_to_the_auditors_orders_that_they_are_told_and_a_no_does_not() -> None:
    incident = closed()
    before = len(ordered(incident, incidents.ESCALATION))
    reviewing.decide_compliance(incident, BEA, Matter.AUDITORS, "a drill", yes=False)
    assert len(ordered(incident, incidents.ESCALATION)) == before
    yes = reviewing.decide_compliance(incident, BEA, Matter.AUDITORS, "they ask", yes=True)
    assert reviewing.decide_compliance(incident, BEA, Matter.AUDITORS, "they ask", yes=True) == yes
    assert ordered(incident, incidents.ESCALATION)[before:] == [
        f"escalate:{incident}:auditors.{yes.seq}"
    ]


def test_a_follow_up_that_nobody_heard_is_recorded_once_a_day_and_stays_due() -> None:
    incident = closed()
    now = datetime.now(UTC) + timedelta(days=31)
    assert following_up.due(datetime.now(UTC)) == []
    (first, *_) = due = following_up.due(now)
    assert first[0] == incident
    for _ in range(2):
        for each in due:
            following_up.ask(*each, now, last_try=True)
    assert following_up.due(now) == due
    assert len(facts(incident, FactKind.FOLLOW_UP)) == len(due)
    for each in due:
        following_up.ask(*each, now + timedelta(days=1), last_try=True)
    assert len(facts(incident, FactKind.FOLLOW_UP)) == 2 * len(due)
    assert "could not be told" in facts(incident, FactKind.FOLLOW_UP)[0].data["summary"]


def test_over_http_a_review_is_written_read_and_signed_off(person: People) -> None:
    incident = closed()
    path, rosa, bea = (
        f"/incidents/{incident}",
        person("rosa", "responder"),
        person("bea", "approver"),
    )
    for question, asked in ASKED.items():
        if asked.needed:
            body = {"question": question.value, "text": "because"}
            assert rosa.post(f"{path}/answers", json=body).json()["by"] == "rosa"
    assert rosa.post(f"{path}/actions", json=ITEM).json()["item"] == "A1"
    assert rosa.post(f"{path}/actions/A1", json=ITEM | {"owner": "bea"}).status_code == 200
    assert rosa.post(f"{path}/sign-off", json={"reason": "read"}).status_code == 403
    assert bea.post(f"{path}/sign-off", json={"reason": "read"}).status_code == 200
    assert status(journal.read(incident).facts) is Status.REVIEWED
    done = {"ending": "done", "reason": "tried the old key"}
    assert rosa.post(f"{path}/actions/A1/end", json=done).status_code == 200
    matter = {"matter": "ai-act", "yes": False, "reason": "no harm"}
    assert bea.post(f"{path}/compliance", json=matter).status_code == 200
    found = person("vera", "viewer").get(f"{path}/review").json()
    assert found["status"].startswith("Closed: signed off by bea")
    assert [item["state"] for item in found["items"]] == ["done"]
    assert "**A1** rotate the keys" in found["markdown"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("answers", {"question": "taxes", "text": "x"}),
        ("answers", {"question": "causes", "text": ""}),
        ("answers", {"question": "causes", "text": "x", "by": "eve"}),
        ("actions", ITEM | {"due": "soon"}),
        ("actions", ITEM | {"kind": "other"}),
        ("actions", {"action": "x"}),
        ("actions/A9/end", {"ending": "done", "reason": "x"}),
        ("actions/A1;--", ITEM),
        ("compliance", {"matter": "auditors", "yes": "perhaps", "reason": "x"}),
    ],
)
def test_what_is_no_word_of_a_review_is_refused(person: People, path: str, body: Any) -> None:
    incident = closed()
    before = len(journal.read(incident).facts)
    answer = person("bea", "approver").post(f"/incidents/{incident}/{path}", json=body)
    assert answer.status_code in {404, 422}
    assert len(journal.read(incident).facts) == before


def test_the_page_asks_takes_and_shows_and_nothing_of_it_is_markup(log_in: LogIn) -> None:
    incident = closed()
    page = f"/i/{incident}"
    rosa = log_in("rosa", "responder")
    shown = rosa.get(page).text
    assert "Root causes" in shown
    assert "not answered, needed" in shown
    assert f"{page}/sign-off" not in shown
    assert f"{page}/compliance" not in shown
    csrf = Forms.on(shown)["/logout"]["csrf"]

    def send(action: str, **fields: str) -> httpx.Response:
        return rosa.client.post(f"{page}/{action}", data={"csrf": csrf, **fields})

    said = {"question": "causes", "version": "0", "text": f"one\r\n{HOSTILE}"}
    assert send("answer", **said).headers["Location"] == f"{page}?said=answered"
    stale = send("answer", **said | {"text": "other"})
    assert stale.status_code == 409
    assert "other" in stale.text, "what was typed is shown again"
    fields = {"text": HOSTILE, "kind": "detect", "owner": HOSTILE, "due": SOON.isoformat()}
    assert send("action", **fields, verification=HOSTILE).status_code == 303
    put = fields | {"item": "A1", "owner": "bea"}
    assert send("action-put", **put, verification="look").status_code == 303
    assert send("action-end", item="A1", ending="dropped", reason=HOSTILE).status_code == 303
    assert send("action", **fields | {"due": "soon"}, verification="v").status_code == 422
    after = rosa.get(f"{page}?said=action").text
    assert "<script>alert(1)" not in after
    assert "\u202e" not in after
    assert "version 1" in after
    assert "dropped" in after
    decide = {"matter": "auditors", "answer": "yes", "reason": "x"}
    assert send("compliance", **decide).status_code == 403
    assert "Record the decision" in log_in("bea", "approver").get(page).text
    assert f"{page}/answer" not in log_in("vera", "viewer").get(page).text


def run(gateway: str, token: Path, *words: str | Path) -> Result:
    where = ["--gateway", gateway, "--token-file", str(token)]
    return CliRunner().invoke(cli, [*map(str, words), *where])


def test_the_command_answers_adds_exports_and_ends(gateway: str, tmp_path: Path) -> None:
    incident, token = closed(), tmp_path / "token"
    token.write_text(people.add_person("bea", "approver", timedelta(hours=1)))
    said = run(gateway, token, "report", "answer", incident, "causes", "--text", "a switch")
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.stdout == f"{incident}: causes answered by bea\n"
    options = ["--type", "prevent", "--owner", "bea", "--due", SOON.isoformat(), "--verify", "look"]
    added = run(gateway, token, "report", "action", incident, "--do", "rotate", *options)
    assert "A1 action put by bea" in added.stdout
    put = run(gateway, token, "report", "action", incident, "A1", "--do", "rotate all", *options)
    assert put.exit_code == 0
    ended = run(gateway, token, "report", "end-action", incident, "A1", "--reason", "looked")
    assert "A1 done by bea" in ended.stdout
    export = tmp_path / "items.md"
    shown = run(gateway, token, "report", "review", incident, "--markdown", export)
    assert "a switch" in shown.stdout
    assert "not answered yet" in shown.stdout
    assert "- [x] **A1** rotate all" in export.read_text()
    decided = run(
        *(gateway, token, "report", "compliance", incident, "auditors", "--no", "--reason", "drill")
    )
    assert "auditors: no by bea" in decided.stdout
    wrong = run(gateway, token, "report", "sign-off", incident, "--reason", "read")
    assert wrong.exit_code == 2
    assert "not now" in wrong.stderr


def test_the_written_report_is_signed_journaled_fetched_and_proven_offline(
    gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = tmp_path / "responder.key", tmp_path / "token"
    key.write_text(SIGNER.encoded)
    key.chmod(0o600)
    token.write_text(people.add_person("vera", "viewer", timedelta(hours=1)))
    monkeypatch.setenv("RUNBOOK_RESPONDER__SIGNING_KEY_FILE", str(key))
    monkeypatch.setenv("RUNBOOK_RESPONDER__REPORTS", str(tmp_path / "reports"))
    settings.cache_clear()
    incident = closed()
    reviewing.answer(incident, ROSA, Question.CAUSES, "a switch")
    write_report.fn(incident)
    (fact,) = facts(incident, FactKind.REPORTED)
    assert fact.data["key"] == SIGNER.verifier.encoded
    assert f"json sha256:{fact.data['json']['sha256']}" in fact.data["note"]
    out = tmp_path / "out"
    fetched = run(gateway, token, "report", incident, "--to", out)
    assert fetched.exit_code == 0, fetched.output
    assert {file.suffix for file in out.iterdir()} == {".html", ".pdf", ".json", ".seal"}
    machine = json.loads((out / f"{incident}.json").read_text())
    jsonschema.validate(machine, shipped_schema(), cls=jsonschema.Draft202012Validator)

    def verify(*words: str | Path) -> Result:
        return CliRunner().invoke(cli, ["report", "verify", *map(str, words)])

    vkey = SIGNER.verifier.encoded
    written = tmp_path / "verdict.json"
    for path in (out, out / f"{incident}.pdf", settings().responder.reports / incident):
        proven = verify(path, "--key", vkey, "--json", written)
        assert (proven.exit_code, proven.stderr) == (0, ""), proven.output
    assert json.loads(written.read_text())["proven"] == ["html", "pdf", "json"]
    assert verify(out).exit_code == 0, "by our own key"
    stranger = NoteSigner.from_seed("responder.example", b"t" * 32).verifier.encoded
    assert verify(out, "--key", stranger).exit_code == 1
    reviewing.answer(incident, ROSA, Question.CAUSES, "two switches")
    write_report.fn(incident)
    earlier = httpx.get(f"{gateway}/reports/{incident}/{fact.data['html']['sha256']}.html")
    assert earlier.status_code == 200, "what was reported stays what it was"
    versions = settings().responder.reports / incident / "versions"
    kept = verify(versions / f"{fact.data['seal']['sha256']}.seal", "--json", written)
    assert kept.exit_code == 0, kept.output
    assert json.loads(written.read_text())["proven"] == ["html", "pdf", "json"]
    page = out / f"{incident}.html"
    page.write_bytes(page.read_bytes().replace(b"a switch", b"a stitch"))
    broken = verify(out, "--key", vkey)
    assert broken.exit_code == 1
    assert "html: expected sha256" in broken.stdout.replace("\n", " ")
    assert verify(token).exit_code != 0


def test_without_a_key_the_report_is_written_and_says_that_it_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_RESPONDER__REPORTS", str(tmp_path / "reports"))
    settings.cache_clear()
    incident = closed()
    write_report.fn(incident)
    (fact,) = facts(incident, FactKind.REPORTED)
    assert (fact.data["note"], fact.data["seal"]["sha256"]) == ("", "")
    assert "SIGNING_KEY_FILE" in fact.data["unsigned"]


def test_lines_that_a_browser_sends_are_recorded_as_they_were_written(log_in: LogIn) -> None:
    incident = closed()
    page, rosa = f"/i/{incident}", log_in("rosa", "responder")
    long = "x" * 90 + "\r\n"  # 22 of them are 2,002 characters with LF alone
    fields = {"kind": "detect", "owner": "rosa", "due": SOON.isoformat(), "text": "a\r\nb"}
    made = rosa.send(page, f"{page}/action", **fields, verification=long * 21)
    assert made.status_code == 303
    too_long = rosa.send(page, f"{page}/action", **fields, verification=long * 22)
    assert too_long.status_code == 422
    (item,) = [fact.data for fact in journal.read(incident).facts if "verification" in fact.data]
    assert item["action"] == "a\nb"
    assert item["verification"] == ("x" * 90 + "\n") * 20 + "x" * 90
    assert rosa.send(page, f"{page}/note", text="one\r\ntwo").status_code == 303
    assert "one\ntwo" in str(journal.read(incident).facts[-1].data["text"])
