"""Proofs made again, heads that count, and what is tried of what a place keeps."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, NoteVerifier, ProofError, sign_checkpoint
from tasks.domain.ledger.records import tombstone_line
from tasks.work.log_versions import MOST_TRIED, KeptVersion, worth_trying
from tasks.work.reproving import MOST_RECORDS, prove_again
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST, chained, plain_leaf
from tests.domain.ledger.tamper_worlds import W1
from tests.tasks.rebuilding.conftest import SIZES, Ruin, write_log

SIZE = SIZES[-1]
WITNESSED = replace(TRUST, witnesses=(NoteVerifier.parse(W1.public),), quorum=1)


def test_proofs_of_all_affected_records_and_from_all_older_heads_are_made_again(
    ruin: Ruin,
) -> None:
    made = prove_again(ruin.log, TRUST, [(0, 3), (2590, 9000)])
    assert (made.size, made.affected, made.records, made.heads) == (SIZE, 13, 13, len(SIZES) - 1)
    many = prove_again(ruin.log, TRUST, [(0, SIZE)])
    assert (many.affected, many.records) == (SIZE, MOST_RECORDS)


def test_an_older_head_of_another_history_gets_no_proof(ruin: Ruin) -> None:
    other = Checkpoint(ORIGIN, 1500, b"x" * 32)
    ruin.write("checkpoints/1500", sign_checkpoint(other, SIGNER).encode())
    with pytest.raises(ProofError):
        prove_again(ruin.log, TRUST, [(0, 3)])


def test_a_record_whose_tile_is_wrong_gets_no_proof(ruin: Ruin) -> None:
    ruin.write("tile/0/001", bytes(8192))
    with pytest.raises((ProofError, NotProven)):
        prove_again(ruin.log, TRUST, [(256, 260)])


def test_a_head_without_its_witness_is_not_the_newest_to_build_on(ruin: Ruin) -> None:
    for size in (300, 1500):
        note = ruin.original[f"checkpoints/{size}"].decode()
        text = note.partition("\n\n")[0] + "\n"
        ruin.write(f"checkpoints/{size}", (note + W1.sign(text)).encode())
    found, _ = ruin.look(trust=WITNESSED)
    assert found.head.size == 1500
    assert [one.path for one in found.left] == [f"checkpoints/{SIZE}"]


def test_a_head_that_the_log_signed_and_somebody_hid_is_told(ruin: Ruin) -> None:
    for size in (300, 1500):
        note = ruin.original[f"checkpoints/{size}"].decode()
        text = note.partition("\n\n")[0] + "\n"
        ruin.write(f"checkpoints/{size}", (note + W1.sign(text)).encode())
    newest = f"checkpoints/{SIZE}"
    ruin.versions.kept[newest, "v1"] = ruin.original[newest]
    ruin.remove(newest)
    found, _ = ruin.look(trust=WITNESSED)
    assert [one.path for one in found.left] == [newest]


def test_when_no_head_counts_it_is_said_how_many_were_tried(ruin: Ruin) -> None:
    with pytest.raises(NotProven, match=f"tried {len(SIZES)} of {len(SIZES)} checkpoints"):
        ruin.look(trust=WITNESSED)


def test_the_oldest_versions_are_tried_whatever_was_heaped_upon_them() -> None:
    heap = [
        KeptVersion("x", f"v{at}", 10, is_latest=False, is_marker=False)
        for at in range(3000, 0, -1)  # newest first
    ]
    tried = [one.version_id for one in worth_trying(heap, 10)]
    assert len(tried) == MOST_TRIED
    assert tried[: MOST_TRIED // 2] == [f"v{at}" for at in range(MOST_TRIED // 2, 0, -1)]
    assert "v3000" in tried
    assert worth_trying([replace(heap[0], size=11), replace(heap[1], is_marker=True)], 10) == []


def test_a_tombstone_is_named_by_itself_and_not_by_the_record_after(tmp_path: Path) -> None:
    """The record after names what was lost; the log was sealed with the tombstone."""
    lines = chained(600)
    lost = plain_leaf(lines[200])
    prev = plain_leaf(lines[199]).hex()
    lines[200] = tombstone_line(200, prev, lost, "INC-1", datetime(2026, 3, 14, tzinfo=UTC))
    root = tmp_path / "log"
    write_log(root, lines, (600,))
    ruin = Ruin(root, list(lines), dict(enumerate(lines)), {})
    shutil.rmtree(root / "tile")
    shutil.rmtree(root / "seg")
    ruin.alter_row(50)  # so that each leaf is looked for by itself
    found, _ = ruin.look()
    assert found.head.size == 600
    assert found.lost == ((50, 51),)
