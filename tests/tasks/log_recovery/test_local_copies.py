"""What a recovery finds in its target may be the only good copy left: it is kept, and believed."""

import pytest

from tasks.clients.local_folder import LocalFile, open_folder
from tasks.work.log_recovery import Ending
from tests.domain.ledger.sample_log import chained, packed, sealed_files
from tests.tasks.log_recovery.buckets import content

pytestmark = pytest.mark.components

LINES = chained(300)
FILES = sealed_files(LINES)
SEGMENT = "seg/0-300.jsonl.zst"
TILE = "tile/0/000"


def forged(number):
    return packed(chained(300, session_id=f"evil-{number}"))


def test_a_proven_local_segment_outlives_one_that_was_written_over_it_in_the_store(
    plain_bucket, tmp_path
):
    """The store keeps no versions: what was brought before is all there is, time and again."""
    plain_bucket.fill(FILES)
    plain_bucket.recover(tmp_path)
    for number in range(2):
        plain_bucket.put(SEGMENT, forged(number))
        recovery = plain_bucket.recover(tmp_path)
        assert recovery.ending is Ending.VERIFIED, recovery.reason
        assert recovery.mends.lost == ()
        ((put),) = recovery.mends.put
        assert put.path == SEGMENT
        assert "version found-" in put.source
    again = plain_bucket.recover(tmp_path)
    assert (again.ending, again.mirrored.fetched, again.mirrored.aside) == (Ending.VERIFIED, 0, [])


def test_a_copy_that_an_earlier_run_set_aside_is_still_a_source(plain_bucket, tmp_path):
    """That run was killed before it had proven anything."""
    plain_bucket.fill(FILES)
    plain_bucket.recover(tmp_path)
    found = LocalFile(len(FILES[SEGMENT]), "0" * 64)
    with open_folder(tmp_path) as folder:
        good = folder.look(SEGMENT)
        assert good is not None
        aside = folder.set_aside(SEGMENT, f"found-{good.sha256[:12]}", found)
    plain_bucket.put(SEGMENT, forged(0))
    recovery = plain_bucket.recover(tmp_path)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert content(tmp_path)[aside] == FILES[SEGMENT]


def test_the_same_damage_is_put_right_every_time(bucket, tmp_path):
    bucket.fill(FILES)
    bucket.recover(tmp_path)
    for _ in range(3):
        (tmp_path / SEGMENT).write_bytes(b"the same damage")
        recovery = bucket.recover(tmp_path)
        assert (recovery.ending, recovery.mirrored.failed) == (Ending.VERIFIED, [])
        ((_, aside),) = recovery.mirrored.aside
    assert content(tmp_path) == FILES | {aside: b"the same damage"}


def test_an_object_that_could_not_be_brought_is_read_where_it_is(plain_bucket, tmp_path):
    """Its place is taken, so it is not whole here; but nothing of it is called lost."""
    plain_bucket.fill(FILES)
    (tmp_path / SEGMENT).mkdir(parents=True)
    recovery = plain_bucket.recover(tmp_path)
    assert [each.path for each in recovery.mirrored.failed] == [SEGMENT]
    assert recovery.ending is Ending.UNCLEAR
    assert recovery.mends.lost == ()


def test_what_is_lost_here_need_not_be_lost_while_objects_were_not_brought(plain_bucket, tmp_path):
    altered = [*LINES[:40], b'{"no": "record"}', *LINES[41:]]
    token = "timestamps/300.tsr"
    plain_bucket.fill(FILES | {SEGMENT: packed(altered), token: b"a token"})
    (tmp_path / token).mkdir(parents=True)
    recovery = plain_bucket.recover(tmp_path)
    assert (recovery.ending, recovery.mends.lost) == (Ending.UNCLEAR, ((40, 41),))
    assert "1 objects of the log could not be brought" in recovery.reason
    (tmp_path / token).rmdir()
    assert plain_bucket.recover(tmp_path).ending is Ending.LOST


def test_what_was_put_right_before_is_set_aside_when_something_else_is_proven(
    plain_bucket, tmp_path
):
    """The state says that these bytes came from no object that is listed."""
    plain_bucket.fill(FILES | {TILE: b"\0" * 8192})
    first = plain_bucket.recover(tmp_path)
    assert [each.path for each in first.mends.put] == [TILE]
    assert content(tmp_path) == FILES, "what the store has as it is needs no second copy"
