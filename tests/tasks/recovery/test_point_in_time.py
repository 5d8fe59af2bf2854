"""Base backup and WAL from the store, brought to a moment, on real servers."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT
from tasks.clients.leftovers import at_work_in
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres import connect
from tasks.clients.server_user import give_to_server
from tasks.domain.backups import Backup
from tasks.domain.errors import BadInput, NotProven, Refused
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.wal import SEGMENT_BYTES, parse_lsn
from tasks.sections.systems import StoreSettings
from tasks.work.instance_place import instance_place
from tasks.work.point_in_time import Source, disk_needed, recovered
from tests.tasks.recovery.archived import Archived, archived_cluster, binaries, numbers
from tests.tasks.recovery.conftest import BACKUPS, Servers

pytestmark = pytest.mark.components

LATEST = Target()
_KEY, _AFTER_7 = "the base", "position after note 7"

_RECOVER = """
import json, sys
from datetime import datetime
from pathlib import Path
from tasks.domain.backups import Backup, Kind
from tasks.domain.recovery_target import Target
from tasks.work.instance_place import instance_place
from tasks.work.point_in_time import recovered
key, digest, binaries = sys.argv[1:]
base = Backup(key, sha256=digest, trusted=True, kind=Kind.BASE)
with instance_place("killed") as place:
    print(place, flush=True)
    def tell(what, done, due):
        if what == "WAL" and done:
            print(what, flush=True)
            sys.stdin.readline()
    with recovered(base, Target(), place, binaries=Path(binaries), progress=tell):
        sys.exit("it was to be killed")
