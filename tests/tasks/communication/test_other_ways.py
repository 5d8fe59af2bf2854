"""Beside chat: the pager, and whatever Apprise reaches; each stands for itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import apprise
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from deployments.lab.pagerduty import Account
from tasks.clients import reach
from tasks.clients.errors import Denied, Transient
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.work import escalating, incidents, journal, paging, telling
from tests.gateway.stack import served
from tests.tasks.communication.conftest import Chat, setting

pytestmark = pytest.mark.components

HOSTILE = "<script>alert(1)</script> *bold* [us](https://evil.example) & `x`"
PASSWORD = "s3cret-of-the-mailbox"
NOBODY = "http://127.0.0.1:1/api"


class Mailbox:
    """A target of Apprise's JSON plugin; it takes nothing while it is `full`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.full = False
        self.url = ""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{path:path}")
        async def take(path: str, request: Request) -> JSONResponse:
            assert path is not None
            if self.full:
                return JSONResponse({}, 503)
            self.taken.append(await request.json())
            return JSONResponse({})

        return app


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    with served(box.app()) as url:
        host = url.removeprefix("http://")
        box.url = f"json://user:{PASSWORD}@{host}/inbox"
        yield box


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        setting(monkeypatch, "REACH__URLS", {"dpo": [box.url]})
        yield box


@pytest.fixture
def incident(database: str) -> str:
    assert database
    return incidents.declare(HOSTILE, "api", "triage", "anna", starts_run=False)


def facts(incident: str, kind: FactKind) -> list[dict[str, Any]]:
    return [dict(fact.data) for fact in journal.read(incident).facts if fact.kind is kind]


def tell(incident: str, contact: str = "dpo", *, last_try: bool = True) -> bool:
    return telling.tell(incident, "them", "privacy", HOSTILE, last_try=last_try, contact=contact)


def test_a_role_is_told_in_chat_and_by_its_other_ways_once_each(
    chat: Chat, incident: str, mailbox: Mailbox
) -> None:
    for _ in range(2):
        assert tell(incident)
    (message,) = mailbox.taken
    assert (message["title"], message["message"]) == (f"{incident}: privacy", HOSTILE)
    told = facts(incident, FactKind.NOTIFIED)
    assert [(one["via"], one["contact"]) for one in told] == [("chat", "dpo"), ("json.1", "dpo")]
    assert len([one for one in chat.said["messages"] if one["name"] == "incidents"]) == 1


def test_chat_that_is_down_keeps_no_other_way_from_telling(
    incident: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "CHAT__URL", NOBODY)
    setting(monkeypatch, "CHAT__TOKEN", "xoxb")
    with pytest.raises(Transient):  # chat is tried again; the other way is not repeated then
        tell(incident, last_try=False)
    assert tell(incident)
    assert len(mailbox.taken) == 1
    assert telling.was_told(journal.read(incident), "", "privacy", "dpo")


def test_a_chat_that_has_just_failed_is_tried_once_and_makes_nobody_wait(
    incident: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "CHAT__URL", NOBODY)
    setting(monkeypatch, "CHAT__TOKEN", "xoxb")
    assert tell(incident)  # the last try: chat has failed, the letter has arrived
    assert telling.chat_is_down(incident)
    assert telling.tell(incident, "them", "scope", "x", last_try=False, contact="dpo")
    assert telling.make_channel(incident, last_try=False) is None
    failed = [one["moment"] for one in facts(incident, FactKind.NOTIFY_FAILED)]
    assert failed == ["privacy", "scope", "channel"]
    assert len(mailbox.taken) == 2


