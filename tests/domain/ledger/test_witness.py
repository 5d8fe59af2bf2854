"""What a witness decides, by the C2SP tlog-witness specification, without a network."""

import base64
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger import (
    Checkpoint,
    LogKey,
    MerkleTree,
    NoteSigner,
    Trust,
    sign_checkpoint,
    sign_note,
)
from tasks.domain.ledger.note_keys import NoteError
from tasks.domain.ledger.witness import (
    MAX_PROOF,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    WitnessRefusal,
    judge,
    parse_size_body,
)
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, TRUST, plain_leaf

LOGS = {ORIGIN: TRUST}
TREE = MerkleTree([plain_leaf(b"%d" % each) for each in range(40)])
FORK = MerkleTree([plain_leaf(b"%d" % (each if each < 12 else -each)) for each in range(40)])
SPEC_EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOo\
RDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def head(size: int, tree: MerkleTree = TREE, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, tree.root(size))


def request(
    old: int, new: int, tree: MerkleTree = TREE, signer: NoteSigner = SIGNER, origin: str = ORIGIN
) -> AddCheckpoint:
    proof = tuple(tree.consistency_proof(old, new)) if old <= new else ()
    return AddCheckpoint(old, proof, sign_checkpoint(head(new, tree, origin), signer))


def refused(asked: AddCheckpoint, kept: Checkpoint | None = None) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as caught:
        judge(asked, LOGS, {} if kept is None else {ORIGIN: kept})
    return caught.value


def test_the_specifications_own_example_is_read_and_written_as_it_stands() -> None:
    read = AddCheckpoint.parse(SPEC_EXAMPLE.encode())
    assert (read.old_size, len(read.proof)) == (20_852_014, 4)
    assert read.encoded == SPEC_EXAMPLE.encode()


@pytest.mark.parametrize(
    ("kept", "old", "new"),
    [(None, 0, 0), (None, 0, 17), (0, 0, 5), (7, 7, 8), (8, 8, 40), (9, 9, 9)],
)
def test_a_head_that_continues_the_kept_one_is_taken(kept: int | None, old: int, new: int) -> None:
    latest = {} if kept is None else {ORIGIN: head(kept)}
    assert judge(request(old, new), LOGS, latest) == head(new)


def test_an_unknown_log_is_not_found() -> None:
    assert refused(request(0, 5, origin="elsewhere")).status == HTTPStatus.NOT_FOUND


def test_a_head_that_no_key_of_the_log_signed_is_forbidden() -> None:
    assert refused(request(0, 5, signer=STRANGER)).status == HTTPStatus.FORBIDDEN


def test_a_known_keys_signature_over_another_text_is_forbidden() -> None:
    good, other = request(0, 5).note, request(0, 6).note
    moved = other[: other.index("\n\n") + 2] + good[good.index("\n\n") + 2 :]
    assert refused(AddCheckpoint(0, (), moved)).status == HTTPStatus.FORBIDDEN


def test_a_retired_key_cannot_sign_a_newer_head() -> None:
    logs = {ORIGIN: Trust(ORIGIN, (LogKey(SIGNER.verifier, 0, 10),))}
    assert judge(request(0, 10), logs, {}) == head(10)
    with pytest.raises(WitnessRefusal) as caught:
        judge(request(0, 11), logs, {})
    assert caught.value.status == HTTPStatus.FORBIDDEN


def test_an_old_size_beyond_the_new_one_is_a_bad_request() -> None:
    assert refused(request(9, 8), head(9)).status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(("kept", "old"), [(12, 0), (12, 11), (12, 13), (None, 3)])
def test_a_proof_from_elsewhere_is_a_conflict_that_names_the_kept_size(
    kept: int | None, old: int
) -> None:
    refusal = refused(request(old, 20), None if kept is None else head(kept))
    assert (refusal.status, refusal.size) == (HTTPStatus.CONFLICT, kept or 0)
    assert not refusal.is_evidence


def test_the_same_size_with_another_root_is_a_conflict_and_evidence() -> None:
    refusal = refused(request(20, 20, FORK), head(20))
    assert (refusal.status, refusal.size, refusal.is_evidence) == (HTTPStatus.CONFLICT, 20, True)


def test_another_history_is_unprocessable_and_evidence() -> None:
    refusal = refused(request(20, 30, FORK), head(20))
    assert (refusal.status, refusal.size) == (HTTPStatus.UNPROCESSABLE_ENTITY, None)
    assert refusal.is_evidence


