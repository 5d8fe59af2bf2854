"""What comes out of a base backup and its WAL, whoever wrote that WAL, is a stranger's dump."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.clients.leftovers import runs
from tasks.domain.pace import Pace
from tasks.work.loading import Rules
from tasks.work.restore_source import Prepared, prepare
from tests.tasks.recovery.archived import Archived, archived_cluster, binaries
from tests.tasks.recovery.conftest import Servers
from tests.tasks.recovery.test_point_in_time import opened

pytestmark = pytest.mark.components

_KEY = "the base"
_TABLE = "CREATE TABLE audit_records (seq bigint PRIMARY KEY, record bytea, leaf bytea)"
_PLANTED = (
    "CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER evil BEFORE INSERT ON audit_records FOR EACH ROW EXECUTE FUNCTION evil()",
    "CREATE FUNCTION door() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    # whatever asks whether it is in recovery runs a program, which leaves the server's family
    "ALTER FUNCTION pg_catalog.pg_is_in_recovery() RENAME TO genuine",
    """CREATE FUNCTION pg_catalog.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
       COPY (SELECT 1) TO PROGRAM
         'cat >/dev/null; cd /; setsid sleep 98 >/dev/null 2>&1 & echo $! >> %s';
       RETURN false; END $$""",
)


@pytest.fixture(scope="module")
def cluster(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    """A log with notes 1 and 2; a base; 3, 4."""
    store, settings = opened(servers, "replayed")
    home = servers.log.parent / "replayed"
    home.mkdir(mode=0o711)
    with archived_cluster(servers.postgres.processes, home, store, settings) as made:
        with made.server.connect("log") as connection:
            connection.execute(_TABLE)
            connection.execute("INSERT INTO audit_records VALUES (0, 'r', 'l')")
        made.note(1)
        made.keys[_KEY] = made.base(tmp_path_factory.mktemp("base") / "b").key
        for number in (2, 3, 4):
            made.note(number)
        made.switch()
        yield made
    store.close()


@pytest.fixture(autouse=True)
def configured(cluster: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    store = cluster.settings
    assert store.access_key_id
    for name, value in {
        "ENDPOINT_URL": store.endpoint_url,
        "ACCESS_KEY_ID": store.access_key_id.get_secret_value(),
        "SECRET_ACCESS_KEY": store.secret_access_key.get_secret_value(),
        "BACKUPS_BUCKET": store.backups_bucket,
        "BASE_PREFIX": store.base_prefix,
        "WAL_PREFIX": store.wal_prefix,
    }.items():
        monkeypatch.setenv(f"RUNBOOK_STORE__{name}", value)


def said(made: Prepared, *options: str) -> str:
    return subprocess.run(
        [binaries() / "pg_restore", *options, "--file=-", made.archive],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def notes_in(made: Prepared) -> list[int]:
    rows = said(made, "--data-only", "--table=notes").splitlines()
    return [int(each) for each in rows if each.isdecimal()]


def silent(_: Pace) -> None:
    """Nobody watches."""


@pytest.mark.slow
def test_a_moment_is_kept_though_the_stores_clock_is_behind(
    cluster: Archived, tmp_path: Path
) -> None:
    base = cluster.listed(cluster.keys[_KEY])
    lagging = replace(base, covers_until=cluster.times[2])
    rules = Rules("log")
    made = prepare(lagging, cluster.times[3], tmp_path, rules, binaries(), silent)
    assert notes_in(made) == [1, 2, 3]


@pytest.mark.slow
def test_the_end_is_given_where_no_commit_follows_the_moment(
    cluster: Archived, tmp_path: Path
) -> None:
    base = cluster.listed(cluster.keys[_KEY])
    last = replace(base, covers_until=cluster.times[4])
    made = prepare(last, cluster.times[4], tmp_path, Rules("log"), binaries(), silent)
    assert notes_in(made) == [1, 2, 3, 4]


def test_what_wal_has_planted_is_left_out_and_what_it_has_started_is_ended(
    cluster: Archived, tmp_path: Path
) -> None:
    seen = cluster.server.data.parent / "seen"
    seen.touch()
    seen.chmod(0o666)
    with cluster.server.connect("log") as connection:
        for statement in _PLANTED:
            connection.execute(statement.replace("%s", str(seen)).encode())
    cluster.note(5)
    cluster.switch()
    for each in seen.read_text().split():  # by the cluster itself
        os.kill(int(each), 9)
    seen.write_text("")

    base = cluster.listed(cluster.keys[_KEY])
    made = prepare(base, None, tmp_path, Rules("log"), binaries(), silent)

    assert notes_in(made) == [1, 2, 3, 4, 5]
    schema = said(made, "--schema-only")
    assert "evil" not in schema
    assert "door" not in schema
    assert any("evil" in note for note in made.notes)
    started = [int(each) for each in seen.read_text().split()]
    assert started  # else this shows nothing
    until = time.monotonic() + 5
    while any(runs(pid) for pid in started) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in started if runs(pid)]
    for pid in left:
        os.kill(pid, 9)
    assert not left
