"""Shards: any cutting gives the same verdict, and what is no answer to a shard is refused."""

import random
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.ledger import Code, Finding, Status, leaf_hashes
from tasks.domain.ledger.blocks import BLOCK, SignedBlocks
from tasks.domain.ledger.comparison import joined
from tasks.domain.ledger.judgement import Subject, judge
from tasks.domain.ledger.self_test import kernel_fault
from tasks.domain.ledger.shard_answers import (
    ShardFailed,
    accepted,
    encode_failure,
    encode_part,
)
from tasks.domain.ledger.shards import AnswerError, Maker, Shard
from tasks.domain.ledger.tree import CompactRange
from tasks.work.signed_tree import signed_tree
from tasks.work.verification import compare_rows
from tests.domain.ledger import large_log
from tests.domain.ledger.sample_log import ORIGIN, TRUST, MemoryLog

SIZE = large_log.SIZE
MAKER = Maker("c" * 64, "hashlib")
QUICK = settings(max_examples=30, derandomize=True, deadline=None, database=None)
RUNS = [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]
CUTS = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]


@cache
def head():
    return TRUST.open(large_log.files()[f"checkpoints/{SIZE}"].decode()).checkpoint


@cache
def signed() -> SignedBlocks:
    return signed_tree(MemoryLog(large_log.files()), head())[0]


def shard(begin, end, run="r" * 32):
    return Shard("table", ORIGIN, SIZE, head().root, begin, end, end == 3, run)


def altered(line):
    return line.replace(b'"session_id":"s"', b'"session_id":"x"')


@cache
def rows(damage: str):
    """Every record as (seq, line), damaged somewhere near a seam."""
    kept = list(enumerate(large_log.lines()))
    if damage == "altered":
        for at in (0, BLOCK - 1, BLOCK, SIZE - 1):
            kept[at] = (at, altered(kept[at][1]))
    elif damage == "missing over a seam":
        del kept[BLOCK - 5 : BLOCK + 7]
    elif damage == "exchanged over a seam":
        (a, one), (b, other) = kept[BLOCK - 1 : BLOCK + 1]
        kept[BLOCK - 1 : BLOCK + 1] = [(a, other), (b, one)]
    elif damage == "cut off in an earlier block":
        del kept[BLOCK + 100 :]
    elif damage == "here and there":
        drawn = random.Random(7)
        for at in drawn.sample(range(SIZE), 20):
            kept[at] = (at, altered(kept[at][1]))
        for at in sorted(drawn.sample(range(SIZE), 20), reverse=True):
            del kept[at]
    return kept


DAMAGES = ("none", "altered", "missing over a seam", "exchanged over a seam")
MORE = ("cut off in an earlier block", "here and there")


@cache
def answer(damage, begin, end, *, known=True):
    first, stop = begin * BLOCK, None if end == 3 else end * BLOCK
    mine = [each for each in rows(damage) if each[0] >= first and (not stop or each[0] < stop)]
    batches = (mine[at : at + 4000] for at in range(0, len(mine), 4000))
    columns = (([seq for seq, _ in part], [line for _, line in part]) for part in batches)
    tree = signed() if known else SignedBlocks.unknown(SIZE)
    return encode_part(shard(begin, end), MAKER, (compare_rows(columns, tree, first, stop), ()))


def part(damage, begin, end, *, known=True):
    tree = signed() if known else SignedBlocks.unknown(SIZE)
    return accepted(shard(begin, end), answer(damage, begin, end, known=known), MAKER, tree)


@pytest.mark.parametrize("damage", [*DAMAGES, *MORE])
def test_any_cutting_into_shards_gives_the_same_verdict(damage):
    verdicts = []
    for cut in CUTS:
        done = joined("table", [part(damage, *run)[0] for run in cut])
        verdicts.append(judge(Subject("table", head()), done, ()))
    assert all(each == verdicts[0] for each in verdicts)
    assert (verdicts[0].status is Status.VERIFIED) == (damage == "none")


def test_shards_of_a_tree_of_which_only_the_root_is_known_are_judged_together():
    for damage, expected in (("none", Status.VERIFIED), ("altered", Status.TAMPERED)):
        for cut in CUTS[::3]:
            parts = [part(damage, *run, known=False)[0] for run in cut]
            assert judge(Subject("table", head()), joined("table", parts), ()).status is expected


@QUICK
@given(st.data())
def test_an_answer_with_any_byte_altered_or_cut_off_is_refused(data):
    sent = answer(data.draw(st.sampled_from(DAMAGES)), 0, 2)
    at = data.draw(st.integers(0, len(sent) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda each: each != sent[at]))
    for wrong in (sent[:at], sent[:at] + bytes([other]) + sent[at + 1 :], sent + b" "):
        with pytest.raises(AnswerError):
            accepted(shard(0, 2), wrong, MAKER, signed())


@QUICK
@given(st.binary() | st.text() | st.none() | st.dictionaries(st.text(), st.text()))
def test_anything_that_is_no_answer_is_refused(sent):
    with pytest.raises(AnswerError):
        accepted(shard(0, 2), sent, MAKER, signed())