def test_a_chat_that_refuses_one_message_is_not_taken_for_one_that_is_down(
    chat: Chat, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chat.url
    setting(monkeypatch, "CHAT__TOKEN", "another")
    assert not telling.tell(incident, "them", "privacy", "x", last_try=True)
    (failed,) = facts(incident, FactKind.NOTIFY_FAILED)
    assert failed["transient"] is False
    assert not telling.chat_is_down(incident)


def test_a_mailbox_that_takes_nothing_is_a_fact_without_its_password(
    chat: Chat, incident: str, mailbox: Mailbox
) -> None:
    assert chat.url
    mailbox.full = True
    with pytest.raises(Transient):
        tell(incident, last_try=False)
    assert tell(incident)  # chat took it
    (failed,) = facts(incident, FactKind.NOTIFY_FAILED)
    assert failed["via"] == "json.1"
    assert PASSWORD not in str([fact.data for fact in journal.read(incident).facts])
    mailbox.full = False
    assert tell(incident)
    assert len(mailbox.taken) == 1


def test_a_role_without_other_ways_and_a_name_that_is_no_role_use_chat_alone(
    chat: Chat, incident: str, mailbox: Mailbox
) -> None:
    assert chat.url
    assert tell(incident, "security_team")
    assert tell(incident, "")
    assert mailbox.taken == []


def test_a_url_that_is_none_is_refused_by_its_kind_and_never_shown() -> None:
    wrong = SecretStr(f"nonsense://user:{PASSWORD}@127.0.0.1")
    with pytest.raises(Denied, match="nonsense") as refused:
        reach.send(wrong, "t", "x", timeout_seconds=1)
    assert PASSWORD not in str(refused.value)
    assert reach.kind_of(SecretStr(PASSWORD)) == "unknown"


def test_alert_text_is_escaped_for_what_shows_html_and_what_shows_markdown() -> None:
    with open_mailbox() as box:
        for shown in ("html", "markdown", "text"):
            url = SecretStr(f"{box.url}?format={shown}")
            reach.send(url, "t", HOSTILE, timeout_seconds=5)
        html, markdown, text = (one["message"] for one in box.taken)
    assert "<script>" not in html
    assert "[us](" not in markdown
    assert "<script>" not in markdown
    assert r"\*bold\*" in markdown
    assert text == HOSTILE
    assert apprise.__version__


def test_a_mailbox_that_hangs_takes_no_longer_than_its_time_out() -> None:
    box, over = Mailbox(), threading.Event()
    app = FastAPI()

    @app.post("/{path:path}")
    def hang(path: str) -> None:
        assert path is not None
        over.wait(10)

    with served(app) as url:
        box.url = url.replace("http://", "json://")
        began = datetime.now(UTC)
        with pytest.raises(Transient):
            reach.send(SecretStr(box.url), "t", "x", timeout_seconds=0.5)
        assert (datetime.now(UTC) - began).total_seconds() < 3
        over.set()


def test_on_call_is_paged_once_under_the_incidents_name(incident: str, pagerduty: Account) -> None:
    for _ in range(2):
        assert paging.page(incident, "ada", HOSTILE, last_try=True)
        assert tell(incident, "on_call")  # the pager is one of the ways of that role
    (page,) = pagerduty.alerts[incident]
    assert page["payload"]["summary"] == HOSTILE
    assert page["payload"]["severity"] == "error"  # not assessed yet: like a P1


def test_an_acknowledgement_here_stops_the_pagers_calls_and_the_end_resolves_the_page(
    incident: str, pagerduty: Account
) -> None:
    paging.page(incident, "ada", "down", last_try=True)
    now = datetime.now(UTC)
    assert not due_steps(journal.read(incident), now)
    seen = {"text": "", "acknowledged": True}
    journal.append(incident, FactKind.NOTE, seen, actor="anna")
    (due,) = due_steps(journal.read(incident), datetime.now(UTC))
    assert due.step == "page.acknowledged"
    escalating.take(incident, due, now, last_try=True)
    assert not due_steps(journal.read(incident), datetime.now(UTC))
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    for _ in range(2):
        escalating.tell_the_end(incident, now, last_try=True)
    states = [one["state"] for one in pagerduty.alerts[incident]]
    assert states == ["triggered", "acknowledged", "resolved"]


def test_a_pager_that_refuses_is_a_fact_and_no_secret_of_it(
    incident: str, pagerduty: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "PAGERDUTY__ROUTING_KEY", PASSWORD)
    assert paging.page(incident, "ada", "down", last_try=False) is False
    assert pagerduty.alerts == {}
    (failed,) = facts(incident, FactKind.NOTIFY_FAILED)
    assert "RUNBOOK_PAGERDUTY__ROUTING_KEY" in failed["error"]
    assert PASSWORD not in str(failed)


def test_whom_an_escalation_called_hears_the_end_in_their_own_words(
    chat: Chat, incident: str
) -> None:
    called = {"step": "s", "to": "executive-team", "contact": "executive_team", "reason": "r"}
    journal.append(incident, FactKind.ESCALATED, called)
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    for _ in range(2):
        escalating.tell_the_end(incident, datetime.now(UTC), last_try=True)
    (said,) = [one["text"] for one in chat.said["messages"]]
    assert said.startswith(f"@executive-team {incident} is closed: restored\nStatus: closed")
