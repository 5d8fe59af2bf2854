"""Hashing, trees, compact ranges and proofs against published vectors and the plain definition."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger import (
    EMPTY_ROOT,
    CompactRange,
    MerkleTree,
    ProofError,
    leaf_hash,
    leaf_hashes,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.domain.ledger.sample_log import plain_root

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ledger/rfc6962.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
MANY = [leaf_hash(b"%d" % number) for number in range(40)]
TREE = MerkleTree(MANY)


def hashes(proof):
    return [bytes.fromhex(part) for part in proof]


@pytest.mark.parametrize("size", range(9))
def test_the_standard_leaves_have_the_published_roots(size):
    assert tree_root(LEAVES[:size]) == ROOTS[size]
    assert tree_root(b"".join(LEAVES[:size])) == ROOTS[size]
    assert MerkleTree(LEAVES).root(size) == ROOTS[size]
    assert CompactRange.of(LEAVES[:size]).root() == ROOTS[size]


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_published_inclusion_proofs_are_generated_and_verified(case):
    proof = hashes(case["proof"])
    assert MerkleTree(LEAVES).inclusion_proof(case["index"], case["size"]) == proof
    leaf, root = LEAVES[case["index"]], ROOTS[case["size"]]
    verify_inclusion(case["index"], case["size"], leaf, root, proof)


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_published_consistency_proofs_are_generated_and_verified(case):
    proof = hashes(case["proof"])
    assert MerkleTree(LEAVES).consistency_proof(case["old"], case["new"]) == proof
    verify_consistency(case["old"], case["new"], ROOTS[case["old"]], ROOTS[case["new"]], proof)


def test_roots_of_every_small_size_follow_the_recursive_definition():
    for size in range(len(MANY) + 1):
        assert tree_root(MANY[:size]) == plain_root(MANY[:size])


def test_a_duplicated_last_leaf_changes_the_root():
    assert tree_root(MANY[:3]) != tree_root([*MANY[:3], MANY[2]])


def test_a_leaf_that_spells_an_inner_node_is_not_that_node():
    assert leaf_hash(MANY[0] + MANY[1]) != node_hash(MANY[0], MANY[1])


def test_a_hash_of_wrong_length_is_refused():
    with pytest.raises(ValueError, match="32"):
        tree_root([bytes(31)])
    with pytest.raises(ValueError, match="32"):
        tree_root(bytes(33))


def test_every_inclusion_proof_of_small_trees_holds_and_no_neighbouring_claim_does():
    for size in range(1, 18):
        root = TREE.root(size)
        for index in range(size):
            proof = TREE.inclusion_proof(index, size)
            verify_inclusion(index, size, MANY[index], root, proof)
            lies = [
                (index, size, MANY[index], root, [*proof, MANY[0]]),
                (index, size, MANY[index], root, proof[:-1]) if proof else None,
                (index, size, MANY[index + 1], root, proof),
                (index, size, MANY[index], MANY[0] if size > 1 else MANY[1], proof),
                (size, size, MANY[index], root, proof),
                (-1, size, MANY[index], root, proof),
                (index, size, MANY[index][:31], root, proof),
                (index, size, MANY[index], root, [part[:31] for part in proof]) if proof else None,
                (index, size, MANY[index], root, proof[::-1]) if proof[::-1] != proof else None,
                (index ^ 1, size, MANY[index], root, proof),
            ]
            for lie in filter(None, lies):
                with pytest.raises(ProofError):
                    verify_inclusion(*lie)


def test_every_consistency_proof_of_small_trees_holds_and_no_changed_one_does():
    for new in range(1, 18):
        for old in range(1, new + 1):
            old_root, new_root = TREE.root(old), TREE.root(new)
            proof = TREE.consistency_proof(old, new)
            verify_consistency(old, new, old_root, new_root, proof)
            lies = [
                (old, new, old_root, new_root, [*proof, MANY[39]]),
                (old, new, MANY[39], new_root, proof),
                (old, new, old_root, MANY[39], proof),
                (new + 1, new, old_root, new_root, proof),
                (-1, new, old_root, new_root, proof),
                (old, new, old_root[:31], new_root, proof),
            ]
            lies += [
                (old, new, old_root, new_root, [*proof[:at], MANY[39], *proof[at + 1 :]])
                for at in range(len(proof))
            ]
            if proof:
                lies.append((old, new, old_root, new_root, proof[:-1]))
                lies.append((old, new, old_root, new_root, []))
            for lie in lies:
                with pytest.raises(ProofError):
                    verify_consistency(*lie)


def test_a_tree_of_one_leaf_is_its_leaf_and_needs_no_proof():
    verify_inclusion(0, 1, MANY[0], MANY[0], [])
    with pytest.raises(ProofError):
        verify_inclusion(0, 1, MANY[0], MANY[1], [])


def test_nothing_is_included_in_the_empty_tree():
    with pytest.raises(ProofError):
        verify_inclusion(0, 0, MANY[0], EMPTY_ROOT, [])
    with pytest.raises(ValueError, match="no leaf"):
        MerkleTree(b"").inclusion_proof(0)


def test_everything_extends_the_empty_tree_if_its_root_is_the_empty_one():
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    verify_consistency(0, 5, EMPTY_ROOT, TREE.root(5), [])
    for lie in (
        (0, 5, MANY[0], TREE.root(5), []),
        (0, 5, EMPTY_ROOT, TREE.root(5), [MANY[0]]),
        (0, 0, EMPTY_ROOT, MANY[0], []),
    ):
        with pytest.raises(ProofError):
            verify_consistency(*lie)


def test_equal_sizes_with_two_roots_are_a_fork():
    with pytest.raises(ProofError, match="two roots"):
        verify_consistency(5, 5, TREE.root(5), TREE.root(6), [])


@given(cuts=st.tuples(*[st.integers(0, 40)] * 3).map(sorted), order=st.booleans())
def test_compact_ranges_merge_to_the_whole_in_any_grouping(cuts, order):
    first, second, end = cuts
    a = CompactRange.of(MANY[:first])
    b = CompactRange.of(MANY[first:second], first)
    c = CompactRange.of(MANY[second:end], second)
    merged = a.merge(b).merge(c) if order else a.merge(b.merge(c))
    assert merged == CompactRange.of(MANY[:end])
    assert merged.root() == plain_root(MANY[:end])


def test_appending_leaf_by_leaf_gives_the_same_range():
    grown = CompactRange.empty()
    for leaf in MANY:
        grown = grown.append(leaf)
    assert grown == CompactRange.of(MANY)


def test_ranges_with_a_gap_do_not_merge_and_later_ranges_have_no_root():
    with pytest.raises(ValueError, match="begins at 5"):
        CompactRange.of(MANY[:5]).merge(CompactRange.of(MANY[6:7], 6))
    with pytest.raises(ValueError, match="leaf 0"):
        CompactRange.of(MANY[3:5], 3).root()


@given(st.integers(0, 39), st.integers(0, 255))
def test_any_changed_bit_of_a_leaf_changes_the_root(index, bit):
    changed = bytearray(MANY[index])
    changed[bit // 8] ^= 1 << bit % 8
    assert tree_root([*MANY[:index], bytes(changed), *MANY[index + 1 :]]) != TREE.root()


def test_the_root_of_fifty_thousand_leaves_takes_a_fraction_of_a_second():
    data = os.urandom(50_000 * 32)
    fastest = min(_seconds(tree_root, data) for _ in range(3))
    assert fastest < 0.3  # 0.02 on an idle machine


def test_leaf_hashes_of_a_batch_are_those_of_its_lines():
    lines = [b"", b"a", b"b" * 1000]
    assert leaf_hashes(lines) == b"".join(map(leaf_hash, lines))


def _seconds(work, *arguments):
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began
