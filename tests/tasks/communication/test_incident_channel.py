"""The incident's channel: who is invited, what is pinned and kept current, what is a thread's."""

import time
from typing import Any

import pytest

from tasks.clients import slack
from tasks.clients.errors import Throttled, Transient
from tasks.domain.contacts import Contact
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import incident_channel, incidents, journal, reports, responder, telling
from tests.clients.loopback import answering, http
from tests.tasks.communication.conftest import Chat, setting

pytestmark = pytest.mark.components

HOSTILE = "<!channel> down & <https://evil.example|our runbook>"


@pytest.fixture
def incident(chat: Chat) -> str:
    assert chat.url
    name = incidents.declare(HOSTILE, "api", "triage", "anna", starts_run=False)
    assert telling.make_channel(name, last_try=True)
    return name


def check(incident: str, step: str, health: str = "Failed") -> None:
    data = {"step": step, "component": "api", "health": health, "summary": HOSTILE}
    journal.append(incident, FactKind.CHECK_OBSERVED, data)


def pinned(chat: Chat, incident: str) -> list[dict[str, Any]]:
    pins = {
        pin["timestamp"]
        for pin in chat.said["pins"]
        if pin["channel"] == telling.channel_of(incident)
    }
    return [one for one in chat.said["messages"] if one["ts"] in pins]


def members(chat: Chat, incident: str) -> list[str]:
    channel = telling.channel_of(incident)
    (found,) = [one for one in chat.said["channels"] if one["id"] == channel]
    return list(found["members"])


def test_the_summary_is_pinned_once_and_says_how_it_stands_now(chat: Chat, incident: str) -> None:
    assert incident_channel.keep_summary(incident, last_try=True)
    check(incident, "triage.api-health")
    assert incident_channel.keep_summary(incident, last_try=True)
    journal.append(incident, FactKind.CLOSED, {"outcome": "restored"}, key="closed")
    assert incident_channel.keep_summary(incident, last_try=True)
    (message,) = pinned(chat, incident)
    assert message["edited"]
    assert f"{incident} closed" in message["text"]
    assert "failed: api" in message["text"]
    assert len(chat.texts(telling.channel_of(incident))) == 1


def test_a_summary_that_a_killed_attempt_has_posted_is_taken_up(chat: Chat, incident: str) -> None:
    channel = telling.channel_of(incident)
    assert channel is not None
    slack.post(settings().chat, channel, "half done", key=f"{incident} summary")
    assert incident_channel.keep_summary(incident, last_try=True)
    (message,) = pinned(chat, incident)
    assert message["text"] != "half done"
    assert len(chat.texts(channel)) == 1


def test_a_message_that_a_killed_attempt_has_posted_is_not_posted_again(
    chat: Chat, incident: str
) -> None:
    telling.tell(incident, "on-call", "opened", "look", last_try=True)
    with responder.connection() as connection:  # killed before the fact was on disk
        connection.execute("DELETE FROM journal WHERE key = 'told:opened:on-call'")
    assert not telling.was_told(journal.read(incident), "on-call", "opened")
    assert telling.tell(incident, "on-call", "opened", "look", last_try=True)
    assert telling.was_told(journal.read(incident), "on-call", "opened")
    assert chat.texts(telling.channel_of(incident)) == ["@on-call look"]


def test_hostile_text_pins_no_link_and_mentions_nobody(chat: Chat, incident: str) -> None:
    check(incident, "triage.api-health")
    incident_channel.keep_summary(incident, last_try=True)
    lines = reports.checks(journal.read(incident))
    incident_channel.add_detail(incident, "checks", lines, last_try=True)
    said = [*chat.texts(telling.channel_of(incident)), *chat.thread(telling.channel_of(incident))]
    assert len(said) == 2
    assert not any("<" in text or ">" in text for text in said)


def test_detail_and_alerts_that_join_go_into_the_thread_and_once(chat: Chat, incident: str) -> None:
    check(incident, "triage.api-health")
    incident_channel.keep_summary(incident, last_try=True)
    for _ in range(2):
        lines = reports.checks(journal.read(incident))
        incident_channel.add_detail(incident, "checks", lines, last_try=True)
        telling.tell(incident, "on-call", "2 alerts", "two", last_try=True, aside=True)
    channel = telling.channel_of(incident)
    assert len(chat.texts(channel)) == 1
    assert [text.split()[0] for text in chat.thread(channel)] == ["Failed:", "@on-call"]


def test_members_are_invited_by_severity_once_and_nobody_from_outside(
    chat: Chat, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "CONTACTS__ON_CALL", "U000000CALL")
    setting(monkeypatch, "CONTACTS__ENGINEERING_LEAD", "U000000LEAD")
    setting(monkeypatch, "CONTACTS__INCIDENT_COMMANDER", "a name without an id")
    setting(monkeypatch, "CONTACTS__EXTERNAL_SUPPORT", "U00000OUTER")
    roles = (*incident_channel.roles_in(journal.read(incident)), Contact.EXTERNAL_SUPPORT)
    for _ in range(2):
        incident_channel.invite(incident, roles, last_try=True)
    assert members(chat, incident) == ["U000000CALL", "U000000LEAD"]


def test_a_small_incident_calls_on_call_alone(chat: Chat) -> None:
    small = incidents.declare("t", "cache", "cache", "anna", starts_run=False)
    assert chat.url
    journal.append(small, FactKind.SEVERITY_ASSIGNED, {"severity": "P3"})
    assert incident_channel.roles_in(journal.read(small)) == (Contact.ON_CALL,)


def test_chat_that_asks_to_wait_is_waited_for_and_tried_again(
    incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = http(429, b'{"ok": false, "error": "ratelimited"}', "retry-after: 1")
    with answering(lambda connection: connection.sendall(answer)) as port:
        setting(monkeypatch, "CHAT__URL", f"http://127.0.0.1:{port}/api")
        began = time.monotonic()
        with pytest.raises(Throttled):
            telling.tell(incident, "on-call", "opened", "look", last_try=False)
        assert time.monotonic() - began >= 1.0
        began = time.monotonic()
        assert telling.tell(incident, "on-call", "opened", "look", last_try=True) is False
        assert time.monotonic() - began < 1.0


def test_a_chat_that_is_down_costs_a_fact_and_nothing_else(
    incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "CHAT__URL", "http://127.0.0.1:1/api")
    setting(monkeypatch, "CONTACTS__ON_CALL", "U000000CALL")
    with pytest.raises(Transient):
        incident_channel.keep_summary(incident, last_try=False)
    assert incident_channel.keep_summary(incident, last_try=True) is False
    incident_channel.invite(incident, (Contact.ON_CALL,), last_try=True)
    failed = [f.data for f in journal.read(incident).facts if f.kind is FactKind.NOTIFY_FAILED]
    assert [one["moment"] for one in failed] == ["summary", "invited"]


def test_a_bot_that_may_not_read_the_channel_still_tells(
    chat: Chat, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`conversations.history` needs a permission of its own."""
    refused = b'{"ok": false, "error": "missing_scope"}'
    taken = b'{"ok": true, "ts": "1.000001"}'
    asked: list[bytes] = []

    def answer(connection: Any) -> None:
        asked.append(b"")
        connection.sendall(http(200, refused if len(asked) == 1 else taken))

    assert chat.url
    with answering(answer) as port:
        setting(monkeypatch, "CHAT__URL", f"http://127.0.0.1:{port}/api")
        assert telling.tell(incident, "on-call", "opened", "look", last_try=True)
    assert len(asked) == 2
