"""Laws: any mutation of anything is detected or provably harmless; trees only grow; proofs bind."""

import base64
import random
from itertools import pairwise

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.domain.ledger import (
    EMPTY_ROOT,
    CompactRange,
    MerkleTree,
    ProofError,
    Status,
    Trust,
    TrustError,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from tasks.work.comparisons import compare_with_anchor, compare_with_api
from tasks.work.verification import verify_log, verify_rows
from tests.domain.ledger.sample_log import plain_root
from tests.domain.ledger.tamper_worlds import (
    GROWN,
    HEAD,
    LINES,
    LOG,
    OLD,
    PLAIN,
    POLICY,
    QUORUM,
    SEGMENT,
    SIZE,
    SUPERSEDED,
    W3,
    Store,
    batches,
    reader,
    root_of,
    small_world,
)

WORLD = small_world()
TRUST = Trust.parse(POLICY)
VERIFIED = Status.VERIFIED

QUICK = settings(max_examples=25, derandomize=True, deadline=None, database=None)
MANY = settings(QUICK, max_examples=80)
CHANCE = st.randoms(use_true_random=False)


# Mutations of bytes


@st.composite
def mutations(draw):
    """A change of bytes: a range flipped, replaced, removed, doubled, moved, or bytes put in."""
    kind = draw(st.sampled_from(["flip", "replace", "insert", "delete", "double", "swap", "cut"]))
    places = [draw(st.floats(0, 1, exclude_max=True)) for _ in range(4)]
    blob = draw(st.binary(min_size=1, max_size=40))
    narrow = draw(st.booleans())
    return kind, sorted(places), blob, narrow


def mutated(data, mutation):
    kind, places, blob, narrow = mutation
    a, b, c, d = (int(place * len(data)) for place in places)
    if narrow:
        b, c, d = a + 1, a + 1, a + 2
    middle = {
        "flip": bytes(each ^ (blob[0] | 1) for each in data[a:b]) + data[b:],
        "replace": blob + data[a + len(blob) :],
        "insert": blob + data[a:],
        "delete": data[b:],
        "double": data[a:b] + data[a:],
        "swap": data[c:d] + data[b:c] + data[a:b] + data[d:],
        "cut": b"",
    }
    return data[:a] + middle[kind]


def lines_of(stored):
    """What a segment holds, if it is one frame and nothing else; None otherwise."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = frame.decompress(stored)
    except zstandard.ZstdError:
        return None
    return plain if frame.eof and not frame.unused_data else None


def is_harmless_note(old, new, *, quorum):
    """The same text, signed by the log, with no line of a known key that was not there before.

    Lines of unknown keys are to be read over, so a witness whose name is altered is one less.
    """
    text, _, before = old.decode().rpartition("\n\n")
    changed, _, after = new.decode().rpartition("\n\n")
    signed = {line: owner(line) for line in after.splitlines() if owner(line)}
    return (
        changed == text
        and set(signed) <= set(before.splitlines())
        and len(signed) == sum(map(bool, map(owner, after.splitlines())))
        and any(key.kind == 1 for key in signed.values())
        and sum(key.kind == 4 for key in signed.values()) >= quorum
    )


def owner(line):
    """The key that the line says it is of, if we know it."""
    _, name, packed = line.split(" ")
    known = {(key.name, key.id): key for key in (LOG, OLD, *QUORUM, W3)}
    return known.get((name, base64.b64decode(packed)[:4]))


def is_harmless(path, old, new):
    """Whether the verdict may stay good although this file was changed."""
    if path in SUPERSEDED:
        return True
    if path == SEGMENT:
        return lines_of(new) == PLAIN
    if path.startswith("checkpoints/"):
        return is_harmless_note(old, new, quorum=2 if path == HEAD else 0)
    return False


@pytest.mark.parametrize("path", sorted(WORLD.files))
@QUICK
@given(mutation=mutations())
def test_any_mutation_of_a_file_is_detected_or_harmless(path, mutation):
    old = WORLD.files[path]
    new = mutated(old, mutation)
    assume(new != old)
    verdict = verify_log(Store(WORLD.files | {path: new}), TRUST, now=WORLD.time)
    assert verdict.status is not VERIFIED or is_harmless(path, old, new)
    if path in SUPERSEDED:
        assert verdict.status is VERIFIED


@pytest.mark.parametrize("path", sorted(set(WORLD.files) - SUPERSEDED))
@pytest.mark.parametrize("other", ["empty", "gone", "another"])
def test_a_file_emptied_removed_or_replaced_by_its_neighbour_is_detected(path, other):
    files = dict(WORLD.files)
    data = files.pop(path)
    if other == "empty":
        files[path] = b""
    elif other == "another":
        files[path] = next(each for each in WORLD.files.values() if each != data)
    if other == "gone" and path.startswith("checkpoints/"):
        return  # an older head that is gone is no head: the anchor tells, not the store
    assert verify_log(Store(files), TRUST, now=WORLD.time).status is not VERIFIED


@MANY
@given(st.integers(0, SIZE - 1), mutations())
def test_any_mutation_of_a_signed_row_is_found_at_its_place(seq, mutation):
    new = mutated(LINES[seq], mutation)
    assume(new != LINES[seq])
    rows = [*WORLD.rows[:seq], (seq, new), *WORLD.rows[seq + 1 :]]
    verdict = verify_rows(batches(rows), Store(WORLD.files), TRUST, now=WORLD.time)
    assert verdict.status is Status.TAMPERED
    assert {(each.first, each.count) for each in verdict.findings} == {(seq, 1)}


@MANY
@given(st.lists(st.tuples(st.sampled_from("dimsr"), CHANCE), min_size=1, max_size=4))
def test_any_change_of_which_rows_there_are_is_found_unless_they_are_the_same(steps):
    rows = list(enumerate(GROWN))
    for kind, chance in steps:
        _shuffle(rows, kind, chance)
    verdict = verify_rows(batches(rows), Store(WORLD.files), TRUST, now=WORLD.time)
    expected = rows[:SIZE] == WORLD.rows and rows[SIZE:] == list(enumerate(GROWN))[SIZE : len(rows)]
    assert (verdict.status is VERIFIED) is expected


def _shuffle(rows, kind, chance):
    """Delete, insert, move, swap contents of, or renumber rows."""
    if len(rows) < 2:
        return
    one, two = chance.randrange(len(rows)), chance.randrange(len(rows))
    match kind:
        case "d":
            del rows[min(one, two) : min(one, two) + 3]
        case "i":
            rows.insert(one, rows[two])
        case "m":
            rows.insert(one, rows.pop(two))
        case "s":
            rows[one], rows[two] = (rows[one][0], rows[two][1]), (rows[two][0], rows[one][1])
        case _:
            rows[one] = (chance.randrange(-3, SIZE + 20), rows[one][1])


@QUICK
@given(mutations())
def test_any_mutation_of_the_anchor_is_refused_or_breaks_it_or_is_harmless(mutation):
    new = mutated(WORLD.anchor, mutation)
    assume(new != WORLD.anchor)
    log = Store(WORLD.files)
    try:
        kept = Trust(TRUST.origin, TRUST.log_keys, TRUST.witnesses, anchor=new.decode())
        verdict = compare_with_anchor(log, TRUST, kept.open_anchor())
    except (TrustError, UnicodeDecodeError):
        return
    assert (
        verdict.status is not VERIFIED
        or new == b""
        or is_harmless_note(WORLD.anchor, new, quorum=0)
    )


@QUICK
@given(st.integers(0, SIZE), st.integers(0, 255))
def test_any_other_root_of_the_api_is_a_split_view(size, bit):
    log = Store(WORLD.files)
    root = bytearray(root_of(LINES[:size]))
    assert compare_with_api(log, TRUST, size, bytes(root), reader(WORLD.rows)).status is VERIFIED
    root[bit // 8] ^= 1 << bit % 8
    verdict = compare_with_api(log, TRUST, size, bytes(root), reader(WORLD.rows))
    assert verdict.status is Status.TAMPERED
    assert [each.code.value for each in verdict.findings] == ["SPLIT_VIEW"]


# Trees


LEAVES = [leaf_hash(b"%d" % number) for number in range(70)]
TREE = MerkleTree(LEAVES)
ROOTS = [plain_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def plain_path(index, leaves):
    """PATH(m, D[n]) of RFC 6962 section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*plain_path(index, leaves[:split]), plain_root(leaves[split:])]
    return [*plain_path(index - split, leaves[split:]), plain_root(leaves[:split])]


