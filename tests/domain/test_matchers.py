"""Matchers mean what they mean to Alertmanager, and no label can make one slow."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.matchers import MATCHERS_LIMIT, Matcher, Operator, parse_matchers


def parsed(text: str) -> list[tuple[str, str, str]]:
    return [(one.name, one.operator.value, one.value) for one in parse_matchers(text)]


def matches(text: str, labels: dict[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in parse_matchers(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('alertname="X"', [("alertname", "=", "X")]),
        ("alertname=X", [("alertname", "=", "X")]),
        ("{a=b}", [("a", "=", "b")]),
        ("{a=b,}", [("a", "=", "b")]),
        ("a!=b,", [("a", "!=", "b")]),
        ('{a="b", c!~"d.*" , e=~f|g }', [("a", "=", "b"), ("c", "!~", "d.*"), ("e", "=~", "f|g")]),
        ('"label with spaces"="b"', [("label with spaces", "=", "b")]),
        ("name-with-dashes=b", [("name-with-dashes", "=", "b")]),
        ('"f"="\\xf0\\x9f\\x99\\x82"', [("f", "=", "🙂")]),
        ('"f"="\\U0001f642"', [("f", "=", "🙂")]),
        ('f="\\"b\\"\\\\\\n\\t\\101"', [("f", "=", '"b"\\\n\tA')]),
        ("f=🙂bar", [("f", "=", "🙂bar")]),
        ('f="a,b}=c"', [("f", "=", "a,b}=c")]),
        ('f=""', [("f", "=", "")]),
        ("hello🙂\u202f=\u3000x", [("hello🙂", "=", "x")]),
    ],
)
def test_the_grammar_is_alertmanagers(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found none"),
        ("{}", "found none"),
        (",", "at character 1: expected a label name, found ,"),
        ("{,}", "at character 2: expected a label name"),
        ("{", "at character 2: expected a label name, found the end"),
        ("}", "at character 1: expected a label name, found }"),
        ("a=b}", "at character 4: expected a comma or the end, found }"),
        ("{a=b", "at character 5: expected a comma or a closing brace, found the end"),
        ("a", "at character 2: expected one of =, !=, =~ and !~"),
        ("a=", "at character 3: expected a value"),
        ("a==b", "at character 3: expected a value"),
        ("a!b", "at character 2: expected a name, an operator or a value"),
        ("a=b c=d", "at character 5: expected a comma or the end, found c"),
        ("a=b,,c=d", "at character 5: expected a comma or the end, found ,"),
        ('{foo=:"bar"}', "at character 7: expected a comma or a closing brace"),
        ("{foo=bar\\n}", "at character 9"),
        ('a="b', "at character 3: expected a closing quote"),
        ('a="b\\', "at character 3: expected a closing quote"),
        ('a=~"\\d+"', "at character 1: expected an escape of Go, found \\d"),
        ('a="\\ud800"', "expected an escape of Go"),
        ('a="\\777"', "expected an escape of Go"),
        ('"f"="\\xf0\\x9f"', "expected UTF-8"),
        ('a="b\nc"', "expected no line break"),
        ('""=a', "expected a label name of 1 to 128 characters"),
        ("a=~(", "expected a regular expression of RE2: missing )"),
        ("a=~(?=b)", "expected a regular expression of RE2"),
        ('a=~"(x{900}){900}"', "expected a regular expression of RE2"),
        ("b" * 129 + "=a", "expected a label name"),
        ("a=" + "b" * 1025, "expected a value of at most 1024"),
        ("a=" + "b" * 5000, "at most 4096 characters"),
        (",".join(["a=b"] * (MATCHERS_LIMIT + 1)), "at most 32 matchers"),
        ("a=\ud800", "expected UTF-8"),
    ],
)
def test_a_wrong_text_is_refused_with_its_place_and_says_nothing_on_standard_error(
    text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput) as refused:
        parse_matchers(text)
    assert said in str(refused.value)
    assert capfd.readouterr() == ("", "")


names = st.text(min_size=1, max_size=20)
values = st.text(max_size=40)
plain = st.builds(Matcher, names, st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL]), values)
regexps = st.builds(
    Matcher,
    names,
    st.sampled_from([Operator.MATCHES, Operator.MATCHES_NOT]),
    st.one_of(values.map(re2.escape), st.sampled_from(["a|b", ".*", "[a-z]+\\d", '"\\\\n"', ""])),
)


@given(st.lists(plain | regexps, min_size=1, max_size=5), st.booleans())
def test_what_is_printed_is_parsed_as_the_same(matchers: list[Matcher], braces: bool) -> None:
    text = ",".join(map(str, matchers))
    assert parse_matchers(f"{{{text}}}" if braces else text) == tuple(matchers)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        again = ",".join(map(str, parse_matchers(text)))
    except BadInput:
        return
    assert parse_matchers(again) == parse_matchers(text)


@given(values, values)
def test_an_escaped_regular_expression_matches_its_text_alone(one: str, other: str) -> None:
    pattern = Matcher("a", Operator.MATCHES, re2.escape(one))
    opposite = Matcher("a", Operator.MATCHES_NOT, re2.escape(one))
    assert pattern.matches({"a": other}) is (one == other)
    assert opposite.matches({"a": other}) is (one != other)


LABELS: list[dict[str, str]] = [
    {"alertname": "DatabaseDown", "severity": "critical"},
    {"alertname": "DatabaseDown", "severity": "critically"},
    {"alertname": "XDatabaseDown", "severity": "high"},
    {"alertname": "databasedown"},
    {"severity": "warning", "team": "a b"},
]
CASES = [
    'alertname="DatabaseDown"',
    "alertname=DatabaseDown",
    'alertname!="DatabaseDown"',
    'alertname=~"Database"',
    'alertname=~"Database.*"',
    'alertname=~"(?i)database.*"',
    'alertname=~"Database|DatabaseDown"',
    'alertname!~"Database.*"',
    'severity=~"critical|high"',
    'severity=~""',
    'severity=""',
    'severity!=""',
    'team=""',
    'team!~".+"',
    'team="a b"',
    'alertname="DatabaseDown",severity!~"crit.*"',
    '{alertname="DatabaseDown",severity="critical"}',
]


@pytest.mark.parametrize("labels", LABELS[:1])
def test_a_label_that_is_not_there_is_the_empty_text(labels: dict[str, str]) -> None:
    assert matches('team=""', labels)
    assert matches('team!="x"', labels)
    assert matches('team=~"x|"', labels)
    assert not matches('team=~".+"', labels)


def test_matchers_decide_as_alertmanager_itself_does(tmp_path: Path) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed")
    receivers = [f"case-{place}" for place in range(len(CASES))]
    configuration = tmp_path / "alertmanager.yml"  # JSON is YAML
    routes = [
        {"receiver": receiver, "matchers": [case], "continue": True}
        for receiver, case in zip(receivers, CASES, strict=True)
    ]
    configuration.write_text(
        json.dumps(
            {
                "route": {"receiver": "none", "routes": routes},
                "receivers": [{"name": name} for name in ("none", *receivers)],
            }
        )
    )
    for labels in LABELS:
        answer = subprocess.run(
            [
                *(amtool, "config", "routes", "test", f"--config.file={configuration}"),
                *(f'{name}="{value}"' for name, value in labels.items()),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        theirs = set(answer.stdout.strip().replace("none", "").split(",")) - {""}
        ours = {
            receiver
            for receiver, case in zip(receivers, CASES, strict=True)
            if matches(case, labels)
        }
        assert ours == theirs, labels
        assert ours, "a set of labels that no case matches compares nothing"


def test_a_hostile_label_takes_no_longer_than_another() -> None:
    greedy = Matcher("a", Operator.MATCHES, "(x+x+)+y")
    began = time.perf_counter()
    for _ in range(100):
        assert not greedy.matches({"a": "x" * 1024})
    assert time.perf_counter() - began < 5, "backtracking would take longer than the universe"


def test_text_that_is_no_utf_8_matches_nothing_and_breaks_nothing() -> None:
    assert not Matcher("a", Operator.MATCHES, "x").matches({"a": "\ud800"})
    assert not matches("a=x", {"a": "\ud800"})
