"""What an investigation says: nobody is named, only who was let in is suspected, nothing breaks."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.access_log import GUESSES, investigate
from tasks.domain.breach_findings import (
    MOST_BINS,
    MOST_SUSPECTS,
    Suspects,
    address_in,
    masked,
    public,
    read_attempts,
    read_users,
    refusals_over_time,
    suspects_in,
    suspects_listed,
    within,
)
from tasks.domain.log_lines import LogLine
from tasks.domain.refusal_plot import refusal_plot

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
NOBODY = ()
SCRIPT = "<script>alert(1)</script>"


def request(address: str, status: int, second: float = 0, path: str = "/login") -> LogLine:
    text = f'{address}:5000 - "POST {path} HTTP/1.1" {status}'
    return LogLine(text, NOW + timedelta(seconds=second))


def stuffing(address: str, *, let_in: bool) -> list[LogLine]:
    lines = [request(address, 401, second) for second in range(GUESSES)]
    return [*lines, request(address, 200, GUESSES)] if let_in else lines


def test_whoever_was_only_refused_is_no_suspect() -> None:
    found = investigate(stuffing("203.0.113.9", let_in=False))
    assert found.suspects
    assert suspects_in(found, NOBODY) == Suspects()


def test_whoever_was_let_in_after_refusals_is_suspected_by_address() -> None:
    found = investigate(stuffing("203.0.113.9", let_in=True))
    assert suspects_in(found, NOBODY) == Suspects(("203.0.113.9",))


def test_whom_the_system_has_marked_is_suspected_and_an_account_is_no_address() -> None:
    marked = {"event": "suspicious_activity", "user": "mallory"}
    lines = [LogLine(json.dumps({**marked, "client": "203.0.113.7"})), LogLine(json.dumps(marked))]
    assert suspects_in(investigate(lines), NOBODY).addresses == ("203.0.113.7",)


def test_spared_addresses_make_nobody_a_suspect() -> None:
    spared = (ip_network("203.0.113.0/24"),)
    assert suspects_in(investigate(stuffing("203.0.113.9", let_in=True)), spared) == Suspects()
    listed = read_users({"users": [{"user": "eve", "addresses": ["203.0.113.1", "10.0.0.1"]}]})
    assert suspects_listed(listed, spared) == Suspects(("10.0.0.1",), frozenset({"eve"}))


@pytest.mark.parametrize("name", ["mallory@example.org", f"{SCRIPT}", "m\u202eyrollam"])
def test_no_account_stands_in_what_the_journal_gets(name: str) -> None:
    path = f"/users/{name.replace(' ', '')}/token/3fa9"
    lines = [
        LogLine(json.dumps({"user": name, "status": 401, "path": path}), NOW) for _ in range(20)
    ]
    lines += [LogLine(json.dumps({"user": name, "event": "suspicious_activity"}), NOW)]
    said = json.dumps(public(investigate(lines)), ensure_ascii=False)
    for part in ("mallory", "script", "\u202e", "3fa9", "example.org"):
        assert part not in said
    assert "account 1" in said


def test_no_listed_user_stands_in_what_the_journal_gets() -> None:
    answer = {
        "users": [
            {
                "user": "mallory",
                "denied": 7,
                "first": "2026-03-14T02:00:00+00:00",
                "last": "2026-03-14T02:30:00+00:00",
                "addresses": ["10.0.0.9", "not one", None],
            }
        ]
    }
    found = read_users(answer)
    assert found.names == {"mallory"}
    assert "mallory" not in json.dumps(found.as_json())
    assert "mallory" not in repr(found)
    assert "mallory" not in repr(suspects_listed(found, NOBODY))
    assert (found.count, found.denied, found.addresses) == (1, 7, ("10.0.0.9",))


def test_attempts_are_counted_whether_their_event_is_an_object_or_text() -> None:
    denied = {"outcome": "denied", "user": "eve", "address": "10.0.0.9"}
    records = [
        {"timestamp": "2026-03-14T02:00:00+00:00", "event_data": denied},
        {"timestamp": "2026-03-14T02:10:00+00:00", "event_data": json.dumps(denied)},
        {"timestamp": "2026-03-14T02:20:00+00:00", "event_data": {"outcome": "granted"}},
    ]
    found = read_attempts({"records": records})
    assert (found.count, found.denied, found.addresses) == (3, 2, ("10.0.0.9",))
    assert found.last == datetime(2026, 3, 14, 2, 10, tzinfo=UTC)
    assert "eve" not in json.dumps(found.as_json())


JUNK = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JUNK)
def test_whatever_the_api_answers_is_read_or_left_out(junk: object) -> None:
    for key in ("users", "records"):
        for found in (read_users({key: junk}), read_attempts({key: [junk, {"event_data": junk}]})):
            json.dumps(found.as_json())
            assert found.count >= 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("0.0.0.0", ""),  # noqa: S104  an address that nobody has
        ("::", ""),
        ("fe80::1%eth0", ""),
        ("10.0.0.1\n", ""),
        ("10.0.0.0/8", ""),
        ("1" * 5000, ""),
        (None, ""),
        (167772161, ""),
    ],
)
def test_an_address_is_one_in_its_usual_form_or_nothing(text: object, address: str) -> None:
    assert address_in(text) == address


def test_paths_keep_plain_words_alone() -> None:
    assert masked("/api/v1/users/42/activity") == "/api/v1/users/<*>/activity"
    assert masked("/api/v1/users/jane-doe/exports") == "/api/v1/users/<*>/exports"
    assert masked("/reset/eyJhbGciOi/mallory@example.org") == "/reset/<*>/<*>"


def test_lines_before_the_window_are_left_out_and_those_without_a_time_stay() -> None:
    lines = [LogLine("old", NOW - timedelta(hours=2)), LogLine("new", NOW), LogLine("unknown")]
    assert [each.text for each in within(lines, NOW)] == ["new", "unknown"]


@given(some.lists(some.integers(0, 100_000), min_size=1, max_size=200))
def test_every_refusal_with_a_time_stands_in_one_bar(seconds: list[int]) -> None:
    lines = [request("10.0.0.1", 403, second) for second in seconds]
    bins = refusals_over_time([*lines, request("10.0.0.1", 200)])
    assert sum(count for _, count in bins) == len(seconds)
    assert len(bins) == MOST_BINS


def test_the_plot_says_when_and_how_many_and_without_refusals_there_is_none() -> None:
    plot = refusal_plot(refusals_over_time(stuffing("10.0.0.1", let_in=False)))
    assert "10 requests were refused" in plot
    assert plot.startswith("<svg")
    assert "<script" not in plot
    assert refusal_plot(refusals_over_time([request("10.0.0.1", 200)])) == ""


def test_no_more_suspects_are_acted_on_than_people_can_look_at() -> None:
    many = Suspects(tuple(f"10.0.{i // 250}.{i % 250}" for i in range(200)))
    assert len(many.joined(Suspects(("10.9.9.9",))).addresses) == MOST_SUSPECTS
