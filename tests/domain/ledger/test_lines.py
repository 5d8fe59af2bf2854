"""Lines in a buffer are the sequence of lines that they were made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger.lines import Lines, size_of

LINES = st.lists(st.binary(max_size=20), max_size=12)
BOUND = st.one_of(st.none(), st.integers(-14, 14))


@given(lines=LINES)
def test_they_are_what_they_were_made_of(lines):
    made = Lines.of(lines)
    assert list(made) == lines
    assert len(made) == len(lines)
    assert size_of(made) == size_of(lines) == sum(map(len, lines))
    assert [made[at] for at in range(-len(lines), len(lines))] == lines + lines


@given(lines=LINES, begin=BOUND, end=BOUND)
def test_a_slice_of_them_is_the_slice_of_the_list(lines, begin, end):
    part = Lines.of(lines)[begin:end]
    assert list(part) == lines[begin:end]
    assert size_of(part) == size_of(lines[begin:end])


def test_no_line_beyond_the_last_and_no_steps():
    made = Lines.of([b"a", b"b"])
    for at in (2, -3):
        with pytest.raises(IndexError):
            made[at]
    with pytest.raises(ValueError, match="step"):
        made[::2]
