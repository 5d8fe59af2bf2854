"""The audit log brought back out of the object store, as Prefect runs it."""

from pathlib import Path

import pytest

from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work import journal
from tasks.work.log_directory import DirectoryLog
from tasks.work.verification import verify_log
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