@pytest.mark.parametrize("asked", RUNS)
@pytest.mark.parametrize("given_run", RUNS)
def test_an_answer_counts_for_its_own_shard_alone(asked, given_run):
    sent = answer("none", *given_run)
    if asked == given_run:
        assert accepted(shard(*asked), sent, MAKER, signed())[0].matched > 0
        with pytest.raises(AnswerError, match="another shard"):
            accepted(shard(*asked, run="q" * 32), sent, MAKER, signed())
        other = replace(shard(*asked), root=bytes(32))
        with pytest.raises(AnswerError, match="another shard"):
            accepted(other, sent, MAKER, signed())
    else:
        with pytest.raises(AnswerError, match="another shard"):
            accepted(shard(*asked), sent, MAKER, signed())


def _node(whole, at):
    nodes = list(whole.nodes)
    nodes[at] = bytes(32)
    return CompactRange(whole.begin, whole.end, tuple(nodes))


LIES = {
    "another source": lambda one: replace(one, source="store"),
    "another beginning": lambda one: replace(one, begin=one.begin + 1),
    "another end": lambda one: replace(one, end=one.end + BLOCK),
    "fewer as signed": lambda one: replace(one, matched=one.matched - 1),
    "more as signed": lambda one: replace(one, matched=one.matched + 1),
    "fewer read": lambda one: replace(one, records=one.records - 1),
    "more read": lambda one: replace(one, records=one.records + 1),
    "more bytes than lines hold": lambda one: replace(one, size=1 << 50),
    "another node": lambda one: replace(one, whole=_node(one.whole, 0)),
    "the tree of fewer": lambda one: replace(one, whole=CompactRange.empty(one.begin)),
    "open blocks whose root is known": lambda one: replace(one, supposed=((0, BLOCK),)),
    "left open instead of compared": lambda one: replace(one, matched=0, supposed=((0, BLOCK),)),
    "no link before": lambda one: replace(one, first_link=None),
    "no link after": lambda one: replace(one, last_links=None),
    "a finding elsewhere": lambda one: replace(
        one, findings=(Finding(Code.MODIFIED, "table", 2 * BLOCK),)
    ),
    "a finding about others": lambda one: replace(
        one, findings=(Finding(Code.MODIFIED, "api", 1),)
    ),
    "missing, and yet as signed": lambda one: replace(
        one, findings=(Finding(Code.DELETED, "table", 5, 10),)
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_does_not_add_up_is_refused(lie):
    done, beside = part("none", 0, 1)
    sent = encode_part(shard(0, 1), MAKER, (LIES[lie](done), beside))
    with pytest.raises(AnswerError, match="expected"):
        accepted(shard(0, 1), sent, MAKER, signed())


@pytest.mark.parametrize("damage", ["altered", "missing over a seam", "here and there"])
def test_a_finding_that_is_left_out_is_missed(damage):
    done, _ = part(damage, 0, 2)
    for at in range(len(done.findings)):
        fewer = replace(done, findings=done.findings[:at] + done.findings[at + 1 :])
        with pytest.raises(AnswerError):
            accepted(shard(0, 2), encode_part(shard(0, 2), MAKER, (fewer, ())), MAKER, signed())


def test_the_last_shards_tree_is_compared_down_to_its_partial_block():
    done, _ = part("none", 1, 3)
    for at in range(len(done.whole.nodes)):
        wrong = replace(done, whole=_node(done.whole, at))
        with pytest.raises(AnswerError, match="nodes of the signed one"):
            accepted(shard(1, 3), encode_part(shard(1, 3), MAKER, (wrong, ())), MAKER, signed())


def test_who_copies_the_public_tree_and_calls_all_good_is_not_found_by_its_answer():
    """The limit that `shards` states: hashing some again is what finds it."""
    done, beside = part("none", 0, 1)
    forged = encode_part(shard(0, 1), MAKER, (done, beside))
    assert part("altered", 0, 1)[0].findings
    assert accepted(shard(0, 1), forged, MAKER, signed())[0].findings == ()


def test_an_answer_of_other_code_or_another_kernel_is_refused():
    done = part("none", 0, 1)
    for other in (Maker("d" * 64, "hashlib"), Maker("c" * 64, "native")):
        with pytest.raises(AnswerError, match="run the same image"):
            accepted(shard(0, 1), encode_part(shard(0, 1), other, done), MAKER, signed())


def test_a_failure_is_told_with_its_kind_and_bounded():
    sent = encode_failure(shard(0, 1), MAKER, TimeoutError("x" * 10_000))
    with pytest.raises(ShardFailed) as raised:
        accepted(shard(0, 1), sent, MAKER, signed())
    assert raised.value.kind == "TimeoutError"
    assert len(str(raised.value)) < 1000


def test_a_shard_of_the_unsigned_tail_alone_is_accepted():
    lines = large_log.lines()[: BLOCK + 3]
    whole = SignedBlocks.of_leaves(leaf_hashes(lines[:BLOCK]))
    asked = Shard("table", ORIGIN, BLOCK, bytes(32), 1, 2, True, "r" * 32)
    tail = [(range(BLOCK, BLOCK + 3), lines[BLOCK:])]
    for rows_given, told in (([], 0), (tail, 3)):
        done = compare_rows(rows_given, whole, BLOCK, None)
        sent = encode_part(asked, MAKER, (done, ()))
        got, _ = accepted(asked, sent, MAKER, whole)
        assert (got, got.records) == (done, told)


def test_our_own_kernel_is_sound():
    assert kernel_fault() == ""
