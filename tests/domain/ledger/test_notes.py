"""Signed notes and checkpoints: the published example, the strict forms, every changed byte."""

import base64
import json
from pathlib import Path

import pytest

from tasks.domain.ledger import (
    EMPTY_ROOT,
    Checkpoint,
    CheckpointError,
    NoteError,
    NoteSignatureError,
    NoteSigner,
    NoteVerifier,
    open_note,
    parse_checkpoint,
    sign_checkpoint,
    sign_note,
)
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, TRUST

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/ledger/note.json").read_text())
TEXT = VECTOR["text"]
NOTE = f"{TEXT}\n{VECTOR['signature']}"
PETER = NoteVerifier.parse(VECTOR["verifier"])
CHECKPOINT = Checkpoint(ORIGIN, 300, bytes(range(32)))


def test_the_published_note_is_signed_and_opened():
    signer = NoteSigner.parse(VECTOR["signer"])
    assert sign_note(TEXT, signer) == NOTE
    assert signer.verifier == PETER
    assert (signer.encoded, PETER.encoded) == (VECTOR["signer"], VECTOR["verifier"])
    assert open_note(NOTE, [PETER]) == TEXT


def test_a_signature_by_an_unknown_key_is_ignored_beside_a_known_one():
    unknown = sign_note(TEXT, STRANGER).rpartition("\n\n")[2]
    assert open_note(NOTE + unknown, [PETER]) == TEXT
    assert open_note(f"{TEXT}\n{unknown}{VECTOR['signature']}", [PETER]) == TEXT


def test_a_note_that_only_strangers_signed_proves_nothing():
    with pytest.raises(NoteSignatureError, match="PeterNeumann"):
        open_note(sign_note(TEXT, STRANGER), [PETER])
    with pytest.raises(NoteSignatureError):
        open_note(NOTE, [])


def test_a_known_key_with_a_wrong_signature_spoils_the_note():
    other = sign_note("another text\n", NoteSigner.parse(VECTOR["signer"])).rpartition("\n\n")[2]
    with pytest.raises(NoteSignatureError, match="wrong"):
        open_note(f"{TEXT}\n{other}", [PETER])


def test_a_signature_of_wrong_length_by_a_known_key_is_wrong():
    short = base64.b64encode(PETER.key_id + bytes(63)).decode()
    with pytest.raises(NoteSignatureError):
        open_note(f"{TEXT}\n\u2014 PeterNeumann {short}\n", [PETER])


def test_two_signatures_by_one_key_are_refused():
    with pytest.raises(NoteError, match="two signatures"):
        open_note(NOTE + VECTOR["signature"], [PETER])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\u2014 ", "\u2014  "),
        NOTE.replace("x08go", "x08g!"),
        NOTE.replace("BwJnAM=", "BwJnAN="),
        NOTE.replace("BwJnAM=", "BwJnAM"),
        NOTE + "trailing\n",
        NOTE + "\n",
        NOTE.replace("cryptography", "crypto\tgraphy"),
        NOTE.replace("cryptography", "crypto\udcffgraphy"),
        NOTE.replace(" PeterNeumann ", " Peter+Neumann "),
        NOTE + "\u2014 a AAAA\n",
        NOTE + VECTOR["signature"] * 100,
        "x" * 10_000_000 + NOTE,
    ],
)
def test_a_malformed_note_is_refused(note):
    with pytest.raises(NoteError):
        open_note(note, [PETER])


@pytest.mark.parametrize(
    "key",
    [
        "",
        "PeterNeumann",
        VECTOR["verifier"].replace("c74f20a3", "c74f20a4"),
        VECTOR["verifier"].replace("c74f20a3", "C74F20A3"),
        VECTOR["verifier"].replace("PeterNeumann", "Peter Neumann"),
        VECTOR["verifier"][:-4],
        VECTOR["verifier"].replace("+AR", "+AB"),
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "-----BEGIN PUBLIC KEY-----\n",
    ],
)
def test_what_is_not_a_verifier_key_is_refused(key):
    with pytest.raises(NoteError):
        NoteVerifier.parse(key)


def test_a_wrong_signer_key_is_refused_without_telling_it():
    secret = VECTOR["signer"].rpartition("+")[2]
    for key in (VECTOR["verifier"], VECTOR["signer"].replace("c74f20a3", "c74f20a4")):
        with pytest.raises(NoteError) as refused:
            NoteSigner.parse(key)
        assert secret not in str(refused.value)
    assert secret not in repr(NoteSigner.parse(VECTOR["signer"]))
    with pytest.raises(NoteError):
        NoteSigner.from_seed("name", bytes(31))


def test_text_without_a_last_newline_is_not_signed():
    with pytest.raises(NoteError, match="newline"):
        sign_note("text", SIGNER)


def test_a_checkpoint_survives_signing_and_opening():
    assert TRUST.open(sign_checkpoint(CHECKPOINT, SIGNER)).checkpoint == CHECKPOINT


def test_extension_lines_are_read_over():
    note = sign_note(CHECKPOINT.text + "some extension\n", SIGNER)
    assert TRUST.open(note).checkpoint == CHECKPOINT


def test_a_checkpoint_of_another_log_is_refused():
    note = sign_checkpoint(Checkpoint("other.example", 300, bytes(32)), SIGNER)
    with pytest.raises(CheckpointError, match="other"):
        TRUST.open(note)


ROOT64 = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n300\n",
        f"{ORIGIN}\n300\n{ROOT64}",
        f"\n300\n{ROOT64}\n",
        f"{ORIGIN}\n0300\n{ROOT64}\n",
        f"{ORIGIN}\n+300\n{ROOT64}\n",
        f"{ORIGIN}\n-1\n{ROOT64}\n",
        f"{ORIGIN}\n 300\n{ROOT64}\n",
        f"{ORIGIN}\n3_00\n{ROOT64}\n",
        f"{ORIGIN}\n\u0663\n{ROOT64}\n",
        f"{ORIGIN}\n300.0\n{ROOT64}\n",
        f"{ORIGIN}\n{'9' * 20}\n{ROOT64}\n",
        f"{ORIGIN}\n300\n{ROOT64[:-1]}\n",
        f"{ORIGIN}\n300\n{ROOT64[:-2]}B=\n",
        f"{ORIGIN}\n300\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n300\n{base64.b64encode(bytes(33)).decode()}\n",
        f"{ORIGIN}\n300\n{bytes(32).hex()}\n",
        f"{ORIGIN}\n300\n{ROOT64}\n\n",
        f"{ORIGIN}\n0\n{ROOT64}\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text):
    with pytest.raises(CheckpointError):
        parse_checkpoint(text)


def test_the_checkpoint_of_the_empty_log_is_its_empty_root():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.text) == empty


def test_every_changed_bit_of_a_signed_checkpoint_is_detected():
    note = sign_checkpoint(CHECKPOINT, SIGNER).encode()
    for at in range(len(note)):
        for bit in (0, 3, 7):
            changed = bytearray(note)
            changed[at] ^= 1 << bit
            with pytest.raises((NoteError, UnicodeDecodeError)):
                TRUST.open(bytes(changed).decode("utf-8"))


def test_every_cut_of_a_signed_checkpoint_is_detected():
    note = sign_checkpoint(CHECKPOINT, SIGNER)
    for end in range(len(note)):
        with pytest.raises(NoteError):
            TRUST.open(note[:end])
