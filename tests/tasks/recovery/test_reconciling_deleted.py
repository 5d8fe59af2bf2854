"""What was deleted or erased meanwhile does not come back; what nobody signed deletes nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.domain.carry_over import WritersHead
from tasks.domain.reconciled import What
from tasks.work.carry_over import carry_bulk
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.swap import swap
from tasks.work.swapped import Swapped
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIZE, Patient, unfenced
from tests.tasks.recovery.test_recovery_reconciling import (
    appended,
    asked,
    content,
    entries,
    sealed,
    swapped,
)

pytestmark = [pytest.mark.components, pytest.mark.slow]

OF_ROW_2 = {"event_type": "erasure", "data": {"table": "public.annotations", "key": {"id": 2}}}
FILLER: list[Mapping[str, Any]] = [
    {"event_type": "api_access", "data": {"n": number}} for number in range(20)
]
ROW_2 = "SELECT id FROM annotations WHERE id = 2"
NEW_SESSION = (
    "INSERT INTO audit_sessions (session_id, started_at, updated_at) VALUES ('zz', now(), now())"
)
NEW_ANNOTATION = (
    "INSERT INTO annotations (event_id, session_id, annotator, created_at)"
    " VALUES ('z', 'zz', 'anon', now())"
)


def brought_over(patient: Patient, head: WritersHead) -> None:
    carry_bulk(patient.site, lambda: head, unfenced)
    reconcile_bulk(patient.site, BACKUP, unfenced)


def swapped_to(patient: Patient, head: WritersHead) -> Swapped:
    return swap(patient.site, lambda: head, unfenced)


def test_a_row_that_came_over_changed_and_was_then_deleted_does_not_stay(patient: Patient) -> None:
    patient.hurt(NEW_SESSION)
    patient.hurt(NEW_ANNOTATION)
    patient.restore()
    patient.reconcile()
    patient.hurt("UPDATE annotations SET written = 'x' WHERE event_id = 'z'")
    patient.reconcile()
    patient.hurt("DELETE FROM annotations WHERE event_id = 'z'")

    done = swapped(patient)

    assert asked(patient, NAMES.production, "SELECT 1 FROM annotations WHERE event_id = 'z'") == []
    assert done.other_tables.not_carried == 0


def test_a_parent_and_its_child_that_came_over_and_were_deleted_do_not_stay(
    patient: Patient,
) -> None:
    patient.hurt(NEW_SESSION)
    patient.hurt(NEW_ANNOTATION)
    patient.restore()
    patient.reconcile()
    patient.hurt("DELETE FROM annotations WHERE event_id = 'z'")
    patient.hurt("DELETE FROM audit_sessions WHERE session_id = 'zz'")
    before = content(patient)

    done = swapped(patient)

    assert content(patient) == before
    assert done.other_tables.not_carried == 0


def test_one_row_that_others_hold_fast_keeps_no_other_from_going(patient: Patient) -> None:
    patient.hurt(NEW_SESSION)
    patient.hurt(NEW_SESSION.replace("zz", "yy"))
    patient.restore()
    patient.reconcile()
    with patient.servers.postgres.connect(NAMES.scratch) as scratch:
        scratch.execute("UPDATE annotations SET session_id = 'zz' WHERE id = 5")
    patient.hurt("DELETE FROM annotations WHERE id = 5")
    patient.hurt("DELETE FROM audit_sessions WHERE session_id IN ('yy', 'zz')")

    patient.reconcile()

    left = "SELECT session_id FROM audit_sessions WHERE session_id IN ('yy', 'zz')"
    assert asked(patient, NAMES.scratch, left) == [("zz",)]
    assert ('["zz"]', What.GONE) in entries(patient, "audit_sessions")


def test_an_erasure_whose_deletion_comes_after_the_bulk_is_made_again(patient: Patient) -> None:
    head = appended(patient, OF_ROW_2)
    sealed(patient)
    patient.restore()
    brought_over(patient, head)
    assert ("erasure 3000 by row: rows that live", What.LIVES) in entries(patient, "annotations")
    patient.hurt("DELETE FROM annotations WHERE id = 2")

    done = swapped_to(patient, head)

    assert asked(patient, NAMES.production, ROW_2) == []
    assert done.other_tables.total(What.ERASED) == 1
    assert done.other_tables.total(What.LIVES) == 0


def test_an_erasure_that_is_sealed_after_the_bulk_and_then_damaged_is_made_again(
    patient: Patient,
) -> None:
    head = appended(patient, OF_ROW_2, *FILLER)
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    patient.restore()
    brought_over(patient, head)
    assert asked(patient, NAMES.scratch, ROW_2) == [(2,)]
    sealed(patient)
    patient.hurt("UPDATE audit_records SET record = 'x' WHERE seq = %s", SIZE)

    done = swapped_to(patient, head)

    assert asked(patient, NAMES.production, ROW_2) == []
    assert done.other_tables.total(What.UNSIGNED) == 0


def test_an_erased_row_is_not_listed_as_kept(patient: Patient) -> None:
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    head = appended(patient, OF_ROW_2)
    sealed(patient)
    patient.restore()

    done = swapped_to(patient, head)

    assert '["2"]' not in dict(entries(patient, "annotations", NAMES.production))
    assert done.other_tables.not_carried == 0


def test_an_erasure_that_nobody_signed_erases_nothing_and_is_listed(patient: Patient) -> None:
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    head = appended(patient, OF_ROW_2)
    patient.restore()

    done = swapped_to(patient, head)

    assert asked(patient, NAMES.production, ROW_2) == [(2,)]
    assert (f"erasure {SIZE}", What.UNSIGNED) in entries(patient, "", NAMES.production)
    assert "erasures that are not made again: 1" in done.other_tables.sentence()


@pytest.mark.parametrize("is_signed", [False, True])
def test_an_erasure_by_less_than_a_unique_key_empties_no_table(
    patient: Patient, *, is_signed: bool
) -> None:
    data = {"table": "public.annotations", "key": {"is_slow": "false"}}
    head = appended(patient, {"event_type": "erasure", "data": data})
    if is_signed:
        sealed(patient)
    patient.hurt("DROP TABLE annotations")
    patient.restore()
    count = "SELECT count(*) FROM annotations"
    before = asked(patient, NAMES.scratch, count)

    done = swapped_to(patient, head)

    assert asked(patient, NAMES.production, count) == before
    assert done.other_tables.total(What.ERASURE_FAILED, What.UNSIGNED) == 1


def test_a_signed_erasure_is_made_again_where_nobody_can_be_asked(patient: Patient) -> None:
    head = appended(patient, OF_ROW_2)
    sealed(patient)
    patient.hurt("DROP TABLE annotations")
    patient.restore()

    done = swapped_to(patient, head)

    assert asked(patient, NAMES.production, ROW_2) == []
    assert done.other_tables.total(What.ERASED) == 1
