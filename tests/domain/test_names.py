"""That no trick of spelling makes one person two."""

import unicodedata
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.names import Name, appearance, is_same_person

_LATIN = (
    st.characters(min_codepoint=0x61, max_codepoint=0x7A)
    | st.characters(min_codepoint=0xC0, max_codepoint=0x17F, categories=["L"])
    | st.characters(min_codepoint=0x1E00, max_codepoint=0x1EFF, categories=["L"])
    | st.characters(min_codepoint=0xFF21, max_codepoint=0xFF5A, categories=["L"])
    | st.characters(min_codepoint=0x1D400, max_codepoint=0x1D433)  # mathematical, bold
    | st.sampled_from("aAbBiIl1oO0 .-_@'(),")
)
_NAMES = st.text(_LATIN, min_size=1, max_size=12)
_HIDDEN = ("\u0430", "\u200b", "\u0301", "\u00ad", "\u202e", "\u3164", "")


def parsed(text: str) -> Name | None:
    try:
        return Name.parse(text)
    except BadInput:
        return None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bea", "BEA"),
        ("bea", "\uff42\uff45\uff41"),
        ("Jos\u00e9", "Jose\u0301"),
        ("Stra\u00dfer", "STRASSER"),
        ("\ufb01nn", "finn"),
        ("anna meier", "Anna\u00a0Meier"),
    ],
)
def test_case_width_and_composition_are_the_same_name(one: str, other: str) -> None:
    assert Name.parse(one).folded == Name.parse(other).folded
    assert Name.parse(one).looks == Name.parse(other).looks


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jos\u00e9", "Jose"),
        ("bill", "bi11"),
        ("Ian", "lan"),
        ("bob", "b0b"),
        ("\u0141ukasz", "Lukasz"),
        ("S\u00f8ren", "Soren"),
        ("Il\u0131", "Ili"),
    ],
)
def test_look_alikes_are_another_name_with_the_same_looks(one: str, other: str) -> None:
    assert Name.parse(one).folded != Name.parse(other).folded
    assert Name.parse(one).looks == Name.parse(other).looks
    assert is_same_person(one, other)


@pytest.mark.parametrize("one", ["anna", "anna.b@example.org", "Anna Meier", "bea", "bart"])
@pytest.mark.parametrize("other", ["hanna", "anna.c@example.org", "Anna Maier", "Bea M", "bert"])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert not is_same_person(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " bea",
        "bea ",
        "be  a",
        "be\na",
        "be\ta",
        "be\x00a",
        "half \ud800",
        "x" * 81,
        "x" * 100_000,
        "\ufdfa" * 20,  # grows eighteen times when it is normalised
        "...",
        "b\u0435a",  # Cyrillic
        "\u0431\u0435\u0430",
        "\u03b2ea",
        "be\u200ba",
        "be\u00ada",
        "be\u202ea",
        "be\u034fa",
        "be\ufe0fa",
        "bea\u3164",
        "bea\u2800",
        "b\u0308\u0308\u0308ea",
        "bea\U000e0061",
        "<b>bea</b>",
        "bea;drop",
        "b\u1d07a",
        "\u0251nna",
    ],
)
def test_what_cannot_be_told_apart_or_seen_is_no_name(text: str) -> None:
    with pytest.raises(BadInput, match="expected a name of"):
        Name.parse(text)


@pytest.mark.parametrize(
    "text",
    ["runbook", "Runbook", "RUNB00K", "r\u00fcnbook", "policy", "Policy", "po1icy", "pollcy"],
)
def test_the_runbooks_own_names_are_nobodys(text: str) -> None:
    with pytest.raises(BadInput, match="the runbook's own"):
        Name.parse(text)


@given(_NAMES)
def test_a_name_is_stable_and_what_it_looks_like_is_plain(text: str) -> None:
    name = parsed(text)
    if name is None:
        return
    assert Name.parse(name.shown) == name
    assert name.looks.isascii()
    assert name.looks == appearance(text) == appearance(name.looks)
    assert not set(name.looks) & set("01i,ABCDEFGHIJKLMNOPQRSTUVWXYZ")


_CHANGES = (
    str.upper,
    str.lower,
    str.casefold,
    str.swapcase,
    *(partial(unicodedata.normalize, form) for form in ("NFC", "NFD", "NFKC", "NFKD")),
)


@given(_NAMES, st.lists(st.sampled_from(_CHANGES), max_size=6), st.sampled_from(_HIDDEN))
def test_no_sequence_of_normalisations_makes_a_second_person(
    text: str, changes: list[Callable[[str], str]], hidden: str
) -> None:
    first = parsed(text)
    if first is None:
        return
    for change in changes:
        text = change(text)
        again = parsed(text)
        assert again is None or again.looks == first.looks
        assert is_same_person(text, first.shown)
    again = parsed(text[:1] + hidden + text[1:])
    assert again is None or again.looks == first.looks


def test_every_character_that_a_name_may_hold_looks_like_plain_letters_in_every_case() -> None:
    accepted = 0
    for number in range(0x20000):
        character = chr(number)
        name = parsed(f"x{character}x")
        if name is None:
            continue
        accepted += 1
        for change in _CHANGES:
            again = parsed(f"x{change(character)}x")
            assert again is None or again.looks == name.looks, hex(number)
    assert accepted > 1000


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert is_same_person(one, one)
    assert is_same_person(one, other) == is_same_person(other, one)
