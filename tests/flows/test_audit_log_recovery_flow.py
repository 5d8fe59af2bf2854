"""The audit log brought back out of the object store, as Prefect runs it."""

import subprocess
from pathlib import Path

import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work import journal
from tasks.work.log_directory import DirectoryLog
from tasks.work.verification import verify_log
from tests.domain.ledger.legacy_log import one_chain
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

_RECOVER = "flows.audit_log_recovery:recover_audit_logs()"


def test_the_log_is_listed_restored_and_verified_and_nothing_is_opened(
    responding: Responding, tmp_path: Path
) -> None:
    target = tmp_path / "restored-logs"
    ran = responding.flow(
        f"{_RECOVER}, recover_audit_logs()", RUNBOOK_RESPONDER__RESTORED_LOGS=str(target)
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("verified: s3://rlhf-audit-trail-backups/audit-logs/") == 2
    verdict = verify_log(DirectoryLog(target), settings().ledger.read_trust())
    assert (verdict.status, verdict.records) == (Status.VERIFIED, responding.lab.options.records)
    assert journal.all_incidents() == []


def recovered(
    responding: Responding, target: Path, *source: str
) -> subprocess.CompletedProcess[str]:
    call = f"flows.audit_log_recovery:recover_audit_logs({', '.join(map(repr, source))})"
    return responding.flow(call, RUNBOOK_RESPONDER__RESTORED_LOGS=str(target))


@pytest.mark.slow
def test_records_that_no_copy_has_open_an_incident(responding: Responding, tmp_path: Path) -> None:
    """The segment is in no version, and some of its rows are not as they were signed."""
    responding.damage("bucket-versions-deleted")
    with responding.lab.patient.connect(DATABASE) as connection:
        connection.execute("UPDATE audit_records SET record = record || ' ' WHERE seq = 77")
    ran = recovered(responding, tmp_path / "restored-logs")
    assert ran.returncode == 0, ran.stderr
    assert "lost or tampered: " in ran.stdout
    (incident,) = journal.all_incidents()
    assert f"{incident} was opened" in ran.stdout
    again = recovered(responding, tmp_path / "restored-logs")
    assert f"{incident} is open already" in again.stdout


@pytest.mark.slow
def test_a_recovery_that_could_not_tell_fails_and_says_why(
    responding: Responding, tmp_path: Path
) -> None:
    """Nobody outside has kept where the legacy log ends."""
    client = responding.lab.objects.client("operator")
    for path, data in one_chain().files.items():
        client.put_object(Bucket=BACKUPS, Key=f"old-logs/audit_logs/{path}", Body=data)
    client.close()
    ran = recovered(responding, tmp_path / "restored-logs", f"s3://{BACKUPS}/old-logs/")
    assert ran.returncode != 0
    assert "NotProven: could not tell: s3://rlhf-audit-trail-backups/old-logs/" in ran.stderr
    assert "nothing outside confirms" in ran.stderr
    assert (tmp_path / "restored-logs/audit_logs").is_dir()
    assert journal.all_incidents() == []
