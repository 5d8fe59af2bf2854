"""A rebuild that was killed, comes again, or meets another place than it was planned for."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.clients.errors import Conflict, Malformed
from tasks.clients.sealer import RebuildAnswer
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, MerkleTree, sign_checkpoint
from tasks.domain.ledger.segments import pack, segments_of
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tasks.domain.log_rebuild import Consistency, Mode, Survey, order_digest
from tasks.work.log_rebuild import Done, Order, Rebuild
from tasks.work.log_survey import Restorer
from tasks.work.rebuild_order import stated
from tasks.work.sealing import Sealer
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST, chained, plain_leaf
from tests.tasks.rebuilding.conftest import SIZES, Built, KeptOver, Ruin, write_log

INCIDENT = "INC-1"


class Killed(Exception):
    """The process is gone."""


class Deadly(Restorer):
    """Dies when it is asked for the n-th object."""

    def __init__(self, restorer: Restorer, calls: int) -> None:
        self._restorer = restorer
        self._calls = calls

    def content(self, path: str) -> tuple[str, bytes]:
        if not self._calls:
            raise Killed
        self._calls -= 1
        return self._restorer.content(path)


@pytest.fixture
def kept(ruin: Ruin) -> Ruin:
    """In a place that keeps versions."""
    ruin.versions = KeptOver(root=ruin.root)
    return ruin


def order_of(found: Survey, incident: str = INCIDENT) -> Order:
    return Order(incident, tuple(found.runs), found.mode)


def job(ruin: Ruin, order: Order | None = None, deadly: int | None = None) -> Rebuild:
    found, restorer = ruin.look()
    if deadly is not None:
        restorer = Deadly(restorer, deadly)
    sealer = Sealer(ruin.log, SIGNER, TRUST)
    return Rebuild(sealer, ruin.versions, order or order_of(found), found, restorer)


def said(ruin: Ruin, done: Done) -> dict[str, Any]:
    return json.loads((ruin.root / done.statement).read_text())


def forge_tiles(ruin: Ruin) -> list[str]:
    """The full leaf tiles of another history."""
    other = MerkleTree(
        [plain_leaf(line) for line in chained(SIZES[-1], ruin.lines[:1000], origin="o")]
    )
    paths = [each for each in ruin.original if each.startswith("tile/0/") and ".p" not in each]
    for path in paths:
        at = int(path[-3:])
        ruin.write(path, other.level(0)[at * 8192 : (at + 1) * 8192])
    return paths


def seal(ruin: Ruin, size: int, before: int) -> None:
    """As the hourly sealing."""
    tree = MerkleTree([plain_leaf(line) for line in ruin.lines[:size]])
    for each in segments_of(size, before):
        ruin.log.write(each.path, pack(ruin.lines[each.first : each.first + each.count]))
    for tile in tiles_of(size, before):
        ruin.log.write(tile.path, tile_data(tree, tile))
    head = Checkpoint(ORIGIN, size, tree.root())
    ruin.log.write(f"checkpoints/{size}", sign_checkpoint(head, SIGNER).encode())


@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_killed_attempt_does_not_hide_that_another_tree_was_found(kept: Ruin, after: int) -> None:
    forge_tiles(kept)
    found, _ = kept.look()
    assert found.consistency is Consistency.INCONSISTENT
    order = order_of(found)
    with pytest.raises(Killed):
        job(kept, order, after).carry_out()
    done = job(kept, order).carry_out()
    statement = said(kept, done)
    assert statement["consistency"] == "inconsistent"
    assert statement["old_tree"] == found.found.as_json()
    assert statement["consistency_proof"] == [each.hex() for each in found.proof]
    assert "another tree" in statement["says"]
    assert {one["original"] for one in statement["put_back"]} == {one.path for one in found.objects}
    assert kept.look()[0].is_whole


def test_a_kill_after_the_last_object_leaves_the_same_statement_to_be_made(kept: Ruin) -> None:
    forge_tiles(kept)
    found, _ = kept.look()
    order = order_of(found)
    with pytest.raises(Killed):
        job(kept, order, len(found.objects) - 1).carry_out()
    last = found.objects[-1].path
    kept.write(last, kept.original[last])  # it was written, nothing after it
    statement = said(kept, job(kept, order).carry_out())
    assert statement["consistency"] == "inconsistent"
    assert len(statement["put_back"]) == len(found.objects)


def test_what_is_still_damaged_is_not_said_to_be_put_back(small: Built, tmp_path: Path) -> None:
    root = tmp_path / "log"
    write_log(root, small.lines, (300, 1500))
    ruin = Ruin(root, list(small.lines), dict(enumerate(small.lines)), {}, KeptOver(root=root))
    bad = "tile/1/000.p/5"
    ruin.write(bad, bytes(160))
    order = order_of(ruin.look()[0])
    with pytest.raises(Killed):
        job(ruin, order, 0).carry_out()
    seal(ruin, 2600, 1500)  # which replaces the partial tile: no survey asks for it any more
    done = job(ruin, order).carry_out()
    assert done.put_back == ()
    assert [one.path for one in done.left] == [bad]
    statement = said(ruin, done)
    assert (statement["put_back"], len(statement["left"])) == ([], 1)
    assert "is as it was signed" not in statement["says"]


@pytest.mark.parametrize("kind", ["intent", "statement"])
def test_planted_notes_stop_no_rebuild_and_are_reported(kept: Ruin, kind: str) -> None:
    """Their names follow from the order, which anybody may know who sees the damage."""
    kept.remove("tile/0/002")
    order = order_of(kept.look()[0])
    name = f"99991231T235959Z-{order_digest(order.incident, order.objects)}"
    kept.write(f"rebuilt/{name}/{kind}.note", b"junk")
    done = job(kept, order).carry_out()
    assert [one.original for one in done.put_back] == ["tile/0/002"]
    assert [one.path for one in done.left] == [f"rebuilt/{name}/{kind}.note"]
    assert done.statement.split("/")[1] != name
    assert stated(kept.log, TRUST, answered(done), order)["put_back"] == 1
    again = job(kept, order).carry_out()
    assert (again.statement, again.put_back) == (done.statement, ())
    assert kept.look()[0].is_whole


def test_a_planted_statement_does_not_end_an_attempt_that_was_killed(kept: Ruin) -> None:
    kept.remove("tile/0/002", "tile/0/003")
    order = order_of(kept.look()[0])
    with pytest.raises(Killed):
        job(kept, order, 1).carry_out()
    (folder,) = (kept.root / "rebuilt").iterdir()
    kept.write(f"rebuilt/{folder.name}/statement.note", b"junk")
    done = job(kept, order).carry_out()
    assert [one.path for one in done.left] == [f"rebuilt/{folder.name}/statement.note"]
    assert {one.original for one in done.put_back} == {"tile/0/002", "tile/0/003"}
    assert kept.look()[0].is_whole
    again = job(kept, order).carry_out()
    assert (again.statement, again.put_back) == (done.statement, ())


def test_more_planted_notes_than_are_read_are_for_a_person(kept: Ruin) -> None:
    kept.remove("tile/0/002")
    order = order_of(kept.look()[0])
    digest = order_digest(order.incident, order.objects)
    for number in range(201):
        kept.write(f"rebuilt/99991231T{number:06d}Z-{digest}/intent.note", b"junk")
    with pytest.raises(NotProven, match="a person must look"):
        job(kept, order).carry_out()
    assert not kept.look()[0].is_whole


def test_an_intent_of_another_rebuild_is_not_gone_on_with(kept: Ruin) -> None:
    """Whoever can write in the place can copy what the sealer once signed."""
    kept.remove("tile/0/002")
    order = order_of(kept.look()[0])
    with pytest.raises(Killed):
        job(kept, order, 0).carry_out()
    (folder,) = (kept.root / "rebuilt").iterdir()
    other = order_of(kept.look()[0], "INC-2")
    digest = job(kept, other).carry_out().statement.split("/")[1].rpartition("-")[2]
    kept.remove("tile/0/002")
    copied = folder.rename(folder.with_name(f"20991231T235959Z-{digest}"))
    done = job(kept, other).carry_out()
    assert [one.path for one in done.left] == [f"rebuilt/{copied.name}/intent.note"]
    assert "another's" in done.left[0].why
    assert done.statement.split("/")[1] != copied.name
    assert kept.look()[0].is_whole


def test_without_versions_the_statement_claims_no_whole_tree(ruin: Ruin) -> None:
    ruin.write("tile/0/002", b"damaged")
    done = job(ruin).carry_out()
    statement = said(ruin, done)
    assert statement["new_tree"]["size"] == 512
    assert "is as it was signed" not in statement["says"]
    assert "1 lie beside" in statement["says"]
    assert "512 of 2600" in statement["says"]
    assert ruin.log.read("tile/0/002") == b"damaged"


def test_what_is_whole_again_is_said_to_be(kept: Ruin) -> None:
    kept.write("tile/0/002", b"damaged")
    statement = said(kept, job(kept).carry_out())
    assert statement["says"] == "The signed tree is as it was signed. Nothing was signed anew."
    assert statement["new_tree"] == {
        "size": SIZES[-1],
        "root": kept.look()[0].head.root.hex(),
    }


def test_a_plan_to_write_over_is_not_carried_out_beside_nor_the_other_way(ruin: Ruin) -> None:
    ruin.write("tile/0/002", b"damaged")
    before = sorted(ruin.root.rglob("*"))
    order = replace(order_of(ruin.look()[0]), mode=Mode.IN_PLACE)
    with pytest.raises(Conflict, match="make a new plan"):
        job(ruin, order).carry_out()
    ruin.versions = KeptOver(root=ruin.root)
    with pytest.raises(Conflict, match="make a new plan"):
        job(ruin, replace(order, mode=Mode.BESIDE)).carry_out()
    assert sorted(ruin.root.rglob("*")) == before
    assert ruin.log.read("tile/0/002") == b"damaged"


def answered(done: Done) -> RebuildAnswer:
    return RebuildAnswer(**done.as_json())


def test_what_the_sealer_answers_is_told_from_its_signed_statement(kept: Ruin) -> None:
    forge_tiles(kept)
    order = order_of(kept.look()[0])
    done = job(kept, order).carry_out()
    told = stated(kept.log, TRUST, answered(done), order)
    assert told["put_back"] == len(done.put_back)
    assert told["new_tree"]["root"] == told["root"]
    again = job(kept, order).carry_out()
    assert again.put_back == ()
    assert stated(kept.log, TRUST, answered(again), order) == told


FORGED: Sequence[dict[str, Any]] = (
    {"put_back": 999},
    {"put_back": 0, "sha256": "0" * 64},
    {"left": 3},
    {"lost": 1},
    {"size": 5},
    {"root": "00" * 32},
    {"note": "no note"},
    {"origin": "another"},
)


@pytest.mark.parametrize("forged", FORGED, ids=",".join)
def test_an_answer_that_the_statement_does_not_bear_out_is_not_believed(
    kept: Ruin, forged: dict[str, Any]
) -> None:
    kept.remove("tile/0/002")
    order = order_of(kept.look()[0])
    answer = answered(job(kept, order).carry_out())
    with pytest.raises(NotProven, match="do not believe it"):
        stated(kept.log, TRUST, replace(answer, **forged), order)


def test_the_statement_of_an_older_order_is_no_answer_to_this_one(kept: Ruin) -> None:
    kept.remove("tile/0/002")
    order = order_of(kept.look()[0])
    answer = answered(job(kept, order).carry_out())
    for other in (replace(order, incident="INC-2"), replace(order, objects=("tile/0/003",))):
        with pytest.raises(NotProven, match="do not believe it"):
            stated(kept.log, TRUST, answer, other)
    with pytest.raises(Malformed, match="path of a statement"):
        stated(kept.log, TRUST, replace(answer, statement="../x"), order)
