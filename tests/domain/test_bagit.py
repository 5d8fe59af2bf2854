"""The texts of a bag: what is written is read back, and a path never leads out."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.bagit import (
    DECLARATION,
    checked_path,
    info_text,
    manifest_text,
    payload_oxum,
    read_info,
    read_manifest,
)
from tasks.domain.errors import BadInput

DIGEST = some.text("0123456789abcdef", min_size=64, max_size=64)
PART = some.text(some.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
LABEL = some.from_regex(r"[A-Z][a-z]{0,8}(-[A-Z][a-z]{0,8})?", fullmatch=True)
VALUE = some.text(some.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


def is_inside(path: str) -> bool:
    return path[0] not in "/~" and not {".", ".."} & set(path.split("/"))


PATH = some.lists(PART, min_size=1, max_size=4).map("/".join).filter(is_inside)


@given(some.dictionaries(PATH, DIGEST))
def test_a_manifest_is_read_as_it_was_written_whatever_the_names(digests: dict[str, str]) -> None:
    assert read_manifest(manifest_text(digests)) == digests


@given(some.dictionaries(PATH, DIGEST, min_size=1), some.data())
def test_a_manifest_that_is_cut_off_is_none(digests: dict[str, str], data: some.DataObject) -> None:
    text = manifest_text(digests)
    kept = text[: data.draw(some.integers(1, len(text) - 1))]
    try:
        found = read_manifest(kept)
    except BadInput:
        return
    assert kept.endswith("\n")
    assert found.items() < digests.items()


@given(some.lists(some.tuples(LABEL, VALUE)))
def test_the_info_is_read_as_it_was_written(fields: list[tuple[str, str]]) -> None:
    assert read_info(info_text(fields)) == fields


def test_a_folded_value_of_another_program_is_one_value() -> None:
    assert read_info("Contact: Ada\n  Lovelace\nSize: 3\n") == [
        ("Contact", "Ada Lovelace"),
        ("Size", "3"),
    ]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "~/x", "../x", "data/../../x", "data//x", "data/./x", "a\0b", "data/"],
)
def test_a_path_that_leads_out_is_refused_both_ways(path: str) -> None:
    with pytest.raises(BadInput):
        checked_path(path)
    with pytest.raises(BadInput):
        manifest_text({path: "0" * 64})
    with pytest.raises(BadInput):
        read_manifest(f"{'0' * 64}  {path}\n")


@pytest.mark.parametrize(
    "line", ["0" * 63 + "  data/x", "0" * 64 + " ", "0" * 64 + "data/x", "G" * 64 + "  data/x", ""]
)
def test_a_line_that_is_none_of_a_manifest_is_named(line: str) -> None:
    with pytest.raises(BadInput, match="line 2"):
        read_manifest(f"{'0' * 64}  data/a\n{line}\n")


def test_a_path_is_listed_once() -> None:
    with pytest.raises(BadInput, match="twice"):
        read_manifest(f"{'0' * 64}  data/a\n{'1' * 64}  data/a\n")


@pytest.mark.parametrize(("label", "value"), [("A b", "x"), ("", "x"), ("A", "x\ny"), ("A", "\r")])
def test_what_would_be_another_line_is_not_written(label: str, value: str) -> None:
    with pytest.raises(BadInput):
        info_text([(label, value)])


def test_the_declaration_and_the_oxum_are_those_of_the_standard() -> None:
    assert DECLARATION == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    assert payload_oxum([279, 0, 1]) == "280.3"
