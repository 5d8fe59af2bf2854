"""Laws of the carry-over: random damage to a random tail never costs more than it touched."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.domain.carry_over import (
    MAX_GAP,
    MAX_TAIL,
    Kept,
    Lost,
    LostRange,
    Row,
    Start,
    WritersHead,
    first_break,
    judge_tail,
    list_losses,
    write_tail,
)
from tasks.domain.errors import BadInput
from tasks.domain.ledger import (
    GENESIS_PREV,
    canonical_line,
    chain_link,
    is_tombstone,
    leaf_hash,
    lost_leaf,
    parse_line,
    tombstone_line,
)

ORIGIN = "rlhf-audit-trail"
INCIDENT = "INC-20260314-030012-a1b2"
AT = datetime(2026, 3, 14, 3, 5, tzinfo=UTC)


def record(seq: int, prev: str, note: str = "genuine", origin: str = ORIGIN) -> bytes:
    return canonical_line(
        {
            "_prev": prev,
            "data": {"note": note, "reward": 0.1 * seq},
            "event_id": f"event-{seq}",
            "event_type": "annotation",
            "origin": origin,
            "seq": seq,
            "session_id": "s-1",
            "timestamp": AT.isoformat(),
        }
    )


def log(size: int) -> list[Row]:
    rows: list[Row] = []
    prev = GENESIS_PREV
    for seq in range(size):
        line = record(seq, prev)
        leaf = leaf_hash(line)
        rows.append(Row(seq, line, leaf))
        prev = chain_link(line, leaf)
    return rows


def start_of(rows: list[Row], signed: int) -> Start:
    return Start.after(signed - 1, rows[signed - 1].record) if signed else Start.genesis()


def forged(row: Row, *, recomputed: bool) -> Row:
    """Other content, the same `_prev`; with the leaf made to fit when `recomputed`."""
    line = row.record.replace(b"genuine", b"altered")
    return Row(row.seq, line, leaf_hash(line) if recomputed else row.leaf)


def carried(
    rows: list[Row], start: Start, head: WritersHead | None
) -> tuple[list[Kept | Lost], list[Row]]:
    decisions = judge_tail(rows, start, ORIGIN, head)
    written = write_tail(decisions, start, incident=INCIDENT, origin=ORIGIN, at=AT)
    return decisions, list(written)


def head_at(rows: list[Row], size: int) -> WritersHead:
    return WritersHead(size, rows[size - 1].leaf if size else b"")


@dataclass(frozen=True)
class Case:
    genuine: list[Row]
    signed: int
    acknowledged: int | None
    table: list[Row]
    damaged: frozenset[int]

    @property
    def head(self) -> WritersHead | None:
        return None if self.acknowledged is None else head_at(self.genuine, self.acknowledged)

    @property
    def start(self) -> Start:
        return start_of(self.genuine, self.signed)


def loosely_written(row: Row) -> Row:
    """The same record in another JSON form, its leaf made to fit."""
    line = row.record.replace(b'"data":', b'"data": ')
    return Row(row.seq, line, leaf_hash(line))


HARMS = ("delete", "alter", "garbage", "leaf", "other origin", "other seq", "duplicate", "loose")


def harmed(row: Row, harm: str, genuine: list[Row]) -> list[Row]:
    """What stands in the table instead of the row."""
    elsewhere = record(row.seq, row.record[10:74].decode(), origin="elsewhere")
    neighbour = genuine[(row.seq + 1) % len(genuine)]
    return {
        "delete": [],
        "alter": [forged(row, recomputed=False)],
        "recompute": [forged(row, recomputed=True)],
        "garbage": [Row(row.seq, b"\xff{garbage", row.leaf)],
        "leaf": [Row(row.seq, row.record, b"\x01" * 32)],
        "other origin": [Row(row.seq, elsewhere, leaf_hash(elsewhere))],
        "other seq": [Row(row.seq, neighbour.record, neighbour.leaf)],
        "duplicate": [Row(row.seq, genuine[0].record, genuine[0].leaf)],
        "loose": [loosely_written(row)],
    }[harm]


@st.composite
def cases(draw: st.DrawFn, harms: tuple[str, ...] = HARMS) -> Case:
    signed = draw(st.integers(0, 5))
    tail = draw(st.integers(0, 40))
    genuine = log(signed + tail)
    in_table = signed + draw(st.integers(0, tail))
    acknowledged = draw(st.none() | st.integers(0, signed + tail))
    if acknowledged is None or acknowledged < in_table:
        in_table = signed + tail
    harm = draw(st.dictionaries(st.integers(signed, signed + tail), st.sampled_from(harms)))
    table: list[Row] = []
    for row in genuine[:in_table]:
        if row.seq in harm:
            table += harmed(row, harm[row.seq], genuine)
        else:
            table.append(row)
    damaged = frozenset(harm) | frozenset(range(in_table, signed + tail))
    return Case(genuine, signed, acknowledged, draw(st.permutations(table)), damaged)


@given(cases())
def test_any_damage_gives_one_chain_in_which_every_seq_is_genuine_or_listed(case: Case) -> None:
    _, written = carried(case.table, case.start, case.head)

    assert first_break(written, case.start) is None
    seqs = [row.seq for row in case.table if row.seq >= case.signed]
    end = max([case.signed, case.acknowledged or 0, *(seq + 1 for seq in seqs)])
    assert [row.seq for row in written] == list(range(case.signed, end))
    losses = list_losses(written, case.start, incident=INCIDENT, origin=ORIGIN, head=case.head)
    listed = {seq for each in losses.lost for seq in range(each.first, each.first + each.count)}
    assert {row.seq for row in written if is_tombstone(row.record)} == listed
    for row in written:
        assert row.seq in listed or row == case.genuine[row.seq]


@given(cases())
def test_what_was_not_touched_is_not_lost(case: Case) -> None:
    decisions, _ = carried(case.table, case.start, case.head)

    lost = {each.seq for each in decisions if isinstance(each, Lost)}
    assert lost <= case.damaged


@given(cases())
def test_a_lost_record_before_a_kept_one_is_named_by_its_hash(case: Case) -> None:
    decisions, _ = carried(case.table, case.start, case.head)

    last_acknowledged = (case.acknowledged or 0) - 1
    for each, after in zip_longest(decisions, decisions[1:]):
        if isinstance(each, Lost) and (isinstance(after, Kept) or each.seq == last_acknowledged):
            assert each.leaf == case.genuine[each.seq].leaf


@given(cases((*HARMS, "recompute", "recompute")))
def test_confirmed_records_are_genuine_even_where_leaves_were_recomputed(case: Case) -> None:
    _, written = carried(case.table, case.start, case.head)

    assert first_break(written, case.start) is None
    losses = list_losses(written, case.start, incident=INCIDENT, origin=ORIGIN, head=case.head)
    for row in written:
        if losses.confirmed_from <= row.seq < (losses.acknowledged_size or 0):
            assert row == case.genuine[row.seq]


def shifted() -> Case:
    """Records 2 and 3 stand one row too early: the second step asks for 3, whose row it passed."""
    genuine = log(5)
    table = [
        genuine[0],
        Row(1, genuine[2].record, genuine[2].leaf),
        Row(2, genuine[3].record, genuine[3].leaf),
        genuine[4],
    ]
    return Case(genuine, 0, None, table, frozenset({1, 2, 3}))


@given(cases(), st.integers(0, 40))
@example(shifted(), 2)
def test_carrying_over_in_two_steps_gives_the_same_rows_as_in_one(case: Case, held: int) -> None:
    decisions, at_once = carried(case.table, case.start, case.head)

    bulk = decisions[: len(decisions) - held] if held < len(decisions) else []
    first = list(write_tail(bulk, case.start, incident=INCIDENT, origin=ORIGIN, at=AT))
    between = Start.after(first[-1].seq, first[-1].record) if first else case.start
    _, rest = carried(case.table, between, case.head)
    if not any(isinstance(each, Lost) for each in bulk[-1:]):
        assert first + rest == at_once
    assert first_break(first + rest, case.start) is None


def test_one_altered_row_costs_one_row() -> None:
    genuine = log(20)
    table = [forged(row, recomputed=True) if row.seq == 13 else row for row in genuine]

    decisions, written = carried(table, start_of(genuine, 10), head_at(genuine, 20))

    assert [each.seq for each in decisions if isinstance(each, Lost)] == [13]
    assert lost_leaf(written[3].record) == genuine[13].leaf
    assert written[4] == genuine[14]


def test_a_run_of_deleted_rows_names_only_its_last() -> None:
    genuine = log(20)
    table = [row for row in genuine if row.seq not in (12, 13, 14)]
    start = start_of(genuine, 10)

    _, written = carried(table, start, head_at(genuine, 20))

    losses = list_losses(
        written, start, incident=INCIDENT, origin=ORIGIN, head=head_at(genuine, 20)
    )
    assert losses.lost == (LostRange(12, 3, ("", "", genuine[14].leaf.hex())),)
    assert losses.records == 3
    assert losses.confirmed_from == 15


def test_a_dropped_table_gives_tombstones_up_to_what_was_acknowledged() -> None:
    genuine = log(16)
    start = start_of(genuine, 10)

    _, written = carried([], start, head_at(genuine, 16))

    assert [row.seq for row in written] == list(range(10, 16))
    assert all(is_tombstone(row.record) for row in written)
    # The writers' next record carries the hash of their last: it must still fit.
    next_line = record(16, genuine[15].leaf.hex())
    assert first_break([*written, Row(16, next_line, leaf_hash(next_line))], start) is None


def test_rows_beyond_the_acknowledged_ones_are_kept_while_they_chain() -> None:
    genuine = log(20)

    decisions, written = carried(genuine, start_of(genuine, 10), head_at(genuine, 15))

    assert all(isinstance(each, Kept) for each in decisions)
    assert written == genuine[10:]


def test_a_forged_history_after_the_signed_head_is_not_carried_over() -> None:
    genuine = log(12)
    other = record(12, "ab" * 32)
    table = [*genuine, Row(12, other, leaf_hash(other))]

    decisions, _ = carried(table, start_of(genuine, 12), None)

    assert decisions == [Lost(12, None)]


def test_a_last_record_in_another_form_is_lost_because_the_verifier_would_refuse_it() -> None:
    genuine = log(14)
    table = [*genuine[:13], loosely_written(genuine[13])]

    decisions, written = carried(table, start_of(genuine, 10), None)

    assert decisions[-1] == Lost(13, None)
    assert all(canonical_line(parse_line(row.record)) == row.record for row in written)


def test_a_list_says_whether_the_writers_could_be_asked() -> None:
    genuine = log(12)
    start = start_of(genuine, 10)

    def listed(head: WritersHead | None) -> dict[str, object]:
        losses = list_losses(genuine[10:], start, incident=INCIDENT, origin=ORIGIN, head=head)
        return losses.as_json()

    asked, unasked = listed(head_at(genuine, 12)), listed(None)
    assert (asked["acknowledged_size"], asked["acknowledged_known"]) == (12, True)
    assert (unasked["acknowledged_size"], unasked["acknowledged_known"]) == (None, False)


def test_reordered_records_are_put_back_in_their_places() -> None:
    genuine = log(20)
    table = list(genuine)
    table[12] = Row(12, genuine[13].record, genuine[13].leaf)
    table[13] = Row(13, genuine[12].record, genuine[12].leaf)

    _, written = carried(table, start_of(genuine, 10), head_at(genuine, 20))

    assert written == genuine[10:]


def test_a_tombstone_slipped_in_beside_the_record_does_not_replace_it() -> None:
    genuine = log(14)
    false = tombstone_line(
        12, genuine[11].leaf.hex(), genuine[12].leaf, "INC-false", AT, origin=ORIGIN
    )
    table = [*genuine[:12], Row(12, false, leaf_hash(false)), *genuine[12:]]

    _, written = carried(table, start_of(genuine, 10), head_at(genuine, 14))

    assert written == genuine[10:]


def test_a_tombstone_put_in_a_records_place_is_on_the_loss_list() -> None:
    genuine = log(14)
    start = start_of(genuine, 10)
    false = tombstone_line(
        12, genuine[11].leaf.hex(), genuine[12].leaf, "INC-false", AT, origin=ORIGIN
    )
    table = [*genuine[:12], Row(12, false, leaf_hash(false)), genuine[13]]

    _, written = carried(table, start, head_at(genuine, 14))

    losses = list_losses(
        written, start, incident=INCIDENT, origin=ORIGIN, head=head_at(genuine, 14)
    )
    assert losses.lost == (LostRange(12, 1, (genuine[12].leaf.hex(),)),)


def test_a_row_far_beyond_the_others_does_not_make_millions_of_tombstones() -> None:
    genuine = log(12)
    far = genuine[11].seq + MAX_GAP + 10
    line = record(far, "ab" * 32)

    _, written = carried([*genuine, Row(far, line, leaf_hash(line))], start_of(genuine, 10), None)

    assert written == genuine[10:]


def test_a_writers_head_beyond_reason_is_refused() -> None:
    with pytest.raises(BadInput, match="correct the head that the writers report"):
        judge_tail([], Start.genesis(), ORIGIN, WritersHead(MAX_TAIL + 1, b"\x00" * 32))


def test_a_break_in_the_chain_is_found_at_its_seq() -> None:
    genuine = log(12)
    broken = [*genuine[:7], forged(genuine[7], recomputed=True), *genuine[8:]]

    assert first_break(genuine, Start.genesis()) is None
    assert first_break(broken, Start.genesis()) == 8
    assert first_break([*genuine[:5], *genuine[6:]], Start.genesis()) == 5
