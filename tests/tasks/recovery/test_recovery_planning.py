"""A plan says what the writers could not tell, and outlives the hourly sealing."""

import pytest

from tasks.domain.ledger import Checkpoint
from tasks.settings import ApiSettings
from tasks.work import planning
from tasks.work.log_heads import Head
from tasks.work.sealing import seal
from tests.clients.loopback import answering, sending
from tests.tasks.recovery.conftest import BACKUP, NAMES, ORIGIN, SIGNED, SIGNER, SIZE, Patient

pytestmark = pytest.mark.components

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
NOBODY = ApiSettings(url="http://127.0.0.1:9", timeout_seconds=1)


def test_an_api_that_does_not_answer_or_lacks_the_head_cannot_be_asked() -> None:
    assert planning.ask_writers(NOBODY) is None
    with answering(sending(NOT_FOUND)) as port:
        api = ApiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=5)
        assert planning.ask_writers(api) is None


def test_a_dropped_table_whose_writers_are_silent_needs_two_approvers(patient: Patient) -> None:
    readable = planning.look(patient.site, [patient.backup], NOBODY)
    patient.hurt("DROP TABLE audit_records CASCADE")

    lost = planning.look(patient.site, [patient.backup], NOBODY)

    assert (readable.numbers.unsigned_tail, readable.numbers.approvers_needed) == (SIZE - SIGNED, 1)
    assert lost.numbers.approvers_needed == 2
    for each in (readable, lost):
        assert each.numbers.will_be_lost.startswith("unknown: the writers could not be asked")


def test_a_seal_after_the_plan_does_not_make_it_stale_and_another_database_does(
    patient: Patient,
) -> None:
    planned = planning.look(patient.site, [patient.backup], NOBODY).observed
    dsn = patient.servers.postgres.dsn("sealer", NAMES.production)
    assert seal(dsn, patient.site.log, SIGNER, patient.site.trust).checkpoint.size == SIZE

    assert planning.observed_state(patient.site, patient.head(), patient.backup) == planned

    patient.servers.admin(f"ALTER DATABASE {NAMES.production} RENAME TO rlhf_audit_elsewhere")
    patient.servers.admin(f"CREATE DATABASE {NAMES.production} OWNER audit_owner")
    assert planning.observed_state(patient.site, patient.head(), patient.backup) != planned


def test_a_head_that_no_longer_reaches_to_the_backup_makes_the_plan_stale(
    patient: Patient,
) -> None:
    planned = planning.look(patient.site, [patient.backup], NOBODY).observed
    shorter = Head(Checkpoint(ORIGIN, BACKUP - 1, bytes(32)), "")

    assert planning.observed_state(patient.site, shorter, patient.backup) != planned
