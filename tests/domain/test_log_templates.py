"""A log on one screen: what matters first, in bounded memory, without secrets."""

import json
import random
import string
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.log_clustering import PER_LEVEL
from tasks.domain.log_lines import Level, LogLine
from tasks.domain.log_templates import (
    EXAMPLE_LIMIT,
    SCREEN,
    TEMPLATE_LIMIT,
    Novelty,
    digest,
)
from tasks.domain.redaction import Redactor
from tasks.domain.untrusted import visible

ONSET = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = "hunter2-canary"


def at(minutes: float, text: str, source: str = "api-1/api") -> LogLine:
    return LogLine(text, ONSET + minutes * MINUTE, source)


def level_of(text: str) -> Level:
    return digest([LogLine(text)]).templates[0].level


def test_lines_that_differ_in_values_are_one_template_with_its_count_and_times() -> None:
    found = digest(
        [
            at(place, f"ERROR query {place} took {place * 7}.5 ms on 10.0.0.{place}")
            for place in (2, 0, 1)
        ]
    )
    (only,) = found.templates
    assert only.template == "ERROR query <*> took <*> ms on <*>"
    assert (only.count, only.level, only.sources) == (3, Level.ERROR, ("api-1/api",))
    assert (only.first, only.last) == (ONSET, ONSET + 2 * MINUTE)
    assert only.example == "ERROR query 2 took 14.5 ms on 10.0.0.2"


def test_errors_that_began_around_the_onset_stand_above_those_of_all_day() -> None:
    noise = [at(minutes, "ERROR no licence found for the plugin") for minutes in range(-300, 10)]
    cause = [at(0.5, "ERROR connection to 10.0.0.5:5432 refused")]
    chatter = [at(minutes, "INFO heartbeat") for minutes in range(-300, 10)]
    found = digest([*noise, *chatter, *cause], onset=ONSET)
    assert [each.template.split()[1] for each in found.templates] == [
        "connection",
        "no",
        "heartbeat",
    ]
    assert [each.novelty for each in found.templates] == [
        Novelty.NEW,
        Novelty.STEADY,
        Novelty.STEADY,
    ]
    assert [each.count for each in found.trouble] == [1]


def test_an_error_that_is_much_more_frequent_since_the_onset_is_rising() -> None:
    rare = [at(-20, "ERROR pool exhausted"), at(-10, "ERROR pool exhausted")]
    often = [at(second / 60, "ERROR pool exhausted") for second in range(60)]
    (found,) = digest([*rare, *often], onset=ONSET).templates
    assert found.novelty is Novelty.RISING


def test_a_log_that_does_not_reach_back_before_the_onset_calls_nothing_new() -> None:
    found = digest([at(1, "ERROR a b c"), at(2, "ERROR d e f")], onset=ONSET)
    assert {each.novelty for each in found.templates} == {Novelty.STEADY}


def test_what_began_shortly_before_the_alert_fired_is_new_too() -> None:
    lines = [at(-60, "INFO x"), at(-1.5, "ERROR the first of it")]
    assert digest(lines, onset=ONSET).templates[0].novelty is Novelty.NEW


def test_order_of_the_lines_does_not_matter() -> None:
    lines = [at(-minutes, "ERROR a b") for minutes in range(5)] + [at(-99, "INFO c")]
    assert digest(lines, onset=ONSET) == digest(reversed(lines), onset=ONSET)


def test_few_variants_stay_apart_and_many_become_one() -> None:
    few = digest(
        [LogLine("ERROR database connection lost"), LogLine("ERROR database connection restored")]
    )
    assert few.kinds == 2
    names = [f"user {name} signed in at the desk" for name in string.ascii_lowercase]
    many = digest([LogLine(name) for name in names])
    assert [(each.template, each.count) for each in many.templates] == [
        ("user <*> signed in at the desk", 26)
    ]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2026-03-14 03:00:00,123 ERROR audit.api: it failed", Level.ERROR),
        ("2026-03-14 03:00:00.1 UTC [77] FATAL:  sorry, too many clients already", Level.FATAL),
        ('INFO:     10.0.0.1:51 - "GET /health HTTP/1.1" 200 OK', Level.INFO),
        ('INFO:     10.0.0.1:51 - "GET /health HTTP/1.1" 503 Service Unavailable', Level.ERROR),
        ('INFO:     10.0.0.1:51 - "GET /x HTTP/1.1" 401 Unauthorized', Level.WARNING),
        ('level=warn msg="slow"', Level.WARNING),
        ("E0314 03:00:00.000000       1 reflector.go:138] failed to list", Level.ERROR),
        ("[error] 17#17: upstream timed out", Level.ERROR),
        ("psycopg.OperationalError: connection refused", Level.ERROR),
        ("INFO 0 ERROR lines were found", Level.INFO),
        ("the word error in a sentence", Level.UNKNOWN),
        ("ERRORS_TOTAL 5", Level.UNKNOWN),
        ('{"level": "error", "msg": "x"}', Level.ERROR),
        ('{"level": 50, "msg": "x"}', Level.ERROR),
        ('{"level": 60, "msg": "x"}', Level.FATAL),
        ('{"level": ["error"], "msg": "x"}', Level.UNKNOWN),
        ('{"severity": "INFO", "message": "GET /x", "status": 500}', Level.ERROR),
        ('{"log": "WARNING disk", "stream": "stderr"}', Level.WARNING),
    ],
)
def test_the_level_is_what_the_line_or_its_status_says(text: str, level: Level) -> None:
    assert level_of(text) is level