@pytest.mark.parametrize("change", ["shorter", "longer", "swapped", "altered"])
def test_a_proof_that_is_not_exactly_the_proof_is_unprocessable(change: str) -> None:
    proof = request(13, 37).proof
    wrong = {
        "shorter": proof[:-1],
        "longer": (*proof, proof[0]),
        "swapped": proof[::-1],
        "altered": (bytes(32), *proof[1:]),
    }[change]
    asked = AddCheckpoint(13, wrong, request(13, 37).note)
    assert refused(asked, head(13)).status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_proof_from_the_empty_log_must_be_empty() -> None:
    asked = AddCheckpoint(0, (bytes(32),), request(0, 5).note)
    assert refused(asked).status == HTTPStatus.UNPROCESSABLE_ENTITY


_HASH = base64.b64encode(bytes(32)).decode()
_NOTE = request(0, 5).note
MALFORMED = {
    "nothing": "",
    "no old line": _NOTE,
    "no empty line": f"old 0\n{_HASH}\n",
    "a size with a zero before": f"old 07\n\n{_NOTE}",
    "a signed size": f"old -1\n\n{_NOTE}",
    "a size of digits that are not ASCII": f"old \u0667\n\n{_NOTE}",
    "a size of twenty digits": f"old {'9' * 20}\n\n{_NOTE}",
    "two spaces": f"old  0\n\n{_NOTE}",
    "carriage returns": f"old 0\r\n\r\n{_NOTE}",
    "a word more": f"old 0 0\n\n{_NOTE}",
    "a hash of 31 bytes": f"old 0\n{base64.b64encode(bytes(31)).decode()}\n\n{_NOTE}",
    "a hash with stray bits": f"old 0\n{_HASH[:-2]}B=\n\n{_NOTE}",
    "a hash that is no base64": f"old 0\n{'*' * 44}\n\n{_NOTE}",
    "too many hashes": "old 0\n" + f"{_HASH}\n" * (MAX_PROOF + 1) + f"\n{_NOTE}",
    "no checkpoint": "old 0\n\n",
    "a checkpoint without signatures": f"old 0\n\n{_NOTE.partition(chr(10) * 2)[0]}\n",
    "a note that is no checkpoint": "old 0\n\n" + sign_note("hello\n", SIGNER),
    "a signature twice": f"old 0\n\n{_NOTE}" + _NOTE.partition("\n\n")[2],
    "no newline at the end": f"old 0\n\n{_NOTE[:-1]}",
    "more than is allowed": f"old 0\n\n{_NOTE}" + "x" * MAX_REQUEST_BYTES,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_a_bad_request(body: str) -> None:
    with pytest.raises(WitnessRefusal) as caught:
        judge(AddCheckpoint.parse(body.encode()), LOGS, {})
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_bytes_that_are_no_utf8_are_a_bad_request() -> None:
    with pytest.raises(WitnessRefusal) as caught:
        AddCheckpoint.parse(b"old 0\n\n\xff\n")
    assert caught.value.status == HTTPStatus.BAD_REQUEST


_GOOD = request(13, 37).encoded


@given(st.data())
def test_no_change_of_a_good_request_is_taken_for_another_head(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(_GOOD) - 1))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=3))
    changed = _GOOD[:at] + put + _GOOD[at + cut :]
    try:
        found = judge(AddCheckpoint.parse(changed), LOGS, {ORIGIN: head(13)})
    except WitnessRefusal:
        return
    assert found == head(37)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(WitnessRefusal) as caught:
        judge(AddCheckpoint.parse(b"old 0\n\n" + body), LOGS, {})
    assert caught.value.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=30),
)
def test_whatever_is_asked_the_heads_taken_are_of_one_history(
    asked: list[tuple[int, int, bool]],
) -> None:
    kept: dict[str, Checkpoint] = {}
    taken: list[Checkpoint] = []
    for old, new, forked in asked:
        try:
            found = judge(request(old, new, FORK if forked else TREE), LOGS, kept)
        except WitnessRefusal:
            continue
        kept[ORIGIN] = found
        taken.append(found)
    assert [each.size for each in taken] == sorted(each.size for each in taken)
    assert any(all(tree.root(each.size) == each.root for each in taken) for tree in (TREE, FORK))


@pytest.mark.parametrize(
    "body", [b"", b"7", b"07\n", b"7\n\n", b"-7\n", b"1e3\n", b"9" * 25 + b"\n"]
)
def test_the_body_of_a_conflict_is_a_size_and_nothing_else(body: bytes) -> None:
    assert parse_size_body(b"7\n") == 7
    with pytest.raises(NoteError):
        parse_size_body(body)
