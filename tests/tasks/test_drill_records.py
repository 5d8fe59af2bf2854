"""Drills as an operator has them: the command, what is kept, and who is told."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from deployments.lab.s3 import BACKUPS
from deployments.lab.stack import Lab
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import Notification
from tasks.domain.drills import Choice, DrillResult, Ending, Phase, no_backup
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import catalogue, drill_alarm, drill_records, intake, journal, successes
from tests.commanding import Command, command, environment
from tests.conftest import RECORDS

__all__ = ["command", "environment"]

pytestmark = pytest.mark.components

AT = datetime(2026, 3, 14, 3, 45, tzinfo=UTC)
FAILED = DrillResult(
    "database/a.dump", Ending.FAILED, AT, "poisoned", identity="a" * 64, choice=Choice.NEWEST
)
PASSED = replace(FAILED, ending=Ending.PASSED, reason="")
UNKNOWN = replace(FAILED, ending=Ending.UNKNOWN, reason="no room")


@pytest.fixture
def only_backups(patient: Lab) -> Iterator[Lab]:
    """Production, its API and its cache are gone; what is left is store, log and responder."""
    patient.patient.stop()
    patient.api.stop()
    yield patient
    patient.patient.start()
    patient.api.start()


def overwrite(lab: Lab, change: Callable[[bytes], bytes]) -> None:
    """The newest backup's bytes are others."""
    client = lab.objects.client("operator")
    whole = client.get_object(Bucket=BACKUPS, Key=lab.backup_key)["Body"].read()
    client.put_object(Bucket=BACKUPS, Key=lab.backup_key, Body=change(whole))
    client.close()


def kept() -> list[tuple[str, str]]:
    return [(each.key, each.ending.value) for each in drill_records.history()]


def test_the_newest_backup_passes_without_any_production(
    only_backups: Lab, command: Command, tmp_path: Path
) -> None:
    written = tmp_path / "drill.json"
    ended = command("drill", "--json", written)
    assert (ended.code, ended.err) == (GOOD, ""), ended.out
    for word in ("fetch", "load", "check", "prove", "RTO", "RPO", "PASSED"):
        assert f"\n{word}" in ended.out
    found = json.loads(written.read_text())
    assert (found["ending"], found["choice"], found["key"]) == (
        "passed",
        "newest",
        only_backups.backup_key,
    )
    assert found["signed"] == RECORDS
    assert found["rpo"]["against"] == "start of the drill"
    assert list(found["phases"]) == ["fetch", "load", "check", "prove"]

    assert drill_records.history()[0].as_json() == found
    assert "drill" in successes.last()
    (backup,) = (each for each in catalogue.list_all() if each.key == only_backups.backup_key)
    assert backup.proven is not None
    assert backup.proven.records == only_backups.backup_size
    (fact,) = journal.read(drill_records.JOURNALED_AS).facts
    assert (fact.kind, fact.data["holds"]) == (FactKind.VERIFIED, True)
    assert fact.data["result"]["rto"] == found["rto"]
    assert journal.all_incidents() == []

    shown = command("drill", "--history")
    assert shown.code == GOOD
    assert "passed" in shown.out


def test_a_backup_that_was_overwritten_fails_with_the_reason_and_is_proven_no_more(
    patient: Lab, command: Command
) -> None:
    assert command("drill").code == GOOD
    assert len(drill_records.proven()) == 1
    overwrite(patient, lambda whole: whole[:-100] + bytes(100))
    ended = command("drill", "--backup", patient.backup_key)
    assert ended.code == BAD
    assert "FAILED  backup corrupt" in ended.out
    assert drill_records.proven() == {}
    assert kept() == [(patient.backup_key, "failed"), (patient.backup_key, "passed")]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda whole: whole[:-1], marks=pytest.mark.slow),
        lambda whole: bytes(len(whole)),
        pytest.param(lambda _: b"", marks=pytest.mark.slow),
    ],
    ids=["cut", "zeroed", "empty"],
)
def test_a_newest_backup_that_is_broken_is_not_passed_over_for_a_good_older_one(
    patient: Lab, command: Command, change: Callable[[bytes], bytes]
) -> None:
    patient.back_up_now()
    newest = patient.backup_key
    overwrite(patient, change)
    ended = command("drill")
    assert ended.code == BAD, ended.out
    assert kept() == [(newest, "failed")]
    assert command("drill", "--random").code == GOOD
    assert drill_records.history()[0].key != newest


def test_what_is_asked_wrongly_or_cannot_be_told_is_neither_good_nor_bad(
    patient: Lab, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("drill", "--backup", "database/none.dump").code == COULD_NOT_TELL
    assert command("drill", "--random", "--history").code == COULD_NOT_TELL
    assert kept() == []
    monkeypatch.setenv("RUNBOOK_DATABASE__CLIENT_BINARIES", str(patient.path))
    settings.cache_clear()
    ended = command("drill", "--random")
    assert ended.code == COULD_NOT_TELL
    assert "COULD NOT TELL  expected the program" in ended.out
    assert kept() == [(patient.backup_key, "could not tell")]


@pytest.mark.usefixtures("patient")
def test_only_the_last_drill_that_could_tell_counts() -> None:
    drill_records.record(PASSED)
    drill_records.record(UNKNOWN)
    assert list(drill_records.proven()) == [PASSED.identity]
    drill_records.record(FAILED)
    assert drill_records.proven() == {}
    drill_records.record(replace(PASSED, identity="b" * 64))
    drill_records.record(no_backup())
    assert list(drill_records.proven()) == ["b" * 64]
    drill_records.record(PASSED)
    assert set(drill_records.proven()) == {"a" * 64, "b" * 64}


@pytest.mark.usefixtures("patient")
def test_only_a_drill_that_passed_is_a_success() -> None:
    for result in (FAILED, UNKNOWN, no_backup()):
        drill_records.record(result)
    assert "drill" not in successes.last()
    drill_records.record(PASSED)
    assert "drill" in successes.last()


@pytest.mark.usefixtures("patient")
def test_what_a_failed_drill_quotes_stays_in_the_journal() -> None:
    quoting = replace(FAILED, reason="Failing row contains (Ada Canary)", during=Phase.LOAD)
    drill_records.record(quoting)
    incident, _ = drill_alarm.tell(quoting)
    assert "Canary" not in str([fact.data for fact in journal.read(incident).facts])
    (fact,) = journal.read(drill_records.JOURNALED_AS).facts
    assert "Canary" in fact.data["summary"]


@pytest.mark.usefixtures("patient")
def test_a_failure_is_told_at_once_and_joined_by_prometheus_saying_the_same() -> None:
    incident, is_new = drill_alarm.tell(FAILED)
    assert is_new
    assert drill_alarm.tell(replace(FAILED, at=datetime.now(UTC))) == (incident, False)
    labels = {
        "alertname": drill_alarm.ALERT,
        "severity": "high",
        "category": "responder",
        "choice": "newest",
    }
    from_prometheus = Alert("0123456789abcdef", AlertStatus.FIRING, AT, labels, {})
    taken = intake.take_notification(b"{}", Notification("{}", "runbook", 0, (from_prometheus,)))
    assert (taken.opened, taken.joined) == ((), (incident,))
    assert journal.open_incidents() == [incident]
    state = journal.read(incident)
    assert state.title == "Runbook: a backup did not pass its restore drill"
    assert not state.closes_on_resolve