def test_a_status_is_not_masked_so_that_failures_are_not_counted_with_successes() -> None:
    lines = [
        LogLine(f'10.0.0.{place} - "GET /x HTTP/1.1" {status} {place}')
        for place, status in enumerate([200, 200, 500, 200])
    ]
    found = digest(lines)
    assert sorted(each.count for each in found.templates) == [1, 3]
    assert (found.templates[0].level, found.templates[0].count) == (Level.ERROR, 1)


def test_of_a_stack_trace_its_last_line_counts_and_the_frames_only_as_lines() -> None:
    trace = [
        "Traceback (most recent call last):",
        '  File "/app/api.py", line 3, in get',
        "    connection = connect()",
        "psycopg.OperationalError: connection to 10.0.0.5 refused",
    ]
    found = digest([LogLine(text) for text in trace])
    assert (found.lines, found.continued, found.kinds) == (4, 3, 1)
    assert found.templates[0].template == "psycopg.OperationalError: connection to <*> refused"


def test_traces_of_two_containers_that_are_interleaved_do_not_mix() -> None:
    lines = [
        at(0, "Traceback (most recent call last):", "a"),
        at(0, "    an indented line of b", "b"),
        at(0, '  File "x.py", line 1', "a"),
        at(0, "ValueError: no", "a"),
    ]
    found = digest(lines)
    assert (found.continued, found.kinds) == (2, 2)


def test_a_json_lines_exception_is_told_by_its_last_line() -> None:
    text = json.dumps(
        {"level": "error", "msg": "failed", "exc_info": "Traceback\n  x\nKeyError: 'a'"}
    )
    assert digest([LogLine(text)]).templates[0].template == "failed: KeyError: 'a'"


def test_the_texts_own_time_counts_only_where_the_platform_gives_none() -> None:
    text = "2001-01-01T00:00:00Z ERROR old"
    assert digest([LogLine(text, ONSET)]).templates[0].first == ONSET
    assert digest([LogLine(text)]).templates[0].first == datetime(2001, 1, 1, tzinfo=UTC)
    assert digest([LogLine("9999-99-99 99:99:99 ERROR x")]).templates[0].first is None
    edge = '{"msg": "x", "time": "0001-01-01T00:00:00+14:00"}'
    assert digest([LogLine(edge)]).templates[0].first is None


@pytest.mark.parametrize(
    "text",
    [
        f"ERROR login failed password={CANARY} for bob",
        f'{{"level": "error", "msg": "x", "err": "token: {CANARY}"}}',
        f"ERROR Authorization: Bearer 7{CANARY}.abc.def",
        f"ERROR cannot reach postgresql://audit:{CANARY}@db/rlhf",
        f"ERROR {'x' * 470} postgresql://audit:{CANARY}@db/rlhf",
        f"ERROR the known one {CANARY} stands alone",
        f"ERROR mail to {CANARY}@example.org bounced",
        f"\x1b[31mERROR\x1b[0m password=\x1b[1m{CANARY}\x1b[0m",
    ],
)
def test_no_secret_is_in_what_is_shown(text: str) -> None:
    found = digest([at(-60, text), at(1, text)], onset=ONSET, redact=Redactor([f"one {CANARY}"]))
    shown = json.dumps(found.as_json())
    assert CANARY not in shown
    assert found.templates[0].count == 2


def test_the_inside_of_a_private_key_is_not_shown() -> None:
    inside = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" * 1
    lines = ["-----BEGIN PRIVATE KEY-----", inside, "-----END PRIVATE KEY-----"]
    shown = json.dumps(digest([LogLine(text) for text in lines]).as_json())
    assert "MIIEvQ" not in shown


