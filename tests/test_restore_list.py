"""`runbook restore --list`: what people read of the backups, and what a program reads."""

import io
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from deployments.exits import COULD_NOT_TELL, GOOD
from deployments.lab.stack import Lab
from deployments.restore_list import as_json, size, table_of, what
from tasks.backups import check_backups
from tasks.domain.backups import Backup, Format, Kind, Layer, Place, Proof
from tasks.domain.observation import Health
from tasks.settings import settings
from tasks.work import incidents, journal
from tests.commanding import Command, command, environment

__all__ = ["command", "environment"]

AT = datetime(2026, 11, 22, 3, tzinfo=timezone(timedelta(hours=1)))
GOOD_ONE = Backup(
    "database/a.dump", 1_300_000_000, "ab" * 32, 42_000, AT, trusted=True, root="backups"
)


def printed(*backups: Backup) -> str:
    written = io.StringIO()
    Console(width=200, file=written).print(table_of(list(backups)), markup=False)
    return written.getvalue()


def test_a_backup_is_shown_with_utc_times_and_whether_it_was_ever_proven() -> None:
    shown = printed(GOOD_ONE, replace(GOOD_ONE, proven=Proof(AT, 31.4, 42_000)))

    never, once = [line for line in shown.splitlines() if "a.dump" in line]
    assert "2026-11-22 02:00" in never
    assert "never proven" in never
    assert "2026-11-22 02:00, 31 s" in once
    assert "1.3 GB" in never
    assert "42,000" in never
    assert "s3://backups/database/a.dump" in never


def test_a_hostile_name_is_shown_as_what_it_is() -> None:
    name = "[red]\x1b[2J\u202e" + "x" * 5000

    shown = printed(Backup(name, place=Place.DIRECTORY, root="/backups"))

    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red][U+001B][2J[U+202E]" in shown.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("backup", "said"),
    [
        (GOOD_ONE, "dump, custom"),
        (
            replace(
                GOOD_ONE,
                kind=Kind.CLUSTER_DUMP,
                format=Format.PLAIN,
                layers=(Layer.GPG, Layer.GZIP),
            ),
            "dump of all databases, plain SQL in gzip in gpg",
        ),
        (replace(GOOD_ONE, kind=Kind.BASE, format=Format.TAR), "base backup, tar"),
        (replace(GOOD_ONE, kind=Kind.REPOSITORY), "pgBackRest repository"),
        (replace(GOOD_ONE, unusable="gone"), "dump, custom; unusable"),
    ],
)
def test_what_it_is_is_said_in_plain_words(backup: Backup, said: str) -> None:
    assert what(backup) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (20 * 10**9, "20.0 GB"),
        (10**18, "1000000.0 TB"),
    ],
)
def test_sizes_are_for_people(amount: int, said: str) -> None:
    assert size(amount) == said


def test_json_has_every_field_and_no_proof_where_there_is_none() -> None:
    written = json.loads(json.dumps(as_json([GOOD_ONE], "fine")))

    (one,) = written["backups"]
    assert one["proven"] is None
    assert (one["taken_at"], one["format"]) == ("2026-11-22T02:00:00+00:00", "custom")
    assert (one["kind"], one["place"], one["layers"]) == ("dump", "object store", [])


@pytest.mark.components
def test_every_place_is_listed_and_one_that_cannot_be_says_why(
    patient: Lab, command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "backup_2026-11-22.sql").write_bytes(b"--\n-- PostgreSQL database dump\n--\n")
    (shelf / "notes.txt").write_text("hello")
    environment.setenv("RUNBOOK_DATABASE__BACKUP_DIRECTORY", str(shelf))
    environment.setenv("RUNBOOK_STORE__MORE_BACKUPS", '["s3://no-such-bucket/daily/"]')
    settings.cache_clear()
    file = tmp_path / "list.json"

    ended = command("restore", "--list", "--json", file)

    assert (ended.code, ended.err) == (GOOD, "")
    found = {one["key"]: one for one in json.loads(file.read_text())["backups"]}
    signed = found[patient.backup_key]
    assert (signed["trusted"], signed["unusable"], signed["format"]) == (True, "", "custom")
    assert signed["log_size"] == patient.backup_size
    plain = found["backup_2026-11-22.sql"]
    assert (plain["trusted"], plain["unusable"], plain["format"]) == (False, "", "plain SQL")
    assert "cannot be listed" in found["daily/"]["unusable"]
    assert "not a backup" in found["notes.txt"]["unusable"]
    assert "never proven" in ended.out
    assert "no drill has proven any of them" in ended.out


@pytest.mark.components
def test_without_anything_to_restore_the_exit_says_so(
    patient: Lab, command: Command, environment: pytest.MonkeyPatch
) -> None:
    assert patient.backup_key
    environment.setenv("RUNBOOK_STORE__DATABASE_PREFIX", "nothing/")
    settings.cache_clear()

    ended = command("restore", "--list")

    assert ended.code == COULD_NOT_TELL
    assert "no backups" in ended.out


@pytest.mark.components
def test_the_list_is_there_while_the_responders_database_is_not(
    patient: Lab, command: Command
) -> None:
    patient.responder.kill()

    ended = command("restore", "--list")

    assert ended.code == GOOD
    assert "what drills have proven is not known now" in ended.out


@pytest.mark.components
@pytest.mark.usefixtures("patient")
def test_the_check_of_the_backups_is_journaled_with_what_is_missing() -> None:
    incident = incidents.declare("t", "database", "database", by="anna")

    seen = check_backups.fn(incident)

    assert seen.health is Health.DEGRADED
    assert "no drill has proven any of them" in seen.summary
    assert journal.read(incident).checks["db.resolution.backups"]["health"] == "Degraded"