def plain_proof(old, leaves):
    """PROOF(m, D[n]) of RFC 6962 section 2.1.2, word by word."""
    return _subproof(old, leaves, whole=True) if 0 < old < len(leaves) else []


def _subproof(old, leaves, *, whole):
    if old == len(leaves):
        return [] if whole else [plain_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*_subproof(old, leaves[:split], whole=whole), plain_root(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], whole=False), plain_root(leaves[:split])]


@pytest.mark.parametrize("new", range(1, len(LEAVES) + 1, 3))
def test_between_any_two_sizes_there_is_a_proof_and_it_is_the_one_of_the_definition(new):
    assert TREE.root(new) == ROOTS[new]
    for old in range(new + 1):
        proof = TREE.consistency_proof(old, new)
        assert proof == plain_proof(old, LEAVES[:new])
        verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
        if old > 0:
            with pytest.raises(ProofError):
                verify_consistency(old, new, ROOTS[old - 1], ROOTS[new], proof)
            with pytest.raises(ProofError):
                verify_consistency(old, new, ROOTS[old], ROOTS[new - 1], proof)


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1, 3))
def test_every_leaf_is_included_by_the_proof_of_the_definition_and_no_other_leaf(size):
    for index in range(size):
        proof = TREE.inclusion_proof(index, size)
        assert proof == plain_path(index, LEAVES[:size])
        verify_inclusion(index, size, LEAVES[index], ROOTS[size], proof)
        with pytest.raises(ProofError):
            verify_inclusion(index, size, LEAVES[index - 1], ROOTS[size], proof or [bytes(32)])


