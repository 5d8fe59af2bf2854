"""The shape of a query holds nothing of its values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.query_shape import query_shape


@pytest.mark.parametrize(
    ("query", "shape"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT * FROM t1 WHERE id = 42.5e3", "SELECT * FROM t1 WHERE id = ?"),
        ("UPDATE t SET a='x', b=.5", "UPDATE t SET a='?', b=?"),
        ("VALUES ('it''s', E'a\\'b', $$raw 'x'$$)", "VALUES ('?', '?', '?')"),
        (r"SELECT 'a\' , 'b'", "SELECT '?' , '?'"),
        ("SELECT 'cut off in the mid", "SELECT '?'"),
        ("SELECT $tag$ one $$ two $tag$, 3", "SELECT '?', ?"),
        ("SELECT /* alice */ 1 -- bob\n FROM t", "SELECT ? FROM t"),
        ("SELECT /* never closed", "SELECT"),
        ('SELECT "Mixed ""Case""" FROM "t1"', 'SELECT "Mixed ""Case""" FROM "t1"'),
        ("FETCH $1 FROM a2b", "FETCH $1 FROM a2b"),
        ("SELECT B'101', X'ff', U&'d\\0061t'", "SELECT '?', '?', '?'"),
        ("", ""),
    ],
)  # fmt: skip
def test_values_are_masked_and_structure_stays(query: str, shape: str) -> None:
    assert query_shape(query, 200) == shape


def test_a_shape_is_one_bounded_line() -> None:
    shape = query_shape("SELECT\n\t" + "a, " * 500, 60)
    assert len(shape) == 60
    assert shape.startswith("SELECT a, a,")
    assert shape.endswith("...")


SECRET = "zqxsecretqz"
QUOTES = st.sampled_from(["'", "''", "\\", "E'", "$$", "--", "/*", "*/", '"', " ", "x", "\n"])


@given(st.lists(QUOTES, max_size=8))
def test_a_standard_literal_never_shows_however_odd_what_is_in_it(parts: list[str]) -> None:
    inside = "".join(parts).replace("'", "''")
    assert SECRET not in query_shape(f"SELECT 1 WHERE a = '{inside}{SECRET}' AND b", 500)


@given(st.text(max_size=400))
def test_any_text_at_all_has_a_shape(text: str) -> None:
    assert "\n" not in query_shape(text, 200)
    assert len(query_shape(text, 200)) <= 200


def test_a_megabyte_of_quotes_takes_no_time() -> None:
    for text in ("'" * 1_000_001, "$a$" * 300_000, "/*" * 500_000, "\\'" * 500_000, "$" * 99_999):
        query_shape(text, 100)
