"""Record lines: one canonical form, strict reading, chain links and tombstones."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger import (
    GENESIS_PREV,
    RecordError,
    canonical_line,
    chain_link,
    is_tombstone,
    leaf_hash,
    lost_leaf,
    parse_line,
    tombstone_line,
)
from tasks.domain.ledger.records import MAX_LINE_BYTES, links_after, stored_prev
from tests.domain.ledger.sample_log import chained

AT = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
LOST = bytes(range(32))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_is_written_is_read_back_and_written_alike(event):
    line = canonical_line(event)
    assert line.isascii()
    assert b"\n" not in line
    assert canonical_line(parse_line(line)) == line


def test_the_chain_link_comes_first_at_its_fixed_place():
    line = chained(3)[2]
    assert parse_line(line)["_prev"].encode() == stored_prev(line)
    assert line.startswith(b'{"_prev":"')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"a":"x"}',
        b'{"_prev":"short"}',
        b'{ "_prev":"' + b"0" * 64 + b'"}',
        b"\xff" * 90,
    ],
)
def test_a_line_that_begins_otherwise_has_no_stored_link(line):
    assert stored_prev(line) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"a"', "object"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b'{"a":1}\x00', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":1,"a":1}', "duplicate"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1e999}', "beyond"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "deeper"),
        (b'{"a":' + b"[" * 200_000 + b"}", "deeper"),
        (b'{"a":' * 200_000, "deeper"),
        (b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}', "at most"),
        (b'{"a":"\n"}', "not JSON"),
    ],
)
def test_a_line_that_parsers_could_read_differently_is_refused(line, reason):
    with pytest.raises(RecordError, match=reason):
        parse_line(line)


@pytest.mark.parametrize(
    "event",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {1: "a", "b": 2},
        {"a": "x" * MAX_LINE_BYTES},
    ],
)
def test_what_json_cannot_say_is_not_written(event):
    with pytest.raises(RecordError):
        canonical_line(event)


def test_nesting_is_bounded_when_writing_as_when_reading():
    for depth, fits in ((62, True), (63, True), (64, False), (2000, False)):
        value = None
        for _ in range(depth):
            value = [value]
        if fits:
            assert parse_line(canonical_line({"a": value})) == {"a": value}
        else:
            with pytest.raises(RecordError, match=r"deep|recursion"):
                canonical_line({"a": value})


def test_hostile_lines_are_refused_in_bounded_time():
    began = time.perf_counter()
    for line in (b"[" * MAX_LINE_BYTES, b'{"a":' * 200_000, b'{"":[' + b"1," * 500_000 + b"1]}"):
        try:
            parse_line(line)
        except RecordError:
            pass
        else:
            assert json.loads(line)
    assert time.perf_counter() - began < 2


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_else(line):
    try:
        event = parse_line(line)
    except RecordError:
        return
    assert isinstance(event, dict)


def test_the_link_after_a_record_is_its_leaf():
    line = chained(1)[0]
    assert chain_link(line, leaf_hash(line)) == leaf_hash(line).hex()


def test_the_link_after_a_tombstone_is_the_lost_record_s_leaf():
    line = tombstone_line(7, GENESIS_PREV, LOST, "2026-03-14-0300-a1b2c3", AT)
    assert chain_link(line, leaf_hash(line)) == LOST.hex()
    assert links_after(line, leaf_hash(line)) == {
        LOST.hex().encode(),
        leaf_hash(line).hex().encode(),
    }
    assert set(parse_line(line)) == set(parse_line(chained(1)[0]))


def test_the_link_after_a_tombstone_that_knows_nothing_is_its_own_leaf():
    line = tombstone_line(7, GENESIS_PREV, None, "incident", AT)
    assert lost_leaf(line) is None
    assert is_tombstone(line)
    assert chain_link(line, leaf_hash(line)) == leaf_hash(line).hex()


@pytest.mark.parametrize(
    "line",
    [
        b'{"data":{"event_type":"record_lost"},"event_type":"other"}',
        b'{"data":"\\"event_type\\":\\"record_lost\\""}',
        b'{"event_type":"record_lost"',
        b'{"event_type":"record_lost","event_type":"record_lost"}',
    ],
)
def test_a_line_that_only_mentions_a_loss_is_no_tombstone(line):
    assert not is_tombstone(line)
    assert lost_leaf(line) is None


@pytest.mark.parametrize("known", ['"zz"', "7", "null", '"' + "A" * 64 + '"', "[]"])
def test_a_tombstone_with_a_malformed_leaf_knows_nothing(known):
    line = b'{"data":{"lost_leaf":%b},"event_type":"record_lost"}' % known.encode()
    assert lost_leaf(line) is None


def test_a_tombstone_is_not_written_with_malformed_hashes():
    with pytest.raises(RecordError, match="32"):
        tombstone_line(0, GENESIS_PREV, b"short", "incident", AT)
    with pytest.raises(RecordError, match="64"):
        tombstone_line(0, "no link", None, "incident", AT)
