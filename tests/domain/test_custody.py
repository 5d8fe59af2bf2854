"""The chain of custody: every kind of tampering is found, and cutting off by an anchored head."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.custody import (
    LINE_LIMIT,
    NO_HASH,
    Act,
    Action,
    Actor,
    Custody,
    CustodyHead,
    entry_line,
    verify_custody,
)
from tasks.domain.errors import BadInput

AT = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)


def act(number: int = 0, **more: object) -> Act:
    values = {
        "event_id": f"e{number}",
        "item_id": f"item-{number}",
        "action": Action.COLLECTED,
        "at": AT + timedelta(seconds=number),
        "actor": Actor("responder", "runbook"),
        "tool": "pg_dump",
        "version": "18.6",
        "reason": "suspected breach",
        **more,
    }
    return Act(**values)  # type: ignore[arg-type]  the fields, some of them given


def log(length: int, **more: object) -> tuple[list[bytes], CustodyHead]:
    head, lines = CustodyHead(), []
    for number in range(length):
        line, head = entry_line(head, act(number, **more))
        lines.append(line)
    return lines, head


def test_a_log_whose_head_is_anchored_is_complete() -> None:
    lines, head = log(5)
    found = verify_custody(lines, [head])
    assert (found.custody, found.head) == (Custody.COMPLETE, head)


def test_without_an_anchor_nobody_knows_whether_the_end_is_there() -> None:
    lines, _ = log(5)
    assert verify_custody(lines).custody is Custody.CONSISTENT
    assert verify_custody(lines, [log(3)[1]]).custody is Custody.CONSISTENT


def test_an_empty_log_is_the_one_that_was_anchored_or_it_is_truncated() -> None:
    assert verify_custody([], [CustodyHead()]).custody is Custody.COMPLETE
    assert verify_custody([], [log(1)[1]]).custody is Custody.TRUNCATED


@given(some.integers(1, 6), some.data())
def test_one_changed_byte_anywhere_is_found(length: int, data: some.DataObject) -> None:
    lines, head = log(length, remarks="caf\u00e9 \u202e")
    place = data.draw(some.integers(0, length - 1))
    at = data.draw(some.integers(0, len(lines[place]) - 1))
    other = data.draw(some.integers(0, 255).filter(lambda byte: byte != lines[place][at]))
    lines[place] = lines[place][:at] + bytes([other]) + lines[place][at + 1 :]
    found = verify_custody(lines, [head])
    assert found.custody is Custody.BROKEN
    assert found.reason.startswith(f"entry {place}: ")


@given(some.integers(2, 7), some.data())
def test_deleting_swapping_and_repeating_entries_are_found(
    length: int, data: some.DataObject
) -> None:
    lines, head = log(length)
    place = data.draw(some.integers(0, length - 2))
    deleted = lines[:place] + lines[place + 1 :]
    swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
    repeated = [*lines[: place + 1], lines[place], *lines[place + 1 :]]
    for altered in (deleted, swapped, repeated):
        assert verify_custody(altered, [head]).custody is Custody.BROKEN


def test_a_log_that_was_cut_off_is_truncated_and_says_how_much_was_there() -> None:
    lines, head = log(5)
    found = verify_custody(lines[:3], [head])
    assert found.custody is Custody.TRUNCATED
    assert found.reason == "expected at least 5 entries as anchored, found 3"


def test_a_whole_log_that_was_forged_anew_does_not_fit_its_anchor() -> None:
    forged, _ = log(5, reason="routine")
    found = verify_custody(forged, [log(5)[1]])
    assert found.custody is Custody.BROKEN
    assert "anchored hash" in found.reason


def test_a_clock_that_was_set_back_does_not_reorder_the_acts() -> None:
    first, head = entry_line(CustodyHead(), act(at=AT))
    second, head = entry_line(head, act(1, at=AT - timedelta(hours=2)))
    entry = json.loads(second)
    assert entry["at_utc"] == AT.isoformat()
    assert "the clock said 2026-11-22T01:12:00+00:00" in entry["remarks"]
    assert verify_custody([first, second], [head]).custody is Custody.COMPLETE


def test_times_are_kept_in_utc() -> None:
    line, _ = entry_line(CustodyHead(), act(at=datetime.fromisoformat("2026-11-22T04:12:00+01:00")))
    assert json.loads(line)["at_utc"] == "2026-11-22T03:12:00+00:00"


def test_an_act_without_an_offset_is_refused() -> None:
    with pytest.raises(BadInput, match="with its offset"):
        entry_line(CustodyHead(), act(at=AT.replace(tzinfo=None)))


@pytest.mark.parametrize("remarks", ["x" * LINE_LIMIT, "\ud800"])
def test_an_entry_that_is_too_long_or_no_text_is_refused(remarks: str) -> None:
    with pytest.raises(BadInput):
        entry_line(CustodyHead(), act(remarks=remarks))


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"null\n",
        b"{}\n",
        b"\xff\n",
        b'{"a":1}\n',
        b"{" * 100_000 + b"\n",
        b'{"seq": 0}\n',
        b'{"seq":false}\n',
        b'{"n":1e999}\n',
    ],
)
def test_a_line_that_is_no_entry_breaks_the_log_with_its_place(line: bytes) -> None:
    lines, _ = log(2)
    found = verify_custody([*lines, line])
    assert found.custody is Custody.BROKEN
    assert found.reason.startswith("entry 2: ")


def test_the_first_entry_has_nothing_before_it() -> None:
    assert json.loads(log(1)[0][0])["prev_hash"] == NO_HASH
