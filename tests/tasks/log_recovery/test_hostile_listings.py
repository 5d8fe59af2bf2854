"""A store that lists what no file may be called: nothing of it is asked for or written."""

from tasks.clients.bulk import BulkReader
from tasks.clients.local_folder import open_folder
from tasks.domain.local_paths import Why
from tasks.work.log_mirror import mirror
from tasks.work.recovery_state import RecoveryState
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
    "logs/s/EVENTS/a.json": Why.COLLIDES,
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


def test_a_state_of_another_source_counts_for_nothing(tmp_path):
    with hostile_bucket(["logs/a"]) as (settings, asked):
        reader = BulkReader(settings, "bucket")
        for source in ("s3://bucket/logs/", "s3://other/logs/"):
            with open_folder(tmp_path) as folder:
                state = RecoveryState(folder, source)
                assert mirror(reader, "logs/", folder, state).aside == []
                state.close()
        reader.close()
    assert asked == ["logs/a", "logs/a"]
    assert content(tmp_path) == {"a": BODY}
