"""Attacks on the rows of a source, and the findings that each must give: no more and no fewer."""

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger import INFORMATIONAL, leaf_hash, leaf_hashes, tombstone_line
from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.compare import Comparer
from tests.domain.ledger.sample_log import chained, plain_leaf, record

SIGNED = 300
LINES = chained(SIGNED)
GROWN = chained(SIGNED + 8, LINES)
LEAVES = leaf_hashes(LINES)
AT = datetime(2026, 3, 14, tzinfo=UTC)


def compare(rows, leaves=LEAVES, *, batch=64, limit=10_000):
    comparer = Comparer("table", SignedBlocks.of_leaves(leaves), limit=limit)
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        comparer.add([seq for seq, _ in part], [line for _, line in part])
    return comparer.finish()


def is_clean(comparison):
    return all(finding.code in INFORMATIONAL for finding in comparison.findings)


def rows_of(lines):
    return list(enumerate(lines))


def changed(seq, line, lines=LINES):
    return [*rows_of(lines[:seq]), (seq, line), *rows_of(lines)[seq + 1 :]]


def found(comparison):
    return {(finding.code.value, finding.first, finding.count) for finding in comparison.findings}


def rewritten(seq):
    return chained(SIGNED, LINES[:seq], session_id="evil")


def stone(seq, prev, lost):
    return tombstone_line(seq, prev, lost, "incident", AT)


LEAF_40 = leaf_hash(LINES[40])
STONE = stone(40, leaf_hash(LINES[39]).hex(), LEAF_40)
LAST = leaf_hash(LINES[-1])
# Record 300 was lost before it was signed; 301 chains to it still, and so names its leaf.
TAIL_STONE = stone(300, LAST.hex(), leaf_hash(GROWN[300]))
BLIND_STONE = stone(300, LAST.hex(), None)


def insert_renumbered(at):
    shifted = [(seq + 1, line) for seq, line in rows_of(LINES)[at:]]
    return [*rows_of(LINES)[:at], (at, record(at, "0" * 64)), *shifted]


