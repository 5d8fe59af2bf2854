"""A sealed log comes back from the object store whole and proven, whatever was done to it there."""

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.ledger import Status
from tasks.work.log_recovery import Ending, Proof
from tests.domain.ledger.sample_log import (
    STRANGER,
    STRANGERS,
    TRUST,
    chained,
    note_of,
    packed,
    sealed_files,
)
from tests.tasks.log_recovery.buckets import content

pytestmark = pytest.mark.components

LINES = chained(600)
FILES = sealed_files(LINES, older=(100, 300))


def put_right(recovery):
    return {each.path for each in recovery.mends.put}


def test_what_is_as_it_was_sealed_comes_back_byte_by_byte_and_is_verified(bucket, tmp_path):
    bucket.fill(FILES)
    recovery = bucket.recover(tmp_path / "logs")
    assert (recovery.ending, recovery.reason) == (
        Ending.VERIFIED,
        "all 600 signed records are as signed",
    )
    assert recovery.verdict.signed == 600
    assert content(tmp_path / "logs") == FILES
    assert (recovery.mirrored.fetched, recovery.mirrored.unchanged) == (len(FILES), 0)


def test_a_second_run_hashes_what_is_there_and_fetches_nothing(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    again = bucket.recover(tmp_path)
    assert (again.mirrored.fetched, again.mirrored.unchanged) == (0, len(FILES))
    assert again.ending is Ending.VERIFIED


def test_only_what_changed_is_fetched_by_the_next_run(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    grown = sealed_files(chained(700, LINES), older=(100, 300, 600))
    new = {path: data for path, data in grown.items() if path not in FILES}
    bucket.fill(new)
    again = bucket.recover(tmp_path)
    assert (again.mirrored.fetched, again.ending) == (len(new), Ending.VERIFIED)
    assert again.verdict.signed == 700


def test_a_local_byte_that_changed_is_fetched_again_and_the_altered_file_is_kept(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    file = tmp_path / "seg/0-600.jsonl.zst"
    altered = file.read_bytes()[:-1] + b"\0"
    file.write_bytes(altered)
    again = bucket.recover(tmp_path)
    assert (again.mirrored.fetched, again.ending) == (1, Ending.VERIFIED)
    ((path, now),) = again.mirrored.aside
    assert path == "seg/0-600.jsonl.zst"
    assert (tmp_path / now).read_bytes() == altered
    assert file.read_bytes() == FILES[path]


@pytest.mark.parametrize("path", sorted(FILES))
def test_a_deleted_object_comes_back_from_behind_its_delete_marker(bucket, tmp_path, path):
    bucket.fill(FILES)
    bucket.delete(path)
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    restored = content(tmp_path)
    if path.startswith("seg/"):
        assert put_right(recovery) == {path}
        assert set(restored) == set(FILES)
    else:
        assert restored == FILES
    again = bucket.recover(tmp_path)
    assert (again.ending, again.mirrored.fetched) == (Ending.VERIFIED, 0)
    assert content(tmp_path) == restored


@pytest.mark.parametrize("path", sorted(FILES))
def test_an_overwritten_object_comes_back_as_the_version_that_was_signed(bucket, tmp_path, path):
    bucket.fill(FILES)
    bucket.put(path, FILES[path][:-3] + b"bad")
    bucket.put(path, b"worse")
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, (recovery.reason, recovery.verdict)
    assert path in put_right(recovery)
    assert bucket.recover(tmp_path).mirrored.fetched == 0


def test_a_log_whose_every_object_was_deleted_comes_back(bucket, tmp_path):
    bucket.fill(FILES)
    for path in FILES:
        bucket.delete(path)
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert recovery.verdict.signed == 600


def test_a_newest_head_that_was_hidden_is_found_and_nothing_is_rolled_back(bucket, tmp_path):
    """Without the versions the log of 300 records would verify, and 300 be lost in silence."""
    bucket.fill(sealed_files(LINES[:300]))
    bucket.fill({path: data for path, data in FILES.items() if not path.endswith("s/300")})
    bucket.delete("checkpoints/600")
    recovery = bucket.recover(tmp_path)
    assert (recovery.ending, recovery.verdict.signed) == (Ending.VERIFIED, 600)
    assert "checkpoints/600" in put_right(recovery)


def test_a_history_that_was_rewritten_with_a_strange_key_is_not_taken(bucket, tmp_path):
    bucket.fill(FILES)
    forged = chained(600, session_id="other")
    bucket.fill(sealed_files(forged) | {"checkpoints/600": note_of(forged, STRANGER).encode()})
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    restored = content(tmp_path)
    assert {path: restored[path] for path in FILES if not path.startswith("seg/")} == {
        path: data for path, data in FILES.items() if not path.startswith("seg/")
    }


def test_two_histories_under_the_log_s_own_key_are_never_mixed(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.fill(sealed_files(chained(600, session_id="other")))
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.LOST
    assert "FORK" in recovery.reason
    assert recovery.mends.put == ()


def test_records_that_are_in_no_version_are_an_exact_list(bucket, tmp_path):
    altered = [*LINES[:40], b'{"no": "record"}', b'{"nor": "this"}', *LINES[42:]]
    files = FILES | {"seg/0-600.jsonl.zst": packed(altered)}
    bucket.fill(files)
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is Ending.LOST
    assert recovery.mends.lost == ((40, 42),)
    assert recovery.as_json()["lost"] == [[40, 41]]


def test_without_any_proof_of_the_tree_it_is_said_and_no_range_is_invented(bucket, tmp_path):
    bucket.fill({"checkpoints/600": FILES["checkpoints/600"], "tile/0/000": bytes(8192)})
    recovery = bucket.recover(tmp_path)
    assert recovery.ending is not Ending.VERIFIED
    assert recovery.mends.lost == ()
    assert "nothing" in recovery.reason


def test_a_log_of_strangers_is_brought_but_not_believed(bucket, tmp_path):
    bucket.fill(FILES)
    recovery = bucket.recover(tmp_path, proof=Proof(trust=STRANGERS))
    assert recovery.ending is Ending.UNCLEAR
    assert recovery.verdict.status is Status.UNVERIFIABLE
    assert content(tmp_path) == FILES
    unnamed = bucket.recover(tmp_path, proof=Proof())
    assert unnamed.ending is Ending.UNCLEAR
    assert "--trust" in unnamed.reason


def test_a_source_that_is_behind_a_head_that_somebody_kept_is_no_good(bucket, tmp_path):
    bucket.fill(sealed_files(LINES[:300]))
    kept = note_of(LINES)
    recovery = bucket.recover(tmp_path, proof=Proof(trust=TRUST, notes=(kept,)))
    assert recovery.ending is Ending.LOST
    assert {each.code for each in recovery.verdict.findings} == {"ROLLBACK"}


def test_without_versions_and_a_kept_head_it_is_said_up_to_where_it_is_proven(
    plain_bucket, tmp_path
):
    """A log that was rolled back looks like this too."""
    plain_bucket.fill(sealed_files(LINES[:300]))
    recovery = plain_bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED
    assert "up to the head of 300 records; nothing shows that there was no newer" in recovery.reason
    kept = Proof(trust=TRUST, notes=(note_of(LINES[:300]),))
    assert "nothing shows" not in plain_bucket.recover(tmp_path, proof=kept).reason


def test_a_segment_that_was_written_over_many_times_is_found_behind_all_of_it(bucket, tmp_path):
    bucket.fill(FILES)
    for number in range(21):
        bucket.put("seg/0-600.jsonl.zst", b"junk%d" % number)
    recovery = bucket.recover(tmp_path)
    assert (recovery.ending, recovery.mends.lost) == (Ending.VERIFIED, ()), recovery.reason
    assert put_right(recovery) == {"seg/0-600.jsonl.zst"}


@pytest.mark.slow
def test_a_thousand_planted_heads_keep_nothing_from_being_put_right(plain_bucket, tmp_path):
    junk = {f"checkpoints/{10**6 + number}": b"junk" for number in range(1001)}
    plain_bucket.fill(junk | {path: FILES[path] for path in FILES if path != "tile/0/001"})
    recovery = plain_bucket.recover(tmp_path)
    assert put_right(recovery) == {"tile/0/001"}
    assert recovery.verdict.signed == 600
    assert recovery.ending is Ending.UNCLEAR, "newer heads that do not verify are never read over"
    assert recovery.mends.left


def test_a_prefix_whose_versions_cannot_be_read_is_refused_at_the_start(bucket, tmp_path):
    bucket.fill(FILES, "audit-logs (old)/")
    with pytest.raises(BadInput, match="another prefix"):
        bucket.recover(tmp_path / "logs", "audit-logs (old)/")
    assert not (tmp_path / "logs").exists()


def test_a_prefix_without_a_log_is_told(bucket, tmp_path):
    bucket.put("README", b"x", "strays/")
    for prefix in ("nothing/", "strays/"):
        with pytest.raises(BadInput, match="is the prefix right"):
            bucket.recover(tmp_path, prefix)


def test_a_dry_run_says_what_would_come_and_makes_nothing(bucket, tmp_path):
    bucket.fill(FILES)
    target = tmp_path / "deep" / "logs"
    plan = bucket.recover(target, dry_run=True)
    assert plan.ending is Ending.PLANNED
    assert (plan.mirrored.fetched, plan.mirrored.fetched_bytes) == (
        len(FILES),
        sum(map(len, FILES.values())),
    )
    assert list(tmp_path.iterdir()) == []
    bucket.recover(target)
    assert bucket.recover(target, dry_run=True).mirrored.fetched == 0
