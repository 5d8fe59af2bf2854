"""Names, timelines and holes of archived WAL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.wal import (
    SEGMENT_BYTES,
    Chain,
    Gap,
    Segment,
    Timeline,
    chain,
    check_segment_bytes,
    forks,
    format_lsn,
    gaps_in,
    history_timeline,
    newest_timeline,
    parse_lsn,
    plain_name,
)

_SIZES = st.sampled_from([1 << bits for bits in range(20, 31)])
_SEGMENTS = st.builds(Segment, st.integers(1, 2**32 - 1), st.integers(0, 2**31))

_THIRD = "1\t0/3000060\tno recovery target specified\n\n2\t0/5000158\tbefore 2000-01-01\n"


def run(timeline: int, *numbers: int) -> set[Segment]:
    return {Segment(timeline, number) for number in numbers}


@given(st.integers(0, 2**64 - 1))
def test_a_position_survives_being_written(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize(
    "text", ["", "0", "1/", "/1", "0/1 ", "123456789/0", "-1/0", "0/G", "\u0660/\u0660"]
)
def test_other_words_are_no_position(text: str) -> None:
    with pytest.raises(BadInput):
        parse_lsn(text)


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), _SIZES)
def test_a_segment_survives_being_named(timeline: int, lsn: int, size: int) -> None:
    segment = Segment(timeline, lsn // size)
    name = segment.name(size)
    assert len(name) == 24
    assert Segment.parse(name, size) == segment


@given(_SEGMENTS, _SEGMENTS)
def test_names_sort_as_segments_do(one: Segment, other: Segment) -> None:
    assert (one.name() < other.name()) == (one < other)


def test_names_are_postgresqls_own() -> None:
    assert (
        Segment(1, parse_lsn("16/B374D848") // SEGMENT_BYTES).name() == "0000000100000016000000B3"
    )
    assert Segment(1, 2**32 // SEGMENT_BYTES).name() == "000000010000000100000000"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000001000000000000000",
        "0000000100000000000000010",
        "00000001000000000000000a",
        "000000000000000000000001",  # there is no timeline 0
        "000000010000000000000100",  # 256 segments of 16 MiB are 4 GiB
        "000000010000000000000001.partial",
        "000000010000000000000001.00000028.backup",
        "00000002.history",
        "../00000001000000000000",
        "000000010000000000000001\n",
    ],
)
def test_other_files_are_no_segments(name: str) -> None:
    with pytest.raises(BadInput):
        Segment.parse(name)


@pytest.mark.parametrize("size", [0, 1, 1 << 19, (1 << 24) + 1, 1 << 31, -(1 << 24)])
def test_sizes_that_initdb_refuses_are_refused(size: int) -> None:
    with pytest.raises(BadInput):
        check_segment_bytes(size)


def test_a_compressors_ending_is_no_part_of_the_name() -> None:
    name = Segment(1, 5).name()
    assert {plain_name(name), plain_name(f"{name}.gz"), plain_name(f"{name}.zst")} == {name}
    assert plain_name(f"{name}.gz.gz") == f"{name}.gz"
    assert history_timeline("0000000A.history") == 10
    assert history_timeline("0000000A.history.gz") is None


def test_a_history_file_says_where_each_parent_was_left() -> None:
    third = Timeline.parse(3, _THIRD)
    assert third.parents == ((1, parse_lsn("0/3000060")), (2, parse_lsn("0/5000158")))
    assert [third.segment(number).timeline for number in range(7)] == [1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    "text",
    [
        "2\t0/3000060\tx\n1\t0/5000158\tx\n",  # falling
        "1\t0/5000158\tx\n2\t0/3000060\tx\n",  # left before it was reached
        "3\t0/3000060\tx\n",  # its own parent
        "1\n",
        "1\tnowhere\tx\n",
        "-1\t0/3000060\tx\n",
        "\u0661\t0/3000060\tx\n1\t0/1\tx\n",
    ],
)
def test_an_impossible_history_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        Timeline.parse(3, text)


def test_a_base_goes_onto_the_newest_timeline_that_left_its_own_after_it_ended() -> None:
    second = Timeline.parse(2, "1\t0/3000060\tx\n")
    third = Timeline.parse(3, "1\t0/9000000\tx\n")
    stranger = Timeline(9)
    known = [second, third, stranger]
    present = {each.first_segment() for each in known}
    assert newest_timeline(known, present, 1, parse_lsn("0/2000000")) == third
    assert newest_timeline([second, stranger], present, 1, parse_lsn("0/2000000")) == second
    assert newest_timeline([second], present, 1, parse_lsn("0/4000000")) == Timeline(1)
    assert newest_timeline([], present, 4, 0) == Timeline(4)


def test_a_history_file_without_its_timelines_first_segment_leads_nowhere() -> None:
    forged = Timeline.parse(2, "1\t0/3000060\tx\n")
    assert newest_timeline([forged], run(1, *range(1, 10)), 1, 0) == Timeline(1)
    assert newest_timeline([forged], run(1, 1, 2, 3) | run(2, 4), 1, 0) == Timeline(1)
    assert newest_timeline([forged], run(1, 1, 2) | run(2, 3), 1, 0) == forged


def test_a_parent_that_went_on_behind_the_fork_is_named() -> None:
    third = Timeline.parse(3, _THIRD)  # left 1 in segment 3, 2 in segment 5
    left = run(1, 1, 2) | run(2, 3, 4) | run(3, 5, 6)
    assert forks(third, left, 1) == []
    assert forks(third, left | run(2, 5, 9), 1) == [Segment(2, 9)]
    assert forks(third, left | run(1, 4) | run(2, 5), 1) == [Segment(1, 4), Segment(2, 5)]
    assert forks(third, left | run(1, 4), 2) == []  # before a base of timeline 2
    assert forks(Timeline(1), left | run(2, 9), 1) == []


def test_a_chain_goes_on_to_the_newest_segment_and_names_its_holes() -> None:
    present = run(1, 2, 3, 4, 7, 8, 11)
    found = chain(present, 3, Timeline(1))
    assert found.reachable == (Segment(1, 3), Segment(1, 4))
    assert found.gaps == (
        Gap(Segment(1, 5), Segment(1, 6)),
        Gap(Segment(1, 9), Segment(1, 10)),
    )
    assert [gap.describe() for gap in gaps_in(present)] == [
        f"{Segment(1, 5).name()} to {Segment(1, 6).name()}",
        f"{Segment(1, 9).name()} to {Segment(1, 10).name()}",
    ]


def test_a_chain_whose_first_segment_is_missing_reaches_nothing() -> None:
    found = chain(run(1, 5, 6), 3, Timeline(1))
    assert found == Chain((), (Gap(Segment(1, 3), Segment(1, 4)),))
    assert found.gaps[0].describe() == f"{Segment(1, 3).name()} to {Segment(1, 4).name()}"


def test_a_chain_leaves_its_parent_where_the_history_says() -> None:
    second = Timeline.parse(2, "1\t0/5000060\tx\n")  # in segment 5
    present = run(1, 3, 4, 5, 6, 7) | run(2, 5, 6)
    found = chain(present, 3, second)
    assert found.reachable == (*sorted(run(1, 3, 4)), *sorted(run(2, 5, 6)))
    assert found.gaps == ()
    assert chain(present - run(2, 5), 3, second).gaps == (Gap(Segment(2, 5), Segment(2, 5)),)


def test_a_hole_of_two_billion_segments_costs_nothing() -> None:
    far = Segment(1, 2**31)
    found = chain({Segment(1, 3), far}, 3, Timeline(1))
    assert found.gaps == (Gap(Segment(1, 4), Segment(1, 2**31 - 1)),)


@given(st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_what_is_reachable_and_what_is_missing_make_up_everything_up_to_the_newest(
    numbers: set[int], first: int
) -> None:
    found = chain(run(1, *numbers), first, Timeline(1))
    after = {number for number in numbers if number >= first}
    missing = {n for gap in found.gaps for n in range(gap.first.number, gap.last.number + 1)}
    assert missing | after == (set(range(first, max(after) + 1)) if after else set())
    assert not missing & after
    reached = [each.number for each in found.reachable]
    assert reached == list(range(first, first + len(reached)))
    assert first + len(reached) not in after
