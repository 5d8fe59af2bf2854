"""Proofs of single records: made only when they hold, and holding only for what they are about."""

import base64
import re

import pytest

from tasks.clients.errors import NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import ProofError, Trust
from tasks.domain.ledger.proof_texts import (
    ConsistencyText,
    InclusionText,
    ProofTextError,
    extra_leaf,
)
from tasks.work.proving import check_growth, check_record, prove_growth, prove_record
from tests.domain.ledger.sample_log import (
    ORIGIN,
    STRANGERS,
    MemoryLog,
    chained,
    note_of,
    packed,
    plain_leaf,
)
from tests.tasks.bundle_fixture import LINES, TRUST, WITNESSES, log_files, witnessed

FILES = log_files()
EVIL = chained(300, LINES[:50], session_id="evil")


class CountingLog(MemoryLog):
    def __init__(self, files):
        super().__init__(files)
        self.asked = []

    def read(self, path, limit=1 << 31):
        self.asked.append(path)
        return super().read(path, limit)


def without(*names):
    return {path: data for path, data in FILES.items() if path not in names}


@pytest.mark.parametrize("seq", [0, 1, 7, 255, 256, 298, 299])
def test_a_record_of_the_log_is_proven_to_whoever_has_the_keys(seq):
    proof = prove_record(MemoryLog(FILES), TRUST, seq)
    text = InclusionText.parse(proof.text.render())
    assert text == proof.text
    shown = check_record(text, TRUST)
    assert (shown.index, shown.leaf, shown.line) == (seq, plain_leaf(LINES[seq]), None)
    assert shown.head.checkpoint.size == 300
    assert len(shown.head.cosigned) == 2


def test_the_proof_is_the_published_form():
    text = prove_record(MemoryLog(FILES), TRUST, 7).text.render()
    head, note = text.split("\n\n", 1)
    header, extra, index, *hashes = head.split("\n")
    assert (header, index) == ("c2sp.org/tlog-proof@v1", "index 7")
    assert (
        base64.b64decode(extra.removeprefix("extra "))
        == b"leaf " + plain_leaf(LINES[7]).hex().encode()
    )
    assert base64.b64decode(hashes[0]) == plain_leaf(LINES[6])
    assert all(len(base64.b64decode(each)) == 32 for each in hashes)
    assert note == FILES["checkpoints/300"].decode()


def test_the_published_example_is_read():
    text = (
        "c2sp.org/tlog-proof@v1\nextra YWdl\nindex 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"
        "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\nexample.com/fancylog\n109482\n"
    )
    parsed = InclusionText.parse(text)
    assert (parsed.index, len(parsed.hashes), parsed.extra) == (73894, 2, b"age")
    assert parsed.note == "example.com/fancylog\n109482\n"
    assert parsed.render() == text


def test_the_line_is_enclosed_only_when_asked_for_and_read_only_then():
    log = CountingLog(FILES)
    plain = prove_record(log, TRUST, 7)
    assert plain.line is None
    assert not any(path.startswith("seg/") for path in log.asked)
    proof = prove_record(log, TRUST, 7, with_line=True)
    assert proof.line == LINES[7]
    assert check_record(InclusionText.parse(proof.text.render()), TRUST).line == LINES[7]


def test_a_proof_reads_a_few_tiles_of_the_log_not_all():
    lines = chained(5000)
    log = CountingLog(log_files(lines, ()))
    prove_record(log, TRUST, 2500)
    assert len([path for path in log.asked if path.startswith("tile/")]) <= 4


def test_a_proof_without_its_leaf_needs_the_line_or_the_leaf():
    made = prove_record(MemoryLog(FILES), TRUST, 7).text
    bare = InclusionText.parse(re.sub("extra .*\n", "", made.render()))
    assert check_record(bare, TRUST, line=LINES[7]).index == 7
    assert check_record(bare, TRUST, leaf=plain_leaf(LINES[7])).index == 7
    with pytest.raises(ProofTextError, match="give the line"):
        check_record(bare, TRUST)


def test_what_is_given_counts_not_what_the_proof_says_of_itself():
    made = prove_record(MemoryLog(FILES), TRUST, 7).text
    for other in ({"line": LINES[8]}, {"leaf": plain_leaf(LINES[8])}, {"line": LINES[7] + b"\n"}):
        with pytest.raises(ProofError, match="root"):
            check_record(made, TRUST, **other)


def lie(text, **changes):
    fields = {"index": text.index, "hashes": text.hashes, "note": text.note, "extra": text.extra}
    return InclusionText(**fields | changes)


MADE = prove_record(MemoryLog(FILES), TRUST, 7).text
LIES = {
    "another index": lie(MADE, index=6),
    "an index beyond the log": lie(MADE, index=300),
    "another leaf": lie(MADE, extra=extra_leaf(bytes(32))),
    "a hash left out": lie(MADE, hashes=MADE.hashes[:-1]),
    "a hash too many": lie(MADE, hashes=(*MADE.hashes, bytes(32))),
    "a hash altered": lie(MADE, hashes=(bytes(32), *MADE.hashes[1:])),
    "no hashes": lie(MADE, hashes=()),
    "an older head": lie(MADE, note=FILES["checkpoints/250"].decode()),
    "the head of another history": lie(MADE, note=witnessed(EVIL)),
    "the head of another log": lie(MADE, note=witnessed(LINES, origin="audit.example/dev")),
    "a witness too few": lie(MADE, note=witnessed(LINES, witnesses=WITNESSES[:1])),
    "a head that is none": lie(MADE, note="nothing of the kind\n"),
    "a size raised": lie(MADE, note=MADE.note.replace("\n300\n", "\n301\n")),
}