@MANY
@given(st.lists(st.integers(0, 70), max_size=12), CHANCE)
def test_shards_merge_to_the_whole_in_any_grouping_and_order(cuts, chance):
    ends = [0, *sorted(cuts), 70]
    shards = [CompactRange.of(LEAVES[begin:end], begin) for begin, end in pairwise(ends)]
    while len(shards) > 1:
        at = chance.randrange(len(shards) - 1)
        shards[at : at + 2] = [shards[at].merge(shards[at + 1])]
    assert shards == [CompactRange.of(LEAVES)]
    assert shards[0].root() == ROOTS[70]


@MANY
@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 69))
def test_a_changed_leaf_changes_exactly_the_ranges_that_hold_it(one, other, leaf):
    begin, end = sorted((one, other))
    changed = [*LEAVES[:leaf], bytes(32), *LEAVES[leaf + 1 :]]
    same = CompactRange.of(LEAVES[begin:end], begin) == CompactRange.of(changed[begin:end], begin)
    assert same is not (begin <= leaf < end)


# Proofs: whatever is changed, ProofError and nothing else


def turns(index, size):
    """Which side each hash of an inclusion proof stands on: what a proof says about its place.

    Two (index, size) with the same turns are told apart by the signed head, never by the proof.
    """
    if size == 1:
        return ""
    split = 1 << (size - 1).bit_length() - 1
    return turns(index, split) + "r" if index < split else turns(index - split, size - split) + "l"


def changed_proof(proof, kind, chance):
    proof = list(proof)
    at = chance.randrange(len(proof) + 1)
    match kind:
        case "add":
            proof.insert(at, chance.choice([*proof, chance.randbytes(32), EMPTY_ROOT]))
        case "drop":
            del proof[at : at + chance.randint(1, 3)]
        case "flip" if proof:
            each = bytearray(proof[at % len(proof)])
            each[chance.randrange(32)] ^= 1 << chance.randrange(8)
            proof[at % len(proof)] = bytes(each)
        case "swap" if proof:
            other = chance.randrange(len(proof))
            proof[at % len(proof)], proof[other] = proof[other], proof[at % len(proof)]
        case "length" if proof:
            proof[at % len(proof)] = proof[at % len(proof)][: chance.randrange(32)]
        case "long" if proof:
            proof[at % len(proof)] += b"\0"
        case "endless":
            proof += [chance.randbytes(32)] * 300
    return proof


KINDS = st.sampled_from(["add", "drop", "flip", "swap", "length", "long", "endless"])
ODD_NUMBERS = st.sampled_from([-1, 0, 2**31, 2**63, 2**64, 10**30]) | st.integers(0, 80)


@MANY
@given(st.integers(1, 70), st.integers(0, 69), KINDS, CHANCE)
def test_a_changed_inclusion_proof_is_refused(size, index, kind, chance: random.Random):
    index %= size
    proof = TREE.inclusion_proof(index, size)
    changed = changed_proof(proof, kind, chance)
    assume(changed != proof)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[index], ROOTS[size], changed)


@MANY
@given(st.integers(1, 70), st.integers(0, 69), ODD_NUMBERS, ODD_NUMBERS)
def test_an_inclusion_proof_binds_its_place(size, index, other_index, other_size):
    index %= size
    proof = TREE.inclusion_proof(index, size)
    place = (other_index, other_size)
    if 0 <= other_index < other_size:
        assume(turns(*place) != turns(index, size))
    with pytest.raises(ProofError):
        verify_inclusion(*place, LEAVES[index], ROOTS[size], proof)


@MANY
@given(st.integers(1, 70), st.integers(0, 70), KINDS, CHANCE)
def test_a_changed_consistency_proof_is_refused(new, old, kind, chance: random.Random):
    old %= new + 1
    proof = TREE.consistency_proof(old, new)
    changed = changed_proof(proof, kind, chance)
    assume(changed != proof)
    with pytest.raises(ProofError):
        verify_consistency(old, new, ROOTS[old], ROOTS[new], changed)


@MANY
@given(st.integers(2, 70), st.integers(1, 69), ODD_NUMBERS)
def test_a_consistency_proof_binds_the_older_size(new, old, other):
    old = old % (new - 1) + 1
    assume(other not in (0, old))  # the empty log is a prefix of everything, if its root says so
    proof = TREE.consistency_proof(old, new)
    with pytest.raises(ProofError):
        verify_consistency(other, new, ROOTS[old], ROOTS[new], proof)


@MANY
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from(["old", "new", "both", "short"]), CHANCE
)
def test_a_consistency_proof_binds_both_roots(one, other, kind, chance: random.Random):
    old, new = sorted((one, other))
    roots = [ROOTS[old], ROOTS[new]]
    wrong = chance.choice([chance.randbytes(32), EMPTY_ROOT, bytes(32), LEAVES[0][::-1]])
    match kind:
        case "old":
            roots[0] = wrong
        case "new":
            roots[1] = wrong
        case "both":
            roots = [wrong, chance.randbytes(32)]
        case _:
            roots[chance.randrange(2)] = wrong[: chance.randrange(32)]
    with pytest.raises(ProofError):
        verify_consistency(old, new, *roots, TREE.consistency_proof(old, new))
