"""Point in time over a real patient: base backup and WAL out of the store, planned and restored."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab, Options
from tasks.domain.backups import Backup, Kind
from tasks.domain.errors import NotProven
from tasks.domain.pace import Pace
from tasks.domain.recovery_target import Target, TargetKind
from tasks.settings import settings
from tasks.work import catalogue
from tasks.work.loading import rules_of
from tasks.work.log_heads import latest_head
from tasks.work.proposing import propose, recovery_site
from tasks.work.recovery import Site
from tasks.work.restore import restore_beside
from tasks.work.restore_source import Prepared, prepare

pytestmark = [pytest.mark.components, pytest.mark.slow]

RECORDS = 2_000
INCIDENT = "INC-20260314-030012-a1b2"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A patient that archives: a base backup and a dump of the same morning."""
    options = Options(
        records=RECORDS, prefect=False, writer=False, checked_per_second=0, archiving=True
    )
    with Lab(options) as running:
        yield running


def report(lab: Lab, name: str) -> datetime:
    """A row of another table; a moment after it and before anything else."""
    with lab.patient.connect(DATABASE) as connection:
        connection.execute(
            "INSERT INTO compliance_reports (event_id, created_at) VALUES (%s, now())", (name,)
        )
    time.sleep(0.05)
    at = datetime.now(UTC)
    time.sleep(1.1)  # the store tells whole seconds: WAL that arrives in this one may be older
    return at


def planned(at: datetime) -> Backup:
    """The backup that the plan for the moment takes."""
    backups = catalogue.list_all()
    proposal = propose(INCIDENT, Target(TargetKind.TIME, time=at), backups)
    assert proposal.plan is not None
    observed = proposal.plan.observed
    assert observed["replay_to"] == at.isoformat()
    assert "by a base backup and its WAL" in proposal.plan.summary
    return next(each for each in backups if each.key == observed["backup"])


def made(site: Site, base: Backup, at: datetime, directory: Path, told: list[Pace]) -> Prepared:
    rules = rules_of(settings())
    return prepare(base, at, directory, rules, site.binaries, told.append)


def test_other_tables_come_back_as_of_the_moment_and_the_audit_log_as_it_was_signed(
    lab: Lab, tmp_path: Path
) -> None:
    site = recovery_site(INCIDENT)
    wanted = report(lab, "before the moment")
    report(lab, "after the moment")
    lab.archive_now()
    base = planned(wanted)
    assert base.kind is Kind.BASE
    told: list[Pace] = []

    source = made(site, base, wanted, tmp_path, told)
    head = latest_head(site.log, site.trust)
    restored = restore_beside(site, source.backup, source.archive, head, lambda: None)

    assert restored.signed == lab.sealed_size == RECORDS
    with lab.patient.connect(site.names.scratch) as scratch:
        rows = scratch.execute(
            "SELECT event_id FROM compliance_reports WHERE event_id LIKE '%%the moment'"
        )
        assert rows.fetchall() == [("before the moment",)]
        count = scratch.execute("SELECT count(*) FROM audit_records").fetchone()
        assert count == (RECORDS,)
    assert "was recovered to" in source.notes[0]
    assert {pace.what for pace in told} >= {"recovering: base", "recovering: WAL"}
    again = restore_beside(site, source.backup, source.archive, head, lambda: None)
    assert (again.database, again.added) == (restored.database, 0)  # found, not made anew


def test_a_moment_at_which_the_table_was_gone_is_said_before_anything_is_made(
    lab: Lab, tmp_path: Path
) -> None:
    site = recovery_site("INC-20260314-030012-dead")
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("ALTER TABLE audit_records RENAME TO audit_records_gone")
    gone = report(lab, "while it was gone")
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("ALTER TABLE audit_records_gone RENAME TO audit_records")
    report(lab, "later")
    lab.archive_now()
    base = planned(gone)

    with pytest.raises(NotProven, match="choose an earlier moment"):
        made(site, base, gone, tmp_path, [])
    with lab.patient.connect() as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname = %s", (site.names.scratch,)
        ).fetchone()
    assert found == (0,)
