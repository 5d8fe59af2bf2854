"""A store that lists what no file may be called: nothing of it is asked for or written."""

import pytest

from tasks.clients.bulk import BulkReader
from tasks.clients.local_folder import open_folder
from tasks.domain.errors import BadInput
from tasks.domain.local_paths import Why
from tasks.work.log_mirror import mirror
from tasks.work.log_recovery import Ending, Proof, recover
from tasks.work.recovery_sources import Source
from tasks.work.recovery_state import RecoveryState
from tests.domain.ledger.sample_log import TRUST
from tests.simulators.hostile_bucket import BODY, hostile_bucket
from tests.tasks.log_recovery.buckets import content

_HOSTILE = {
    "logs/../../../etc/cron.d/x": Why.OUTSIDE,
    "logs//etc/passwd": Why.EMPTY_PART,
    "logs/a/./b": Why.OUTSIDE,
    "logs/a\\..\\b": Why.BACKSLASH,
    "logs/nul\x00byte": Why.CONTROL,
    "logs/tail/": Why.EMPTY_PART,
    "logs/.unfinished-recovery/lock": Why.RESERVED,
    "logs/" + "x" * 300: Why.TOO_LONG,
    "logs/s/events": Why.FILE_AND_FOLDER,
    "logs/s/events/a.json/b": Why.FILE_AND_FOLDER,
}


def test_keys_that_lead_out_are_listed_exactly_and_never_asked_for(tmp_path):
    """The names of the log win, although the strays that meet them are listed first."""
    target = tmp_path / "target"
    good = ["logs/s/events/a.json", "logs/s/events/b.json"]
    with hostile_bucket([*_HOSTILE, *good]) as (settings, asked):
        reader = BulkReader(settings, "bucket")
        with open_folder(target) as folder:
            state = RecoveryState(folder, "s3://bucket/logs/")
            done = mirror(reader, "logs/", folder, state)
            state.close()
        reader.close()
    assert {each.key: each.why for each in done.refused} == _HOSTILE
    assert sorted(asked) == good
    assert content(target) == {"s/events/a.json": BODY, "s/events/b.json": BODY}
    assert [each.name for each in tmp_path.iterdir()] == ["target"]
    assert done.extra == []


def test_an_object_that_is_another_one_than_was_listed_is_what_is_remembered(tmp_path):
    """Its digest and size are those of the bytes that came, not those of the listing."""
    with hostile_bucket(["logs/a"]) as (settings, _):
        reader = BulkReader(settings, "bucket")
        for fetched in (1, 0):
            with open_folder(tmp_path) as folder:
                state = RecoveryState(folder, "s3://bucket/logs/")
                done = mirror(reader, "logs/", folder, state)
                state.close()
            assert (done.fetched, done.unchanged) == (fetched, 1 - fetched)
        reader.close()


def brought(settings, target, source="s3://bucket/logs/", **more):
    reader = BulkReader(settings, "bucket")
    with open_folder(target, fill=not more.get("dry_run")) as folder:
        state = RecoveryState(folder, source)
        try:
            return mirror(reader, "logs/", folder, state, **more)
        finally:
            state.close()
            reader.close()


def test_a_directory_of_another_source_is_refused_and_stays_as_it_is(tmp_path):
    """A log is judged by all that lies there, so one copy would be called altered by the other."""
    with hostile_bucket(["logs/a"]) as (settings, asked):
        brought(settings, tmp_path)
        state = tmp_path / ".unfinished-recovery" / "state.jsonl"
        before = state.read_bytes()
        for more in ({"dry_run": True}, {}):
            with pytest.raises(BadInput, match="found what was brought from s3://bucket/logs/"):
                brought(settings, tmp_path, "s3://other/logs/", **more)
        assert state.read_bytes() == before
        assert brought(settings, tmp_path).unchanged == 1
    assert asked == ["logs/a"]
    assert content(tmp_path) == {"a": BODY}


def test_a_directory_where_nothing_was_brought_is_of_no_source(tmp_path):
    with hostile_bucket([]) as (settings, _):
        brought(settings, tmp_path, "s3://bucket/a slip of the pen/")
    with hostile_bucket(["logs/a"]) as (settings, _):
        assert brought(settings, tmp_path).fetched == 1


def test_names_that_differ_by_case_are_two_where_the_file_system_says_so(tmp_path):
    """Otherwise whoever may write one key could keep the log's own from coming back."""
    keys = ["logs/S/events/a.json", "logs/s/events/a.json", "logs/S/EVENTS/a.json"]
    with open_folder(tmp_path) as folder:
        if folder.own.folds_names():
            pytest.skip("this file system takes them for one")
    with hostile_bucket(keys) as (settings, _):
        done = brought(settings, tmp_path)
    assert (done.refused, done.log_files_left) == ([], 0)
    assert content(tmp_path) == dict.fromkeys([key.removeprefix("logs/") for key in keys], BODY)
    ours = tmp_path / ".unfinished-recovery"
    assert sorted(each.name for each in ours.iterdir()) == ["lock", "state.jsonl"]


def test_of_thousands_of_refused_keys_all_are_counted_and_the_first_are_named(tmp_path):
    with hostile_bucket([*(f"logs/z\x07{n}" for n in range(1500)), "logs/a"]) as (settings, asked):
        done = brought(settings, tmp_path)
    assert (done.refused_count, len(done.refused), asked) == (1500, 1000, ["logs/a"])
    assert {each.why for each in done.refused} == {Why.CONTROL}


def test_versions_that_we_may_not_see_are_told_with_what_to_grant(tmp_path):
    keys = ["logs/checkpoints/5", "logs/daily/20240122/audit_logs/s/events/a.json"]
    with hostile_bucket(keys, shows_versions=False) as (settings, _):
        recovery = recover(Source("bucket", "logs/"), tmp_path, settings, Proof(trust=TRUST))
    assert recovery.ending is Ending.UNCLEAR
    assert "grant s3:ListBucketVersions" in recovery.reason
    assert str(recovery.source) == "s3://bucket/logs/"
