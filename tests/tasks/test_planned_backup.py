"""What a person approved is the backup that is restored: not its name, and not its neighbour."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.clients.errors import Transient
from tasks.domain.backups import Backup, Kind, Place
from tasks.domain.errors import PlanStale
from tasks.domain.plan import Plan
from tasks.settings import settings
from tasks.work import catalogue
from tasks.work.backup_places import DirectoryPlace
from tasks.work.catalogue import list_places
from tasks.work.content_digest import content_digest
from tasks.work.loading import rules_of
from tasks.work.planned_backup import place_of, planned_backup, planned_content, require_content
from tasks.work.restore_source import prepare
from tests.commanding import environment
from tests.tasks.recovery.away import Away

__all__ = ["environment"]

pytestmark = pytest.mark.usefixtures("no_store")

AT = datetime(2026, 3, 14, 2, tzinfo=UTC)
PLAIN = b"--\n-- PostgreSQL database dump\n--\n"
SIGNED = Backup("daily/a.dump", 10, "ab" * 32, 900, AT, trusted=True, root="primary")


@pytest.fixture
def no_store(environment: pytest.MonkeyPatch) -> None:
    """A store that does not answer."""
    for name, value in (
        ("ENDPOINT_URL", "http://127.0.0.1:9"),
        ("ACCESS_KEY_ID", "nobody"),
        ("SECRET_ACCESS_KEY", "nothing"),
    ):
        environment.setenv(f"RUNBOOK_STORE__{name}", value)


def plan_for(backup: Backup, content: str = "") -> Plan:
    observed = {
        "backup": backup.key,
        "backup_place": place_of(backup),
        "backup_identity": backup.identity,
        "backup_content": content,
    }
    return Plan("INC-1", "database_recovery", "", (), observed, "nothing", AT)


def test_of_mirrored_buckets_the_one_that_was_approved_is_found() -> None:
    replica = replace(SIGNED, root="replica")
    for order in ([SIGNED, replica], [replica, SIGNED]):
        assert planned_backup(plan_for(replica), order) == replica
        assert planned_backup(plan_for(SIGNED), order) == SIGNED
    with pytest.raises(PlanStale, match="gone or altered"):
        planned_backup(plan_for(replica), [SIGNED])


@pytest.mark.parametrize(
    "other",
    [
        replace(SIGNED, sha256="ac" * 32),
        replace(SIGNED, unusable="bad manifest"),
        replace(SIGNED, sha256="", trusted=False),
        replace(SIGNED, place=Place.DIRECTORY),
        replace(SIGNED, key="daily/b.dump"),
    ],
)
def test_another_backup_under_the_name_makes_the_plan_stale(other: Backup) -> None:
    with pytest.raises(PlanStale, match="gone or altered"):
        planned_backup(plan_for(SIGNED), [other])


def test_an_unsigned_backup_of_another_time_is_another_one() -> None:
    unsigned = replace(SIGNED, sha256="", trusted=False)
    with pytest.raises(PlanStale):
        planned_backup(plan_for(unsigned), [replace(unsigned, taken_at=AT + timedelta(seconds=1))])


def test_a_place_that_does_not_answer_for_a_moment_says_nothing_about_the_backup(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.sql").write_bytes(PLAIN)
    reachable = DirectoryPlace(tmp_path)
    listed = list_places([Away("primary", "daily/"), reachable], [], {}, opens_gpg=False)

    with pytest.raises(Transient, match="the plan stands"):
        planned_backup(plan_for(SIGNED), listed)
    with pytest.raises(PlanStale):
        planned_backup(plan_for(replace(SIGNED, key="weekly/a.dump")), listed)
    with pytest.raises(PlanStale):
        planned_backup(plan_for(replace(SIGNED, root="replica")), listed)


def test_a_file_that_cannot_be_read_for_a_moment_is_not_another_one(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_bytes(PLAIN)
    names = ["a.dump", "b.dump"]
    places = [Away("primary", "daily/", names, "a.dump"), DirectoryPlace(tmp_path)]
    listed = list_places(places, [], {}, opens_gpg=False)
    with pytest.raises(Transient, match="the plan stands"):
        planned_backup(plan_for(SIGNED), listed)


def test_base_backups_that_cannot_be_listed_are_not_gone() -> None:
    now = settings()
    listed = catalogue._bases(now, [])
    base = Backup(
        f"{now.store.base_prefix}monday", 9, "ab" * 32, 7, AT, trusted=True, kind=Kind.BASE
    )
    with pytest.raises(Transient, match="the plan stands"):
        planned_backup(plan_for(replace(base, root=now.store.backups_bucket)), listed)


def test_an_unsigned_backup_that_was_replaced_by_one_of_its_size_and_time_is_not_restored(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    dump = shelf / "a.sql"
    dump.write_bytes(PLAIN + b"-- genuine")
    environment.setenv("RUNBOOK_DATABASE__BACKUP_DIRECTORY", str(shelf))
    (approved,) = list_places([DirectoryPlace(shelf)], [], {}, opens_gpg=False)
    plan = plan_for(approved, content_digest(dump))
    times = dump.stat()
    dump.write_bytes(PLAIN + b"-- poisond")
    os.utime(dump, ns=(times.st_atime_ns, times.st_mtime_ns))
    (found,) = list_places([DirectoryPlace(shelf)], [], {}, opens_gpg=False)
    assert planned_backup(plan, [found]) == approved  # nothing that is listed tells them apart

    with pytest.raises(PlanStale, match="it was replaced since"):
        prepare(
            found,
            None,
            tmp_path / "private",
            rules_of(settings()),
            None,
            lambda _: None,
            planned_content(plan),
        )


def test_the_bytes_that_were_looked_into_are_the_approved_ones(tmp_path: Path) -> None:
    unsigned = replace(SIGNED, sha256="", trusted=False)
    directory = tmp_path / "dump"
    directory.mkdir()
    (directory / "toc.dat").write_bytes(b"toc")
    known = content_digest(directory)
    require_content(unsigned, directory, known)
    (directory / "1.dat").write_bytes(b"more")
    for expected in (known, ""):
        with pytest.raises(PlanStale):
            require_content(unsigned, directory, expected)
    require_content(SIGNED, directory, "")  # fetching has compared it with what was signed