"""


def opened(servers: Servers, prefix: str) -> tuple[ObjectStore, StoreSettings]:
    key = servers.s3.keys["operator"]
    settings = StoreSettings(
        endpoint_url=servers.s3.url,
        access_key_id=key.key_id,
        secret_access_key=key.secret,
        backups_bucket=BACKUPS,
        base_prefix=f"{prefix}/base/",
        wal_prefix=f"{prefix}/wal/",
    )
    return ObjectStore(settings), settings


@pytest.fixture(scope="module")
def cluster(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    """Notes 1-2, a base, 3-4 in one segment, 5-6, 7-8 in others, a restore point after 6."""
    store, settings = opened(servers, "pitr")
    home = servers.log.parent
    with archived_cluster(servers.postgres.processes, home, store, settings) as made:
        for number in (1, 2):
            made.note(number)
        with made.server.connect() as connection:
            connection.execute("ALTER SYSTEM SET work_mem TO '77MB'")
            connection.execute("ALTER SYSTEM SET restore_command TO 'touch /tmp/obeyed; false'")
        made.keys[_KEY] = made.base(tmp_path_factory.mktemp("base") / "b").key
        for number in (3, 4, 5, 6, 7, 8):
            made.note(number)
            if number == 6:
                with made.server.connect() as connection:
                    connection.execute("SELECT pg_create_restore_point('before the release')")
            if number == 7:
                with made.server.connect() as connection:
                    row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
                    assert row
                    made.keys[_AFTER_7] = row[0]
            if number % 2 == 0:
                made.switch()
        yield made
    store.close()


@pytest.fixture
def base(cluster: Archived) -> Backup:
    return cluster.listed(cluster.keys[_KEY])


def at(moment: datetime) -> Target:
    return Target(TargetKind.TIME, time=moment)


def notes_at(base: Backup, target: Target, source: Source, **more: object) -> list[int]:
    with (
        instance_place("pitr") as place,
        recovered(base, target, place, source=source, binaries=binaries(), **more) as found,
    ):
        assert found.instance.alive()
        return numbers(found.instance.dsn("log"))


def test_the_base_is_listed_with_what_it_covers(cluster: Archived, base: Backup) -> None:
    assert base.trusted
    assert not base.unusable
    assert base.covers_until is not None
    assert base.taken_at is not None
    assert base.taken_at < cluster.times[3]
    assert base.covers_until > cluster.times[7] - timedelta(seconds=1)
    assert disk_needed(base, cluster.source) > 20_000_000


@pytest.mark.parametrize("number", [3, 5, 7])
def test_a_time_between_two_commits_brings_back_the_first_and_not_the_second(
    cluster: Archived, base: Backup, number: int
) -> None:
    wanted = cluster.times[number]
    with (
        instance_place("pitr") as place,
        recovered(base, at(wanted), place, source=cluster.source, binaries=binaries()) as found,
    ):
        assert numbers(found.instance.dsn("log")) == list(range(1, number + 1))
        assert found.reached is not None
        assert cluster.times.get(number - 1, wanted - timedelta(hours=1)) < found.reached <= wanted
        assert found.seconds > 0
        assert found.wal_segments >= 1


def test_the_latest_state_is_everything_that_is_archived(cluster: Archived, base: Backup) -> None:
    assert notes_at(base, LATEST, cluster.source) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_restore_point_brings_back_what_was_there_when_it_was_made(
    cluster: Archived, base: Backup
) -> None:
    found = notes_at(base, LATEST, cluster.source, restore_point="before the release")
    assert found == [1, 2, 3, 4, 5, 6]


def test_nothing_of_the_backups_configuration_is_obeyed(cluster: Archived, base: Backup) -> None:
    shown = (
        "SELECT current_setting('archive_mode'), current_setting('listen_addresses'),"
        " current_setting('event_triggers'), current_setting('work_mem'),"
        " current_setting('archive_command') LIKE '%wal-out%'"
    )
    with (
        instance_place("pitr") as place,
        recovered(base, LATEST, place, source=cluster.source, binaries=binaries()) as found,
        connect(found.instance.dsn("log"), timeout_seconds=5) as connection,
    ):
        assert connection.execute(shown).fetchone() == ("off", "", "off", "4MB", False)
        connection.execute("INSERT INTO public.notes VALUES (99)")  # it is ours, and writable
    assert not Path("/tmp/obeyed").exists()


def test_progress_tells_bytes_of_the_base_and_segments_of_wal(
    cluster: Archived, base: Backup
) -> None:
    told: list[tuple[str, int, int]] = []
    notes_at(base, LATEST, cluster.source, progress=lambda *said: told.append(said))
    of_base = [done for what, done, _ in told if what == "base"]
    of_wal = [done for what, done, _ in told if what == "WAL"]
    assert of_base == sorted(of_base)
    assert of_base[-1] == next(due for what, _, due in told if what == "base")
    assert of_wal == sorted(of_wal)
    assert of_wal[-1] == told[-1][2]


@pytest.fixture(scope="module")
def holed(cluster: Archived) -> tuple[Source, str]:
    """An archive without the segment in which notes 5 and 6 lie."""
    lost = cluster.segments()[-2]
    return cluster.copied("holed/wal/", without=lost), lost


def test_the_latest_state_is_refused_with_the_missing_segment_and_the_last_commit_before_it(
    cluster: Archived, base: Backup, holed: tuple[Source, str]
) -> None:
    source, lost = holed
    name = Path(lost).name.removesuffix(".zst")
    with pytest.raises(NotProven, match=f"WAL missing .*{name}: before it is the") as refused:
        notes_at(base, LATEST, source)
    said = re.search(r"last commit of (\S+ \S+Z)", str(refused.value))
    assert said
    moment = Target.parse(said[1]).time
    assert moment
    assert cluster.times[3] < moment < cluster.times[4]
    assert notes_at(base, at(moment - timedelta(milliseconds=1)), source) == [1, 2, 3]


def test_a_time_after_the_hole_is_refused_with_the_missing_segment(
    cluster: Archived, base: Backup, holed: tuple[Source, str]
) -> None:
    source, lost = holed
    with pytest.raises(NotProven, match=Path(lost).name.removesuffix(".zst")):
        notes_at(base, at(cluster.times[5]), source)


def test_up_to_the_hole_comes_back_when_that_is_what_is_wanted(
    base: Backup, holed: tuple[Source, str]
) -> None:
    source, _ = holed
    assert notes_at(base, LATEST, source, to_hole=True) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_damaged_segment_is_not_taken_for_the_end_of_the_log(
    cluster: Archived, base: Backup
) -> None:
    hurt = cluster.segments()[-2]
    source = cluster.copied("damaged/wal/", damaged=hurt, position=60)  # its first record
    with pytest.raises(NotProven, match="is damaged"):
        notes_at(base, LATEST, source)
    with pytest.raises(NotProven, match="is damaged"):
        notes_at(base, at(cluster.times[7]), source)


def test_a_damaged_record_in_the_last_segment_is_not_taken_for_the_end_of_the_log(
    cluster: Archived, base: Backup
) -> None:
    last = cluster.segments()[-1]
    position = parse_lsn(cluster.keys[_AFTER_7]) % SEGMENT_BYTES + 26  # in the record after that
    source = cluster.copied("hurt-end/wal/", damaged=last, position=position)
    with pytest.raises(NotProven, match=rf"is damaged.*{Path(last).name[:24]}"):
        notes_at(base, LATEST, source)


def with_history(cluster: Archived, prefix: str, *, first_segment: bool) -> Source:
    """The archive with a timeline that somebody made up: it leaves the log after its base."""
    bucket = cluster.settings.backups_bucket
    source = cluster.copied(prefix)
    second = Path(cluster.segments()[-2]).name
    number = int(second[16:24], 16)
    history = f"1\t0/{number * SEGMENT_BYTES + 0x28:X}\tno recovery target specified\n"
    cluster.store.put(bucket, f"{prefix}00000002.history", history.encode())
    if first_segment:
        content = cluster.store.get(bucket, cluster.segments()[-2])
        cluster.store.put(bucket, f"{prefix}00000002{second[8:]}", content)
    return source


def test_a_stray_history_file_does_not_shorten_the_latest_state(
    cluster: Archived, base: Backup
) -> None:
    source = with_history(cluster, "stray/wal/", first_segment=False)
    assert notes_at(base, LATEST, source) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_latest_state_of_a_log_with_two_ends_is_refused_with_both(
    cluster: Archived, base: Backup
) -> None:
    source = with_history(cluster, "forked/wal/", first_segment=True)
    with pytest.raises(NotProven, match=r"found two: timeline 00000002 .* goes on to 00000001"):
        notes_at(base, LATEST, source)


def test_a_time_that_no_commit_follows_is_the_end_where_that_is_allowed(
    cluster: Archived, base: Backup, holed: tuple[Source, str]
) -> None:
    later = at(datetime.now(UTC))
    assert notes_at(base, later, cluster.source, to_hole=True) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert notes_at(base, later, holed[0], to_hole=True) == [1, 2, 3, 4]


def test_a_time_within_the_log_is_kept_though_its_end_is_allowed(
    cluster: Archived, base: Backup
) -> None:
    wanted = at(cluster.times[5])
    assert notes_at(base, wanted, cluster.source, to_hole=True) == [1, 2, 3, 4, 5]


def test_another_clusters_segment_is_refused_by_its_first_page(
    cluster: Archived, base: Backup
) -> None:
    hurt = cluster.segments()[-2]
    source = cluster.copied("foreign/wal/", damaged=hurt, position=24)  # the system identifier
    with pytest.raises(NotProven, match="another cluster's"):
        notes_at(base, LATEST, source)


def test_a_time_after_the_last_commit_is_refused_with_that_commit(
    cluster: Archived, base: Backup
) -> None:
    with pytest.raises(Refused, match="the last commit of") as refused:
        notes_at(base, at(datetime.now(UTC)), cluster.source)
    said = re.search(r"last commit of (\S+ \S+Z)", str(refused.value))
    assert said
    moment = Target.parse(said[1]).time
    assert moment
    assert cluster.times[7] < moment < cluster.times[8]


def test_a_time_before_the_base_was_complete_is_refused_with_the_earliest(
    cluster: Archived, base: Backup
) -> None:
    assert base.taken_at
    earliest = re.escape(str(at(base.taken_at)))
    with pytest.raises(Refused, match=f"from {earliest} on"):
        notes_at(base, at(cluster.times[1]), cluster.source)


def test_a_base_without_its_time_is_no_base_for_a_time(cluster: Archived, base: Backup) -> None:
    with pytest.raises(NotProven, match="the time when it was complete"):
        notes_at(replace(base, taken_at=None), at(cluster.times[1]), cluster.source)


@pytest.mark.parametrize("words", ["size:3", "before-damage"])
def test_a_target_that_wal_does_not_know_is_bad_input(base: Backup, words: str) -> None:
    with pytest.raises(BadInput, match="expected the latest state or a time"):
        notes_at(base, Target.parse(words), Source(None, "", ""))  # type: ignore[arg-type]  # what is refused


def test_a_base_that_nobody_signed_is_not_recovered(base: Backup) -> None:
    with pytest.raises(NotProven, match="signed manifest"):
        notes_at(replace(base, trusted=False), LATEST, Source(None, "", ""))  # type: ignore[arg-type]  # as above


def test_a_base_with_one_changed_byte_is_refused(cluster: Archived, tmp_path: Path) -> None:
    taken = cluster.taken(tmp_path / "b")
    tar = taken / "base.tar"
    content = bytearray(tar.read_bytes())
    at_page = content.index(b"PG_VERSION")
    place = content.index(b"18\n", at_page)
    content[place : place + 2] = b"81"
    tar.write_bytes(content)
    tampered = cluster.published(taken)
    with pytest.raises(NotProven, match=r"backup corrupt.*PG_VERSION"):
        notes_at(tampered, LATEST, cluster.source)


def test_a_base_that_is_cut_off_is_refused(cluster: Archived, tmp_path: Path) -> None:
    taken = cluster.taken(tmp_path / "b")
    tar = taken / "base.tar"
    tar.write_bytes(tar.read_bytes()[:-4_000_000])
    cut = cluster.published(taken)
    with pytest.raises(NotProven, match="the tar is cut off"):
        notes_at(cut, LATEST, cluster.source)


def test_a_base_whose_manifest_was_exchanged_is_listed_as_unusable(
    cluster: Archived, base: Backup
) -> None:
    stored = cluster.store.get(cluster.settings.backups_bucket, f"{base.key}/backup_manifest")
    exchanged = cluster.exchanged(base, stored + b" ")
    assert "expected SHA-256" in exchanged.unusable
    usable = replace(base, key=exchanged.key)
    with pytest.raises(NotProven, match="expected SHA-256"):
        notes_at(usable, LATEST, cluster.source)


def test_a_base_with_tablespaces_is_listed_as_unusable_with_the_reason(
    cluster: Archived, tmp_path: Path
) -> None:
    taken = cluster.taken(tmp_path / "b")
    manifest = json.loads((taken / "backup_manifest").read_bytes())
    manifest["Files"].append(dict(manifest["Files"][0], Path="pg_tblspc/16385/PG_18/1"))
    (taken / "backup_manifest").write_text(json.dumps(manifest))
    assert "has tablespaces" in cluster.published(taken).unusable


def test_a_recovery_that_is_killed_leaves_no_process_and_the_next_use_wipes_it(
    cluster: Archived, base: Backup
) -> None:
    store = cluster.settings
    assert store.access_key_id
    variables = {
        "RUNBOOK_STORE__ENDPOINT_URL": store.endpoint_url,
        "RUNBOOK_STORE__ACCESS_KEY_ID": store.access_key_id.get_secret_value(),
        "RUNBOOK_STORE__SECRET_ACCESS_KEY": store.secret_access_key.get_secret_value(),
        "RUNBOOK_STORE__BACKUPS_BUCKET": store.backups_bucket,
        "RUNBOOK_STORE__WAL_PREFIX": store.wal_prefix,
    }
    owner = subprocess.Popen(
        [sys.executable, "-c", _RECOVER, base.key, base.sha256, str(binaries())],
        cwd=PROJECT,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    place = Path(owner.stdout.readline().strip())
    assert owner.stdout.readline().strip() == "WAL"
    assert at_work_in(place)
    owner.kill()
    owner.communicate()
    until = time.monotonic() + 15
    while at_work_in(place) and time.monotonic() < until:
        time.sleep(0.05)
    assert at_work_in(place) == set()
    assert (next(place.iterdir()) / "data" / "PG_VERSION").exists()
    with instance_place("next"):
        assert not place.exists()


@pytest.mark.slow
def test_a_base_is_brought_over_a_promotion_onto_the_newest_timeline(
    servers: Servers, tmp_path: Path
) -> None:
    store, settings = opened(servers, "promoted")
    home = servers.log.parent / "promoted"
    home.mkdir(mode=0o711)
    with archived_cluster(servers.postgres.processes, home, store, settings) as made:
        made.note(1)
        base = made.base(tmp_path / "b")
        before = made.note(2)
        made.note(3)
        made.switch()
        made.server.stop()
        signal_file = made.server.data / "recovery.signal"
        signal_file.touch()
        give_to_server(signal_file)
        made.server.options["restore_command"] = "false"
        made.server.start()
        made.note(4)
        made.switch()
        assert any("00000002.history" in key for key in made.segments())
        assert notes_at(base, LATEST, made.source) == [1, 2, 3, 4]
        assert notes_at(base, at(before), made.source) == [1, 2]
    store.close()