def hostile() -> Iterator[LogLine]:
    dice = random.Random(7)
    yield LogLine("")
    yield LogLine("\n \t")
    yield LogLine("A" * 1_000_000)
    yield LogLine("{" * 1_000_000)
    yield LogLine('{"msg": ' * 5000)
    yield LogLine('{"msg": NaN, "level": 1e999}')
    yield LogLine('{"msg": "' + "9" * 10_000 + '", "level": ' + "9" * 5000 + "}")
    yield LogLine('{"level": "error"}')
    yield LogLine("\x00\x07\x1b]0;title\x07\x1b[2J\x1b")
    yield LogLine(b"\xff\xfe broken \xc3".decode(errors="surrogateescape"))
    yield LogLine("\u202egnp.exe ERROR\u2028second line\rthird")
    yield LogLine("é" * 5000 + "\U0001f600" * 5000)
    for _ in range(200):
        yield LogLine("".join(chr(dice.randrange(1, 0x11000)) for _ in range(80)))


def test_hostile_lines_end_as_printable_text_of_one_line_each() -> None:
    found = digest([*hostile(), *(at(0, line.text) for line in hostile())], onset=ONSET)
    assert found.lines == 2 * (len(list(hostile())) - 2)
    for each in found.templates:
        for text in (each.template, each.example, *each.sources):
            assert visible(text, 10_000) == text
        assert len(each.template) < 8 * TEMPLATE_LIMIT  # each character may be shown by its number
        assert len(each.example) < 8 * EXAMPLE_LIMIT
    json.dumps(found.as_json()).encode()


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "a1",
        ".",
        '{"a":',
        "\x1b[",
        "status=",
        "a.",
        "@a",
        "a@",
        "a@a.",
        "Error",
        "[",
        "postgres://",
        "bearer ",
        "password=",
        "-----BEGIN ",
        "abcdefab",
        " at ",
        "2026-03-14 ",
    ],
)
def test_the_time_for_a_line_does_not_grow_with_what_is_repeated_in_it(piece: str) -> None:
    lines = [LogLine(f"{(piece * 3000)[:3000]}{place}x") for place in range(50)]
    began = time.process_time()
    digest(lines)
    assert time.process_time() - began < 1.0  # a quadratic pattern takes a second for each line


def test_endless_distinct_templates_take_bounded_memory_and_stay_counted() -> None:
    dice = random.Random(3)

    def flood() -> Iterator[LogLine]:
        for _ in range(1500):
            yield LogLine(
                "ERROR "
                + " ".join("".join(dice.choices(string.ascii_letters, k=9)) for _ in range(20))
            )
        for _ in range(40):
            yield LogLine("ERROR the one that matters")

    tracemalloc.start()
    found = digest(flood())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.kinds <= PER_LEVEL
    assert found.others[Level.ERROR] + sum(each.count for each in found.templates) <= 1540
    assert found.levels == {Level.ERROR: 1540}
    assert found.templates[0].template == "ERROR the one that matters"
    assert peak < 40_000_000


def test_at_most_a_screen_is_shown() -> None:
    lines = [LogLine(f"ERROR {'x ' * place} y") for place in range(1, 60)]
    found = digest(lines)
    assert len(found.templates) == SCREEN < found.kinds == 59


@given(
    st.lists(
        st.builds(
            LogLine,
            st.text(max_size=60)
            | st.sampled_from(["ERROR a b c", "user x in", "user y in", '{"msg":"m"}', " at x.y"]),
            st.none() | st.datetimes(timezones=st.just(UTC)),
            st.sampled_from(["", "a", "b"]),
        ),
        max_size=60,
    ),
    st.none()
    | st.datetimes(
        min_value=datetime(1970, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)
def test_every_line_is_counted_once_whatever_it_is(
    lines: list[LogLine], onset: datetime | None
) -> None:
    found = digest(lines, onset=onset, shown=1000)
    assert sum(found.levels.values()) + found.continued == found.lines <= len(lines)
    assert sum(each.count for each in found.templates) == sum(found.levels.values())
    assert not found.others


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            'INFO 203.0.113.7 - quill.canary "GET /api HTTP/1.1" 401',
            'INFO 203.0.113.7 - [account] "GET /api HTTP/1.1" 401',
        ),
        ("WARN no export /exports/canary-5f0c9f7e21d84b36", "WARN no export /exports/canary-[hex]"),
        ('ERROR refused, prompt: "why two doctors"', "ERROR refused, prompt: [redacted]"),
        ("WARN annotator_email=quill@x.invalid, slow", "WARN annotator_email= [redacted]"),
        ("INFO upload by quill@x.invalid", "INFO upload by [address]"),
    ],
)
def test_people_their_words_and_their_tokens_are_not_shown(line: str, shown: str) -> None:
    (only,) = digest([LogLine(line)]).templates
    assert only.example == shown
