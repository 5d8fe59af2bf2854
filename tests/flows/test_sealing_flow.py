"""The hourly sealing, as the schedule runs it, and the journal's seal at an incident's end."""

import re

import pytest

from deployments.lab.stack import ORIGIN, Lab
from tasks.clients.object_store import ObjectStore
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import anchors, journal, responder
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tests.flows.responding import Responding, until

pytestmark = pytest.mark.flows

_HOURLY = "flows.sealing:sealing()"


def sealed_size(name: LogName) -> int:
    """Size of the newest stored head that log and witnesses signed; 0 without one."""
    known = settings()
    log = ObjectLog(ObjectStore(known.store), *place_of(name, known))
    if not log.paths("checkpoints/"):
        return 0
    head = latest_head(log, trust_of(name, known))
    assert head.refused == ()
    assert len(head.cosigned) == 2
    return head.checkpoint.size


def rows(lab: Lab) -> int:
    with lab.patient.connect("rlhf_audit") as connection:
        row = connection.execute("SELECT count(*) FROM audit_records").fetchone()
    assert row is not None
    return int(row[0])


def test_every_hour_both_logs_are_sealed_and_a_second_run_finds_nothing_new(
    responding: Responding,
) -> None:
    lab = responding.lab
    until(lambda: rows(lab) > lab.options.records, "the writer writes")
    lab.writer.stop()
    journal.append("INC-1", FactKind.NOTE, {"text": "a fact"})
    written = rows(lab)
    ran = responding.flow(f"{_HOURLY}, sealing()")
    assert ran.returncode == 0, ran.stderr
    said = r"audit: \d+ sealed, \d+ new; journal: \d+ sealed, \d+ new"
    first, second = re.findall(said, ran.stdout)
    new = written - lab.options.records
    assert first == f"audit: {written} sealed, {new} new; journal: 1 sealed, 1 new"
    assert second == f"audit: {written} sealed, 0 new; journal: 1 sealed, 0 new"
    assert (sealed_size(LogName.AUDIT), sealed_size(LogName.JOURNAL)) == (written, 1)
    kept = anchors.newest(trust_of(LogName.JOURNAL, settings()))
    assert kept is not None
    assert (kept.checkpoint.origin, kept.checkpoint.size) == (f"{ORIGIN}/journal", 1)
    assert journal.all_incidents() == []


@pytest.mark.slow
def test_a_log_that_cannot_be_sealed_opens_one_incident_and_does_not_hold_up_the_other(
    responding: Responding,
) -> None:
    lab = responding.lab
    lab.writer.stop()
    with lab.patient.connect("rlhf_audit") as connection:
        connection.execute("DELETE FROM audit_records WHERE seq = 17")
    for _ in range(2):
        ran = responding.flow(_HOURLY)
        assert ran.returncode == 0, ran.stderr
        assert "audit: refused: INC-" in ran.stdout
        assert re.search(r"journal: \d+ sealed", ran.stdout)
    (incident,) = journal.all_incidents()
    opened = responding.facts(incident, FactKind.OPENED)
    assert opened[0].data["title"] == "Sealing of the audit log: refused (NotProven)"
    assert opened[0].data["component"] == "audit-trail"


@pytest.mark.slow
def test_an_altered_fact_is_an_incident_of_the_journal(responding: Responding) -> None:
    journal.append("INC-1", FactKind.NOTE, {"text": "a fact"})
    assert responding.flow(_HOURLY).returncode == 0
    with responder.connection() as connection:
        connection.execute("UPDATE journal SET line = overlay(line placing 'X' from 80)")
    ran = responding.flow(_HOURLY)
    assert ran.returncode == 0, ran.stderr
    assert "journal: refused: INC-" in ran.stdout


@pytest.mark.slow
def test_the_facts_of_a_closed_incident_are_sealed_with_its_end(responding: Responding) -> None:
    responding.damage()
    name = responding.alert()
    responding.decide(name, responding.plan(name), "approve")
    responding.until_fact(name, FactKind.CLOSED)
    closed = responding.facts(name, FactKind.CLOSED)[0]
    until(lambda: sealed_size(LogName.JOURNAL) > closed.seq, "the closing fact is sealed")


@pytest.mark.slow
def test_a_sealer_that_is_away_does_not_fail_the_incident(responding: Responding) -> None:
    lab = responding.lab
    lab.sealer.stop()
    responding.damage()
    name = responding.alert()
    responding.decide(name, responding.plan(name), "approve")
    responding.until_fact(name, FactKind.REPORTED)
    responding.until_idle(name)
    assert {run["state"]["type"] for run in responding.runs(name)} == {"COMPLETED"}
    assert sealed_size(LogName.JOURNAL) == 0
    lab.sealer.start()
    lab.writer.stop()
    ran = responding.flow(_HOURLY)
    assert re.search(r"journal: \d+ sealed", ran.stdout), ran.stderr
    assert sealed_size(LogName.JOURNAL) >= len(journal.read(name).facts)
