"""Access logs: refusals by actor, patterns, and lines that are anything but a request."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.access_log import (
    GUESSES,
    MOST_ACTORS,
    Pattern,
    investigate,
    read_access,
)
from tasks.domain.log_lines import LogLine

AT = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)


def uvicorn(
    status: int, *, address: str = "203.0.113.7", path: str = "/api/v1/login", second: float = 0
) -> LogLine:
    text = f'INFO:     {address}:52411 - "POST {path} HTTP/1.1" {status} Unauthorized'
    return LogLine(text, AT + timedelta(seconds=second))


def as_json(status: int, account: str, second: float = 0) -> LogLine:
    value = {"client_ip": "198.51.100.9", "user": account, "path": "/login", "status": status}
    return LogLine(json.dumps(value), AT + timedelta(seconds=second))


@pytest.mark.parametrize(
    ("text", "actor", "account", "path", "status"),
    [
        (
            'INFO:  10.0.3.1:52411 - "GET /api/v1/audit/records?token=a HTTP/1.1" 403 Forbidden',
            *("10.0.3.1", "", "/api/v1/audit/records", 403),
        ),
        (
            '10.0.3.1 - alice [22/Nov/2026:03:12:00 +0000] "GET /x HTTP/1.1" 401 12 "-" "curl/8"',
            *("10.0.3.1", "alice", "/x", 401),
        ),
        ('2001:db8::1 - "GET / HTTP/2" 200 OK', "2001:db8::1", "", "/", 200),
        ('[2001:db8::1]:443 - "GET / HTTP/2" 200 OK', "2001:db8::1", "", "/", 200),
        (
            '{"remote_addr": "10.0.3.1", "user": "bob", "url": "/y?secret=1", "status": 401}',
            *("10.0.3.1", "bob", "/y", 401),
        ),
    ],
)
def test_requests_are_read_in_the_formats_that_servers_write(
    text: str, actor: str, account: str, path: str, status: int
) -> None:
    found = read_access(LogLine(text))
    assert found is not None
    assert (found.actor, found.account, found.path, found.status) == (actor, account, path, status)


@pytest.mark.parametrize(
    "text",
    [
        "served 401 requests in 403 ms",
        "order 403 shipped to room 401",
        '"GET /" 401',
        "{",
        "[401]",
        '{"status": true}',
        '{"status": 4010}',
        '{"message": "took 403 ms"}',
        "",
    ],
)
def test_a_number_that_happens_to_stand_in_a_line_is_no_refusal(text: str) -> None:
    assert read_access(LogLine(text)) is None


def test_each_actor_has_its_refusals_its_paths_and_when_it_was_first_and_last_seen() -> None:
    lines = [uvicorn(401, second=9), uvicorn(403, path="/admin", second=60), uvicorn(200, second=3)]
    (actor,) = investigate(lines).actors
    assert (actor.requests, actor.refused) == (3, 2)
    assert (actor.first, actor.last) == (AT + timedelta(seconds=3), AT + timedelta(seconds=60))
    assert actor.paths == {"/api/v1/login": 1, "/admin": 1}


def test_many_accounts_tried_from_one_address_are_stuffing_and_one_account_is_guessing() -> None:
    stuffing = investigate([as_json(401, f"user-{number}", number) for number in range(GUESSES)])
    guessing = investigate([as_json(401, "root", number) for number in range(GUESSES)])
    assert stuffing.suspects[0].patterns == (Pattern.STUFFING,)
    assert guessing.suspects[0].patterns == (Pattern.GUESSING,)


def test_fewer_refusals_or_the_same_over_a_day_are_people_who_mistype() -> None:
    few = [as_json(401, f"user-{number}", number) for number in range(GUESSES - 1)]
    slow = [as_json(401, f"user-{number}", number * 1800) for number in range(GUESSES * 4)]
    assert investigate(few).suspects == ()
    assert investigate(slow).suspects == ()


def test_an_actor_that_is_let_in_after_guessing_stands_first() -> None:
    lines = [uvicorn(401, address="192.0.2.1", second=each) for each in range(GUESSES * 3)]
    lines += [uvicorn(401, second=each) for each in range(GUESSES)]
    lines.append(uvicorn(200, second=GUESSES))
    suspects = investigate(lines).suspects
    assert [each.name for each in suspects] == ["203.0.113.7", "192.0.2.1"]
    assert suspects[0].patterns[0] is Pattern.SUCCEEDED


def test_what_was_let_in_before_the_guessing_is_no_success_of_it() -> None:
    lines = [uvicorn(200), *(uvicorn(401, second=each) for each in range(GUESSES))]
    assert investigate(lines).suspects[0].patterns == (Pattern.GUESSING,)


def test_the_systems_own_marker_is_enough() -> None:
    text = (
        '{"event": "suspicious_activity", "user": "annotator-17", "time": "2026-11-22T03:12:00Z"}'
    )
    (actor,) = investigate([LogLine(text)]).suspects
    assert (actor.name, actor.patterns, actor.first) == ("annotator-17", (Pattern.MARKED,), AT)


def test_the_journal_gets_no_account_names_and_no_query() -> None:
    lines = [as_json(401, f"alice-{number}@example.org") for number in range(GUESSES)]
    lines.append(uvicorn(403, path="/reset?token=hunter2"))
    said = json.dumps([actor.as_json() for actor in investigate(lines).actors])
    assert "alice" not in said
    assert "hunter2" not in said


def test_a_million_addresses_do_not_fill_the_memory_and_are_counted() -> None:
    lines = (
        uvicorn(401, address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        for n in range(MOST_ACTORS + 50)
    )
    found = investigate(lines)
    assert (len(found.actors), found.others, found.requests) == (MOST_ACTORS, 50, MOST_ACTORS + 50)


@given(some.text(max_size=400))
def test_any_text_is_read_without_an_error_and_gives_printable_names(text: str) -> None:
    for line in (text, "{" + text, f'{text} - "GET {text} HTTP/1.1" 401'):
        found = read_access(LogLine(line))
        if found is not None:
            assert found.actor.isprintable()
            assert found.account.isprintable()


@pytest.mark.parametrize("filler", ["1.", ":", " - ", '1 - "GET ', "[", '"', "a" * 50])
def test_a_hostile_line_takes_no_time(filler: str) -> None:
    line = LogLine(filler * 4000)
    began = time.process_time()
    for _ in range(20):
        read_access(line)
    assert time.process_time() - began < 1.0


def test_what_was_let_in_after_refusals_is_found_in_whatever_order_lines_come() -> None:
    lines = [uvicorn(401, second=at) for at in range(GUESSES)]
    lines.append(uvicorn(200, path="/api/v1/audit/records", second=GUESSES))
    for order in (lines, lines[::-1], lines[5:] + lines[:5]):
        (actor,) = investigate(order).suspects
        assert actor.patterns[0] is Pattern.SUCCEEDED
        assert actor.let_in_after == 1


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/static/a.css"])
def test_whoever_is_answered_where_everybody_is_was_let_in_to_nothing(path: str) -> None:
    lines = [uvicorn(401, second=at) for at in range(GUESSES)]
    (actor,) = investigate([*lines, uvicorn(200, path=path, second=GUESSES)]).suspects
    assert Pattern.SUCCEEDED not in actor.patterns


def test_an_answer_long_after_the_refusals_is_not_taken_for_their_success() -> None:
    lines = [uvicorn(401, second=at) for at in range(GUESSES)]
    (actor,) = investigate([*lines, uvicorn(200, path="/api/v1/x", second=3600)]).suspects
    assert Pattern.SUCCEEDED not in actor.patterns


def test_words_in_a_request_mark_nobody() -> None:
    asked = uvicorn(200, path="/api/v1/audit/records?event_type=suspicious_activity")
    value = {"client_ip": "198.51.100.9", "path": "/?q=suspicious_activity", "status": 200}
    found = investigate([asked, LogLine(json.dumps(value), AT)])
    assert found.suspects == ()
    assert [actor.marked for actor in found.actors] == [0, 0]
