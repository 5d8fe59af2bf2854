"""Hostile keys become the path that they spell, below the directory, or are refused."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.local_paths import Places, Why, folded, is_of_a_log, parts_of, refusal

_PART = st.one_of(
    st.sampled_from(
        ["..", ".", "", "a", "A", "\u00e9", "e\u0301", "CON", "x" * 255, "x" * 256, "a\x00"]
    ),
    st.text(max_size=12),
)
KEYS = st.lists(_PART, max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", Why.EMPTY),
        ("../up", Why.OUTSIDE),
        ("a/../../up", Why.OUTSIDE),
        ("a/./b", Why.OUTSIDE),
        ("/etc/passwd", Why.EMPTY_PART),
        ("a//b", Why.EMPTY_PART),
        ("a/", Why.EMPTY_PART),
        ("a\\..\\b", Why.BACKSLASH),
        ("a\x00b", Why.CONTROL),
        ("a\nb", Why.CONTROL),
        ("a\x1b[2Jb", Why.CONTROL),
        ("a\x7fb", Why.CONTROL),
        ("invoice\u202egpj.exe", Why.CONTROL),
        ("zero\u200bwidth", Why.CONTROL),
        ("lone\udc80", Why.CONTROL),
        ("x" * 256, Why.TOO_LONG),
        ("\u00e9" * 128, Why.TOO_LONG),
        ("/".join(["x" * 100] * 11), Why.TOO_LONG),
        ("/".join("x" * 101), Why.TOO_LONG),
        (".unfinished-recovery/state.jsonl", Why.RESERVED),
        ("a/.UNFINISHED-x", Why.RESERVED),
        ("con", Why.RESERVED),
        ("a/Aux.json", Why.RESERVED),
    ],
)
def test_a_key_that_is_no_path_below_a_directory_is_refused_with_the_reason(key, why):
    assert refusal(key) is why
    with pytest.raises(BadInput):
        parts_of(key)


@pytest.mark.parametrize(
    "key",
    [
        "seg/0-65536.jsonl.zst",
        "tile/0/x001/067.p/5",
        "checkpoints/5000",
        "audit_logs/session-1/events/4c1f.json",
        "manifests/audit_manifest_20261122.txt",
        "a b/c%2Fd*?#[x]",
        "sch\u00f6n/\u65e5\u672c",
        "x" * 255,
        "...",
        "context",
    ],
)
def test_a_key_that_is_merely_odd_is_taken_as_it_is(key):
    assert refusal(key) is None
    assert "/".join(parts_of(key)) == key


@given(KEYS)
def test_what_is_not_refused_stays_below_the_directory_under_its_own_name(key):
    if refusal(key) is not None:
        return
    root = PurePosixPath("/target")
    joined = root / key
    assert joined.is_relative_to(root)
    assert joined != root
    assert ".." not in joined.parts
    assert str(joined) == f"/target/{key}"
    assert all(len(part.encode()) <= 255 for part in joined.parts)
    assert "\x00" not in key


@given(st.lists(KEYS, max_size=12))
def test_no_two_taken_keys_meet_on_any_file_system(keys):
    places = Places(folds=True)
    taken = [key for key in keys if places.claim(key) is None]
    names = [folded(key) for key in taken]
    assert len(set(names)) == len(names)
    for name in names:
        assert not any(other.startswith(f"{name}/") for other in names)
    assert all(key in places for key in taken)


@given(st.lists(KEYS, max_size=12))
def test_where_names_are_told_apart_by_every_mark_only_a_name_that_is_needed_twice_is_refused(keys):
    places = Places(folds=False)
    taken = [key for key in keys if places.claim(key) is None]
    assert len(set(taken)) == len(taken)
    for key in set(keys) - set(taken):
        above = {each for each in taken if each.startswith(f"{key}/") or key.startswith(f"{each}/")}
        assert refusal(key) is not None or above


@given(st.text(max_size=20))
def test_case_and_unicode_form_never_tell_two_names_apart(text):
    for form in ("NFC", "NFD"):
        assert folded(unicodedata.normalize(form, text)) == folded(text)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("a/b", "A/b", Why.COLLIDES),
        ("caf\u00e9", "cafe\u0301", Why.COLLIDES),
        ("stra\u00dfe", "STRASSE", Why.COLLIDES),
        ("a", "a/b", Why.FILE_AND_FOLDER),
        ("a/b", "a", Why.FILE_AND_FOLDER),
        ("a/b", "A", Why.FILE_AND_FOLDER),
        ("a/b/c", "a/b", Why.FILE_AND_FOLDER),
        ("a", "a", Why.COLLIDES),
    ],
)
def test_of_two_keys_that_meet_the_first_wins(first, second, why):
    places = Places(folds=True)
    assert places.claim(first) is None
    assert places.claim(second) is why
    assert first in places


def test_names_that_a_sealer_or_a_logger_writes_are_known():
    for path in (
        "seg/0-300.jsonl.zst",
        "tile/1/000.p/3",
        "checkpoints/300",
        "cosigned/300-1764000000",
        "timestamps/300.tsr",
        "s1/events/a.json",
        "audit_logs/s1/chains/chain_1.json",
    ):
        assert is_of_a_log(path), path
    for path in ("SEG/0-300.jsonl.zst", "seg/1-2.jsonl.zst", "tile/x", "a", "x/y/events/a.json"):
        assert not is_of_a_log(path), path