ATTACKS = {
    "clean log": (rows_of(LINES), set()),
    "normal growth": (rows_of(GROWN), {("UNSIGNED_TAIL", 300, 8)}),
    "one bit flipped in a value": (
        changed(17, LINES[17].replace(b'"session_id":"s0"', b'"session_id":"r0"')),
        {("MODIFIED", 17, 1)},
    ),
    "record rewritten and the rest chained anew": (
        rows_of(rewritten(100)),
        {("MODIFIED", 100, 200)},
    ),
    "two neighbours rewritten": (
        [*rows_of(LINES[:5]), *rows_of(rewritten(5))[5:7], *rows_of(LINES)[7:]],
        {("MODIFIED", 5, 2)},
    ),
    "middle record deleted": (
        [row for row in rows_of(LINES) if row[0] != 40],
        {("DELETED", 40, 1)},
    ),
    "first record deleted": (rows_of(LINES)[1:], {("DELETED", 0, 1)}),
    "two runs deleted": (
        [row for row in rows_of(LINES) if row[0] not in {7, 8, 9, 100}],
        {("DELETED", 7, 3), ("DELETED", 100, 1)},
    ),
    "middle record deleted and the rest renumbered": (
        [(seq - (seq > 40), line) for seq, line in rows_of(LINES) if seq != 40],
        {("REORDERED", 40, 259), ("SEQ_MISMATCH", 40, 259), ("TRUNCATED", 299, 1)},
    ),
    "record inserted and the rest renumbered": (
        insert_renumbered(290),
        {
            ("MODIFIED", 290, 1),
            ("REORDERED", 291, 9),
            ("SEQ_MISMATCH", 291, 10),
            ("CHAIN_BREAK", 300, 1),
            ("UNSIGNED_TAIL", 300, 1),
        },
    ),
    "tail truncated": (rows_of(LINES[:290]), {("TRUNCATED", 290, 10)}),
    "table emptied": ([], {("TRUNCATED", 0, 300)}),
    "two rows swap contents": (
        [*rows_of(LINES[:5]), (5, LINES[6]), (6, LINES[5]), *rows_of(LINES)[7:]],
        {("REORDERED", 5, 2), ("SEQ_MISMATCH", 5, 2)},
    ),
    "rows stored in another order": (
        [*rows_of(LINES[:5]), (6, LINES[6]), (5, LINES[5]), *rows_of(LINES)[7:]],
        {("REORDERED", 5, 1)},
    ),
    "row stored twice": (
        [*rows_of(LINES[:8]), (7, LINES[7]), *rows_of(LINES)[8:]],
        {("INSERTED", 7, 1)},
    ),
    "second row of a seq with another text": (
        [*rows_of(LINES[:8]), (7, record(7, "0" * 64)), *rows_of(LINES)[8:]],
        {("INSERTED", 7, 1)},
    ),
    "row before the first": ([(-1, LINES[0]), *rows_of(LINES)], {("INSERTED", -1, 1)}),
    "other key order and spaces": (
        changed(9, json.dumps(dict(reversed(json.loads(LINES[9]).items()))).encode()),
        {("MODIFIED", 9, 1), ("NONCANONICAL", 9, 1)},
    ),
    "float rendered anew": (
        changed(7, LINES[7].replace(b'"reward":1.0', b'"reward":1.00')),
        {("MODIFIED", 7, 1), ("NONCANONICAL", 7, 1)},
    ),
    "duplicate key smuggled in": (
        changed(9, LINES[9].replace(b'"seq":9', b'"seq":9,"seq":9')),
        {("MODIFIED", 9, 1), ("UNPARSEABLE", 9, 1)},
    ),
    "NaN smuggled in": (
        changed(7, LINES[7].replace(b'"reward":1.0', b'"reward":NaN')),
        {("MODIFIED", 7, 1), ("UNPARSEABLE", 7, 1)},
    ),
    "deep nesting": (
        changed(7, b'{"a":' + b"[" * 100_000),
        {("MODIFIED", 7, 1), ("UNPARSEABLE", 7, 1)},
    ),
    "record emptied": (changed(3, b""), {("MODIFIED", 3, 1), ("UNPARSEABLE", 3, 1)}),
    "inner node passed off as a record": (
        changed(3, plain_leaf(LINES[0]) + plain_leaf(LINES[1])),
        {("MODIFIED", 3, 1), ("UNPARSEABLE", 3, 1)},
    ),
    "seq rewritten inside the line": (
        changed(9, LINES[9].replace(b'"seq":9', b'"seq":8')),
        {("MODIFIED", 9, 1), ("SEQ_MISMATCH", 9, 1)},
    ),
    "another log's records, sound in themselves": (
        rows_of(chained(SIGNED, origin="audit.example/dev")),
        {("MODIFIED", 0, 300)},
    ),
    "a lost record with its tombstone": (changed(40, STONE), {("LOST", 40, 1)}),
    "a tombstone that hides a record it does not name": (
        changed(40, stone(40, leaf_hash(LINES[39]).hex(), LAST)),
        {("MODIFIED", 40, 1)},
    ),
    "a tombstone written over a record that is not lost elsewhere": (
        changed(40, stone(40, leaf_hash(LINES[39]).hex(), None)),
        {("MODIFIED", 40, 1)},
    ),
    "unsigned record altered": (
        changed(303, record(303, leaf_hash(GROWN[302]).hex(), session_id="evil"), GROWN),
        {("CHAIN_BREAK", 304, 1), ("UNSIGNED_TAIL", 300, 8)},
    ),
    "unsigned record deleted": (
        [row for row in rows_of(GROWN) if row[0] != 303],
        {("DELETED", 303, 1), ("UNSIGNED_TAIL", 300, 7)},
    ),
    "unsigned record inserted between seqs": (
        [*rows_of(GROWN[:304]), (303, record(303, "0" * 64)), *rows_of(GROWN)[304:]],
        {("INSERTED", 303, 1), ("UNSIGNED_TAIL", 300, 8)},
    ),
    "first unsigned record not chained to the signed ones": (
        [*rows_of(LINES), (300, record(300, "0" * 64))],
        {("CHAIN_BREAK", 300, 1), ("UNSIGNED_TAIL", 300, 1)},
    ),
    "unsigned record without canonical form": (
        [*rows_of(LINES), (300, json.dumps(json.loads(GROWN[300])).encode())],
        {("NONCANONICAL", 300, 1), ("UNSIGNED_TAIL", 300, 1)},
    ),
    "unsigned record that is no JSON": (
        [*rows_of(LINES), (300, b"\xff")],
        {("UNPARSEABLE", 300, 1), ("UNSIGNED_TAIL", 300, 1)},
    ),
    "unsigned record with a seq of its own": (
        [*rows_of(LINES), (300, record(301, LAST.hex()))],
        {("SEQ_MISMATCH", 300, 1), ("UNSIGNED_TAIL", 300, 1)},
    ),
    "unsigned record whose link is no text": (
        [*rows_of(LINES), (300, record(300, "\ud800"))],
        {("CHAIN_BREAK", 300, 1), ("UNSIGNED_TAIL", 300, 1)},
    ),
    "unsigned lost record with a tombstone that knows it": (
        [*rows_of(LINES), (300, TAIL_STONE), *rows_of(GROWN)[301:]],
        {("UNSIGNED_TAIL", 300, 8)},
    ),
    "new record chained to a tombstone itself": (
        [*rows_of(LINES), (300, TAIL_STONE), (301, record(301, leaf_hash(TAIL_STONE).hex()))],
        {("UNSIGNED_TAIL", 300, 2)},
    ),
    "unsigned lost record with a tombstone that knows nothing": (
        [*rows_of(LINES), (300, BLIND_STONE), *rows_of(GROWN)[301:]],
        {("CHAIN_BREAK", 301, 1), ("UNSIGNED_TAIL", 300, 8)},
    ),
    "a far seq": (
        [*rows_of(LINES), (2**62, record(2**62, LAST.hex()))],
        {("DELETED", 300, 2**62 - 300), ("UNSIGNED_TAIL", 300, 1)},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("batch", [1, 64, 1000])
def test_each_attack_gives_exactly_its_findings(attack, batch):
    rows, expected = ATTACKS[attack]
    assert found(compare(rows, batch=batch)) == expected


def test_a_log_is_clean_only_without_findings_that_speak_against_it():
    assert is_clean(compare(rows_of(GROWN)))
    assert not is_clean(compare(rows_of(GROWN[:299])))


def test_a_single_altered_record_names_both_hashes():
    line = LINES[17].replace(b"s0", b"r0")
    (finding,) = compare(changed(17, line)).findings
    assert finding.expected == leaf_hash(LINES[17]).hex()
    assert finding.found == leaf_hash(line).hex()


def test_a_lost_last_signed_record_still_anchors_the_tail():
    lost = stone(299, leaf_hash(LINES[298]).hex(), LAST)
    rows = [*rows_of(LINES[:299]), (299, lost), *rows_of(GROWN)[300:]]
    assert found(compare(rows)) == {("LOST", 299, 1), ("UNSIGNED_TAIL", 300, 8)}


def test_a_tombstone_that_was_sealed_is_as_signed_and_its_successors_too():
    lines = [*LINES[:40], STONE, *LINES[41:]]
    assert found(compare(rows_of(lines), leaf_hashes(lines))) == set()


def test_a_break_that_was_signed_is_still_called_a_break():
    lines = [*LINES[:40], record(40, "1" * 64), *LINES[41:]]
    expected = {("CHAIN_BREAK", 40, 2)}
    assert found(compare(rows_of(lines), leaf_hashes(lines))) == expected


def test_nothing_signed_makes_everything_an_unsigned_tail():
    assert found(compare(rows_of(LINES), b"")) == {("UNSIGNED_TAIL", 0, 300)}
    assert compare([], b"").findings == ()


def test_findings_beyond_the_limit_are_counted_not_listed():
    rows = [row for row in rows_of(LINES) if row[0] % 2]
    comparison = compare(rows, limit=10)
    assert len(comparison.findings) == 11
    assert comparison.findings[-1].first is None
    assert sum(finding.count for finding in comparison.findings) == 150


@given(st.integers(0, SIGNED - 1), st.randoms(use_true_random=False))
def test_any_changed_byte_of_any_record_is_found_at_its_seq(seq, chance: random.Random):
    line = bytearray(LINES[seq])
    line[chance.randrange(len(line))] ^= chance.randint(1, 255)
    comparison = compare(changed(seq, bytes(line)))
    assert ("MODIFIED", seq, 1) in found(comparison)
    assert comparison.matched == SIGNED - 1


@given(st.lists(st.tuples(st.integers(-2, SIGNED + 3), st.integers(0, SIGNED + 7)), max_size=40))
def test_any_rows_but_the_signed_ones_are_never_clean(rows):
    lines = [(seq, GROWN[at]) for seq, at in rows]
    assert not is_clean(compare(lines))


def test_a_tail_is_not_called_broken_where_nothing_is_known_of_the_record_before():
    comparer = Comparer("table", SignedBlocks.unknown(SIGNED), SIGNED)
    comparer.add([SIGNED, SIGNED + 1], GROWN[SIGNED : SIGNED + 2])
    assert found(comparer.finish()) == {("UNSIGNED_TAIL", SIGNED, 2)}
