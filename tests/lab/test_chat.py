"""The loopback Slack answers as the real one does."""

from collections.abc import Iterator

import httpx
import pytest

from deployments.lab.chat import create_app
from tests.gateway.stack import served

_TOKEN = "xoxb-test"


@pytest.fixture
def slack() -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {_TOKEN}"}
    with (
        served(create_app(_TOKEN, per_minute=10)) as url,
        httpx.Client(base_url=url, headers=headers) as client,
    ):
        yield client


def _call(slack: httpx.Client, method: str, **body: str) -> httpx.Response:
    return slack.post(f"/api/{method}", json=body)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "invalid_name_required"),
        ("Incident", "invalid_name_specials"),
        ("two words", "invalid_name_specials"),
        ("a" * 81, "invalid_name_maxlength"),
        ("---", "invalid_name_punctuation"),
        ("incidents", "name_taken"),
    ],
)
def test_a_channel_name_that_slack_refuses_is_refused(
    slack: httpx.Client, name: str, error: str
) -> None:
    answer = _call(slack, "conversations.create", name=name)
    assert answer.status_code == 200
    assert answer.json() == {"ok": False, "error": error}


def test_a_message_reaches_its_channel_by_id_and_by_name(slack: httpx.Client) -> None:
    made = _call(slack, "conversations.create", name="incident-2026-03-02-0600").json()
    identity = made["channel"]["id"]
    first = _call(slack, "chat.postMessage", channel=identity, text="one").json()
    second = _call(slack, "chat.postMessage", channel="incident-2026-03-02-0600", text="two").json()
    assert float(second["ts"]) > float(first["ts"])
    seen = slack.get("/_messages").json()["messages"]
    assert [(message["channel"], message["text"]) for message in seen] == [
        (identity, "one"),
        (identity, "two"),
    ]
    assert _call(slack, "pins.add", channel=identity, timestamp=first["ts"]).json() == {"ok": True}
    again = _call(slack, "pins.add", channel=identity, timestamp=first["ts"]).json()
    assert again["error"] == "already_pinned"


@pytest.mark.parametrize(
    ("header", "error"), [("", "not_authed"), ("Bearer other", "invalid_auth")]
)
def test_without_the_bots_token_nothing_happens(
    slack: httpx.Client, header: str, error: str
) -> None:
    slack.headers["Authorization"] = header
    answer = _call(slack, "chat.postMessage", channel="incidents", text="x")
    assert answer.status_code == 200
    assert answer.json()["error"] == error
    assert slack.get("/_messages").json()["messages"] == []


@pytest.mark.parametrize(
    ("method", "body", "error"),
    [
        ("chat.postMessage", {"channel": "nowhere", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "incidents", "text": ""}, "no_text"),
        ("chat.postMessage", {"channel": "incidents", "text": "x" * 40_001}, "msg_too_long"),
        ("conversations.invite", {"channel": "incidents", "users": ""}, "no_user"),
        ("pins.add", {"channel": "incidents", "timestamp": "1"}, "message_not_found"),
        ("users.nonsense", {}, "unknown_method"),
    ],
)
def test_an_error_is_a_code_in_a_200(
    slack: httpx.Client, method: str, body: dict[str, str], error: str
) -> None:
    answer = _call(slack, method, **body)
    assert answer.status_code == 200
    assert answer.json() == {"ok": False, "error": error}


def test_beyond_the_rate_slack_says_when_to_come_again(slack: httpx.Client) -> None:
    answers = [
        _call(slack, "chat.postMessage", channel="incidents", text=str(number))
        for number in range(11)
    ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1].json()["error"] == "ratelimited"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_forms_are_understood_as_well_as_json(slack: httpx.Client) -> None:
    slack.headers.pop("Authorization")
    form = {"token": _TOKEN, "channel": "incidents", "text": "hello"}
    assert slack.post("/api/chat.postMessage", data=form).json()["ok"] is True


def test_a_message_is_updated_in_its_place_and_one_that_is_none_is_refused(
    slack: httpx.Client,
) -> None:
    posted = _call(slack, "chat.postMessage", channel="incidents", text="one").json()
    there = {"channel": posted["channel"], "ts": posted["ts"]}
    assert _call(slack, "chat.update", **there, text="two").json()["ok"] is True
    (seen,) = slack.get("/_messages").json()["messages"]
    assert (seen["text"], seen["edited"]) == ("two", True)
    assert _call(slack, "chat.update", **there, text="").json()["error"] == "no_text"
    elsewhere = there | {"ts": "1.000000"}
    refused = _call(slack, "chat.update", **elsewhere, text="x").json()
    assert refused["error"] == "message_not_found"


def test_history_knows_ids_alone_and_shows_no_replies_and_metadata_when_asked(
    slack: httpx.Client,
) -> None:
    posted = slack.post(
        "/api/chat.postMessage",
        json={"channel": "incidents", "text": "one", "metadata": {"event_type": "e"}},
    ).json()
    channel, ts = posted["channel"], posted["ts"]
    _call(slack, "chat.postMessage", channel=channel, text="reply", thread_ts=ts)
    named = _call(slack, "conversations.history", channel="incidents").json()
    assert named["error"] == "channel_not_found"
    plain = _call(slack, "conversations.history", channel=channel).json()["messages"]
    assert [(one["text"], "metadata" in one) for one in plain] == [("one", False)]
    asked = {"channel": channel, "include_all_metadata": True}
    (full,) = slack.post("/api/conversations.history", json=asked).json()["messages"]
    assert full["metadata"] == {"event_type": "e"}


def test_who_is_no_member_cannot_be_invited(slack: httpx.Client) -> None:
    invited = _call(slack, "conversations.invite", channel="incidents", users="the lead").json()
    assert invited["error"] == "user_not_found"
