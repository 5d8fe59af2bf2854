"""Telling people: once per moment, harmless, and never in the way of the response."""

import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deployments.lab.stack import Lab
from tasks.clients.errors import Transient
from tasks.domain.facts import Fact, FactKind
from tasks.settings import settings
from tasks.work import incidents, journal, telling
from tests.clients.loopback import answering

pytestmark = pytest.mark.components

Configure = Callable[..., None]


@pytest.fixture
def incident(patient: Lab) -> str:
    assert settings().lab, patient
    return incidents.declare("t", "api", "api_service", by="anna")


@pytest.fixture
def chat(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Point the settings at another chat than the lab's."""
    assert patient.chat.url

    def configure(**changed: object) -> None:
        for name, value in changed.items():
            monkeypatch.setenv(f"RUNBOOK_CHAT__{name.upper()}", str(value))
        settings.cache_clear()

    return configure


@pytest.fixture(autouse=True)
def settings_read_again() -> Any:
    yield
    settings.cache_clear()


def said(lab: Lab) -> dict[str, Any]:
    """Everything in the lab's Slack, of all tests: channels by id, messages."""
    found = httpx.get(f"{lab.chat.url}/_messages").raise_for_status().json()
    names = {one["id"]: one["name"] for one in found["channels"]}
    return {"names": names, "messages": found["messages"]}


def messages(lab: Lab, channel: str | None) -> list[str]:
    return [one["text"] for one in said(lab)["messages"] if one["channel"] == channel]


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def stem_of(incident: str) -> str:
    opened_at = journal.read(incident).opened_at
    assert opened_at is not None
    return f"incident-{opened_at:%Y-%m-%d-%H%M}"


def tell(incident: str, text: str = "look", *, last_try: bool = False) -> bool:
    return telling.tell(incident, "on-call", "opened", text, last_try=last_try)


def declared_beside(incident: str) -> str:
    """Another incident of the same minute."""
    other = incidents.declare("u", "privacy", "privacy", by="anna")
    while stem_of(other) != stem_of(incident):  # once in an hour the minute ends in between
        incident, other = other, incidents.declare("u", "database", "database", by="anna")
    return other


def test_the_channel_bears_the_runbooks_name_and_is_made_once(patient: Lab, incident: str) -> None:
    made = telling.make_channel(incident, last_try=False)
    name = said(patient)["names"][made]
    assert name in {stem_of(incident), f"{stem_of(incident)}-{incident[-4:]}"}
    before = len(said(patient)["names"])
    assert telling.make_channel(incident, last_try=False) == made
    assert len(said(patient)["names"]) == before
    (fact,) = facts(incident, FactKind.NOTIFIED)
    assert (fact.data["channel"], fact.data["receipt"]) == (f"#{name}", made)
    assert telling.channel_of(incident) == made


def test_a_second_incident_of_the_same_minute_gets_a_channel_of_its_own(
    patient: Lab, incident: str
) -> None:
    other = declared_beside(incident)
    telling.make_channel(incident, last_try=False)
    channel = telling.make_channel(other, last_try=False)
    assert channel is not None
    assert said(patient)["names"][channel] == f"{stem_of(other)}-{other[-4:]}"
    tell(other, "to the second")
    assert messages(patient, channel) == ["@on-call to the second"]


def test_a_channel_that_a_killed_attempt_has_made_is_used(patient: Lab, incident: str) -> None:
    names = (stem_of(incident), f"{stem_of(incident)}-{incident[-4:]}")
    for name in names:
        httpx.post(
            f"{patient.chat.url}/api/conversations.create",
            json={"name": name},
            headers={"authorization": f"Bearer {patient.chat.token}"},
        )
    channel = telling.make_channel(incident, last_try=False)
    assert tell(incident, "once more")
    (there,) = [key for key, name in said(patient)["names"].items() if name == names[1]]
    assert channel == f"#{names[1]}"
    assert messages(patient, there) == ["@on-call once more"]


def test_the_same_moment_is_told_once_and_another_one_again(patient: Lab, incident: str) -> None:
    channel = telling.make_channel(incident, last_try=False)
    assert tell(incident, "first")
    assert tell(incident, "second")
    assert telling.tell(incident, "dpo", "opened", "to the DPO", last_try=False)
    assert telling.tell(incident, "on-call", "closed", "the end", last_try=False)
    assert messages(patient, channel) == [
        "@on-call first",
        "@dpo to the DPO",
        "@on-call the end",
    ]
    told = [fact.data for fact in facts(incident, FactKind.NOTIFIED)[1:]]
    assert [(one["moment"], one["audience"]) for one in told] == [
        ("opened", "on-call"),
        ("opened", "dpo"),
        ("closed", "on-call"),
    ]
    receipts = {one["ts"] for one in said(patient)["messages"]}
    assert {one["receipt"] for one in told} <= receipts


def test_without_a_channel_of_its_own_an_incident_is_told_in_the_general_one(
    patient: Lab, incident: str
) -> None:
    text = f"about {incident}"
    assert tell(incident, text)
    (general,) = [key for key, name in said(patient)["names"].items() if name == "incidents"]
    assert messages(patient, general)[-1] == f"@on-call {text}"


def test_hostile_text_and_contacts_mention_nobody_and_hide_nothing(
    patient: Lab, incident: str
) -> None:
    channel = telling.make_channel(incident, last_try=False)
    hostile = "<!channel> <@U012AB3CD> <https://evil.example|our runbook> & \x1b[2J\x00"
    assert telling.tell(incident, "<!here>", "opened", hostile, last_try=False)
    (text,) = messages(patient, channel)
    assert "<" not in text
    assert ">" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert text.startswith("@&lt;!here&gt; &lt;!channel&gt; &lt;@U012AB3CD&gt;")
    assert " &amp; " in text


def test_a_contact_that_is_a_member_or_a_group_is_mentioned(patient: Lab, incident: str) -> None:
    channel = telling.make_channel(incident, last_try=False)
    for contact in ("U012AB3CD", "S012AB3CD", "U012<!here>"):
        telling.tell(incident, contact, "opened", "look", last_try=False)
    assert messages(patient, channel) == [
        "<@U012AB3CD> look",
        "<!subteam^S012AB3CD> look",
        "@U012&lt;!here&gt; look",
    ]


def test_a_text_of_megabytes_is_cut_and_told(patient: Lab, incident: str) -> None:
    channel = telling.make_channel(incident, last_try=False)
    assert tell(incident, "<" * 2_000_000)
    (text,) = messages(patient, channel)
    assert len(text) <= 4000


def test_a_chat_that_is_down_is_tried_again_until_the_last_try_says_so_in_the_journal(
    incident: str, chat: Configure
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    chat(url=f"http://127.0.0.1:{port}/api")
    for _ in range(2):
        with pytest.raises(Transient):
            tell(incident)
        with pytest.raises(Transient):
            telling.make_channel(incident, last_try=False)
    assert facts(incident, FactKind.NOTIFY_FAILED) == []
    assert tell(incident, last_try=True) is False
    assert telling.make_channel(incident, last_try=True) is None
    failed = [fact.data for fact in facts(incident, FactKind.NOTIFY_FAILED)]
    assert [(one["moment"], one["audience"]) for one in failed] == [
        ("opened", "on-call"),
        ("channel", "responders"),
    ]
    assert all("to answer" in one["error"] for one in failed)
    assert facts(incident, FactKind.NOTIFIED) == []


def test_who_could_not_be_told_is_told_when_chat_is_back(patient: Lab, incident: str) -> None:
    patient.chat.stop()
    assert tell(incident, last_try=True) is False
    patient.chat.start()
    assert tell(incident, "at last") is True
    assert [one["text"] for one in said(patient)["messages"]] == ["@on-call at last"]


def test_a_chat_that_hangs_takes_no_longer_than_its_time_out(
    incident: str, chat: Configure
) -> None:
    with answering(lambda _: time.sleep(4)) as port:
        chat(url=f"http://127.0.0.1:{port}/api", timeout_seconds=0.5)
        began = time.monotonic()
        assert tell(incident, last_try=True) is False
        assert time.monotonic() - began < 0.5 + 1.0


@pytest.mark.parametrize("token", ["xoxb-not-its-token", "no header carries ä"])
def test_a_wrong_token_is_a_fact_at_once_and_not_tried_again(
    incident: str, chat: Configure, token: str
) -> None:
    chat(token=token)
    assert tell(incident, last_try=False) is False
    assert telling.make_channel(incident, last_try=False) is None
    failed = [fact.data["error"] for fact in facts(incident, FactKind.NOTIFY_FAILED)]
    assert len(failed) == 2
    assert all("token" in error for error in failed)
    assert not any(token in error for error in failed)


def test_without_a_token_nothing_is_sent_anywhere(incident: str, chat: Configure) -> None:
    asked: list[socket.socket] = []
    with answering(asked.append) as port:
        chat(url=f"http://127.0.0.1:{port}/api", token="")
        assert tell(incident) is False
        assert telling.make_channel(incident, last_try=False) is None
    assert asked == []
    assert {fact.data["error"] for fact in facts(incident, FactKind.NOTIFY_FAILED)} == {
        "no chat is configured"
    }


def test_a_failure_is_one_fact_however_often_it_is_tried(incident: str, chat: Configure) -> None:
    chat(token="xoxb-wrong")
    for _ in range(3):
        tell(incident)
    assert len(facts(incident, FactKind.NOTIFY_FAILED)) == 1


def test_facts_of_an_older_version_do_not_keep_anybody_from_being_told(
    incident: str,
) -> None:
    journal.append(incident, FactKind.NOTIFIED, {"channel": "#old"})
    assert telling.make_channel(incident, last_try=False) is not None
    assert tell(incident)