@pytest.mark.parametrize("case", LIES)
def test_no_changed_proof_holds(case):
    with pytest.raises(ProofError):
        check_record(LIES[case], TRUST)


def test_under_other_keys_nothing_is_proven():
    with pytest.raises(ProofError, match="does not count"):
        check_record(MADE, STRANGERS)
    with pytest.raises(NotProven):
        prove_record(MemoryLog(FILES), STRANGERS, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "c2sp.org/tlog-proof@v1\nindex 7\n",
        MADE.render().replace("@v1", "@v2"),
        MADE.render().replace("index 7", "index 07"),
        MADE.render().replace("index 7", "index -7"),
        MADE.render().replace("index 7", "index \u0667"),
        MADE.render().replace("index 7\n", ""),
        MADE.render().replace("extra ", "extra !"),
        MADE.render().replace("\n", "\r\n"),
        MADE.render().replace("=\n\n", "=\nAAAA\n\n", 1),
        MADE.render().replace("index 7\n", "index 7\n" + "A" * 43 + "=\n" * 64),
        "c2sp.org/tlog-proof@v1\nindex 7\n" + ("A" * 43 + "=\n") * 64 + "\nnote\n",
    ],
)
def test_text_that_is_no_proof_is_bad_input(text):
    with pytest.raises(ProofTextError):
        InclusionText.parse(text)


REFUSED = {
    "a record that is not sealed yet": (FILES, 300, BadInput, "covers 300 records"),
    "a tile that lies": (FILES | {"tile/0/000": bytes(8192)}, 7, NotProven, "root"),
    "a tile that is missing": (without("tile/0/001.p/44"), 7, NotProven, "tile/0/001"),
    "a tile that is torn": (FILES | {"tile/0/000": bytes(8191)}, 7, NotProven, "8192 bytes"),
    "a log without a head": ({}, 7, NotFound, "no checkpoint"),
    "a head that nobody signed": ({"checkpoints/300": b"x"}, 7, NotProven, "none of 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_log_cannot_prove_is_refused(case):
    files, seq, error, because = REFUSED[case]
    with pytest.raises(error, match=because):
        prove_record(MemoryLog(files), TRUST, seq)


SEGMENT = "seg/0-300.jsonl.zst"


@pytest.mark.parametrize(
    "files",
    [
        FILES | {SEGMENT: packed(EVIL)},
        FILES | {SEGMENT: packed(LINES)[:-200]},
        FILES | {SEGMENT: b"no zstd"},
        without(SEGMENT),
        without(SEGMENT) | {"seg/0-200.jsonl.zst": packed(LINES[:200])},
    ],
    ids=["another line", "cut off", "no segment", "missing", "too short"],
)
def test_a_damaged_line_is_not_given_out_and_the_proof_without_it_is(files):
    with pytest.raises(NotProven, match="seg/0-"):
        prove_record(MemoryLog(files), TRUST, 299, with_line=True)
    assert prove_record(MemoryLog(files), TRUST, 299).leaf == plain_leaf(LINES[299])


def anchored(lines):
    return Trust(ORIGIN, TRUST.log_keys, TRUST.witnesses, 2, anchor=note_of(lines))


def test_the_head_must_continue_the_one_that_was_kept():
    log = MemoryLog(FILES)
    assert prove_record(log, anchored(LINES[:77]), 7).leaf == plain_leaf(LINES[7])
    with pytest.raises(ProofError, match="continue the anchor"):
        prove_record(log, anchored(EVIL[:77]), 7)
    with pytest.raises(ProofError, match="newer heads were removed"):
        prove_record(log, anchored(chained(301, LINES)), 7)
    with pytest.raises(ProofError, match="another history"):
        check_record(MADE, anchored(EVIL))


def test_a_newer_head_that_does_not_verify_is_told():
    files = FILES | {"checkpoints/400": b"forged"}
    proof = prove_record(MemoryLog(files), TRUST, 7)
    assert proof.checkpoint.size == 300
    assert "checkpoints/400" in proof.refused[0].detail


@pytest.mark.parametrize("since", [0, 100, 250, 300])
def test_growth_since_a_stored_head_is_proven_and_checked(since):
    proof = prove_growth(MemoryLog(FILES), TRUST, since)
    text = ConsistencyText.parse(proof.text.render())
    assert text == proof.text
    old_note = FILES[f"checkpoints/{since}"].decode()
    old, new = check_growth(text, old_note, TRUST)
    assert (old.size, new.size) == (since, 300)


def test_growth_from_a_head_of_another_history_is_refused():
    forked = FILES | {"checkpoints/100": note_of(EVIL[:100]).encode()}
    with pytest.raises(ProofError, match="old root"):
        prove_growth(MemoryLog(forked), TRUST, 100)
    text = prove_growth(MemoryLog(FILES), TRUST, 100).text
    for old in (
        note_of(EVIL[:100]),
        note_of(LINES[:99]),
        "no note",
        FILES["checkpoints/250"].decode(),
    ):
        with pytest.raises(ProofError):
            check_growth(text, old, TRUST)


def test_growth_from_a_size_that_is_not_stored_or_not_reached_is_refused():
    with pytest.raises(NotFound):
        prove_growth(MemoryLog(FILES), TRUST, 99)
    with pytest.raises(BadInput, match="0 to 300"):
        prove_growth(MemoryLog(FILES), TRUST, 301)


@pytest.mark.parametrize(
    "text", ["", "old 7\n", "old 07\n\nnote\n", "old x\n\nnote\n", MADE.render()]
)
def test_text_that_is_no_growth_is_bad_input(text):
    with pytest.raises(ProofTextError):
        ConsistencyText.parse(text)
