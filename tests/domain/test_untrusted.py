"""Hostile text becomes one visible, bounded line before any medium escapes it."""

import pytest

from tasks.domain.untrusted import short_hash, visible


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("invoice\u202egnp.exe", "invoice[U+202E]gnp.exe"),
        ("a\u2066b\u2069", "a[U+2066]b[U+2069]"),
        ("pay\u200bpal", "pay[U+200B]pal"),
        ("tag\U000e0041", "tag[U+E0041]"),
        ("nul\x00bell\x07", "nul[U+0000]bell[U+0007]"),
        ("line\nbreak\u2028here\tand\r", "line break here and "),
        ("half\ud800", "half[U+D800]"),
        ("own\ue000", "own[U+E000]"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301[U+0301][U+0301]"),
    ],
)
def test_character_that_hides_something_is_named_by_number(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


@pytest.mark.parametrize("honest", ["plain", "naïve café", "Ελληνικά", "日本語", "a < b & c"])
def test_readable_text_of_any_script_stays_as_it_is(honest: str) -> None:
    assert visible(honest) == honest


def test_long_text_is_cut_and_says_by_how_much() -> None:
    assert visible("x" * 1000, 10) == "x" * 10 + "… (+990 characters)"


def test_text_of_exactly_the_limit_is_not_cut() -> None:
    assert visible("x" * 10, 10) == "x" * 10


def test_value_that_is_no_text_is_shown_as_one() -> None:
    assert visible({"a": 1}) == "{'a': 1}"


def test_hash_is_shown_by_its_beginning_with_a_mark() -> None:
    assert short_hash("ab" * 32) == "ab" * 6 + "…"
