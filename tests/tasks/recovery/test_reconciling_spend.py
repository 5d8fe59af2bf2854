"""Privacy spend never falls unnoticed: not by erasures, losses, NULLs or keys that stand twice."""

import json
from typing import Any

import pytest

from tasks.domain.reconciled import What
from tasks.work.carry_over import carry_bulk
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.restore import restore_beside
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIGNED, SIZE, Patient, dumped, unfenced
from tests.tasks.recovery.test_recovery_reconciling import (
    appended,
    asked,
    entries,
    sealed,
    swapped,
)

pytestmark = [pytest.mark.components, pytest.mark.slow]

Key = tuple[str, str]
OF_KEY = " WHERE (session_id, annotator) = (%s, %s)"
LESS = (
    "UPDATE privacy_budgets SET epsilon_used = epsilon_used - %s, delta_used = delta_used - %s,"
    " operations_count = operations_count - 1"
)


def hurt_row(patient: Patient, key: Key, statement: str, *values: object) -> None:
    patient.hurt(statement + OF_KEY, *values, *key)


def in_backup(patient: Patient) -> Key:
    query = "SELECT session_id, annotator FROM privacy_budgets ORDER BY updated_at LIMIT 1"
    found = asked(patient, NAMES.production, query)[0]
    return str(found[0]), str(found[1])


def spent(patient: Patient, key: Key) -> list[Any]:
    """(epsilon used, epsilon total) in production."""
    query = "SELECT session_id, annotator, epsilon_used, epsilon_total FROM privacy_budgets"
    return [row[2:] for row in asked(patient, NAMES.production, query) if row[:2] == key]


def listed(patient: Patient, table: str, part: str) -> list[str]:
    found = entries(patient, table, NAMES.production)
    return [what for key, what in found if part in key]


def hide_a_release(patient: Patient) -> tuple[int, Key]:
    """A release of the unsigned tail is damaged, and the table says that it never was."""
    for row in reversed(patient.genuine[SIGNED : SIZE - 20]):
        event = json.loads(row.record)
        if row.event_type == "privacy_budget_update" and "annotator" in event["data"]:
            break
    else:
        raise AssertionError("expected a release in the tail")
    key = (event["session_id"], event["data"]["annotator"])
    patient.hurt("UPDATE audit_records SET record = 'x' WHERE seq = %s", row.seq)
    charged = (event["data"]["epsilon_spent"], event["data"]["delta_spent"])
    hurt_row(patient, key, LESS, *charged)
    return row.seq, key


def test_an_erasure_of_spend_is_not_made_and_contradicts(patient: Patient) -> None:
    key = in_backup(patient)
    before = spent(patient, key)
    hurt_row(patient, key, "DELETE FROM privacy_budgets")
    erased = {"session_id": key[0], "annotator": key[1]}
    event = {"event_type": "erasure", "data": {"table": "privacy_budgets", "key": erased}}
    head = appended(patient, event)
    sealed(patient)
    patient.restore()

    done = swap(patient.site, lambda: head, unfenced)

    assert spent(patient, key) == before
    assert done.other_tables.total(What.ERASED) == 0
    assert done.other_tables.contradictions[What.UNCOMPARED.value] >= 1


def test_a_release_that_is_lost_contradicts(patient: Patient) -> None:
    hide_a_release(patient)
    patient.restore()
    patient.reconcile()

    done = swapped(patient)

    assert done.other_tables.contradictions[What.LOST.value] == 1


def test_a_release_that_was_sealed_and_then_damaged_is_charged(patient: Patient) -> None:
    patient.restore()
    sealed(patient)
    query = "SELECT session_id, annotator, epsilon_used, epsilon_total FROM privacy_budgets"
    before = {row[:2]: row[2:] for row in asked(patient, NAMES.production, query)}
    _, key = hide_a_release(patient)
    patient.reconcile()

    done = swapped(patient)

    assert spent(patient, key) == [before[key]]
    assert What.LOST.value not in done.other_tables.contradictions


def test_spend_under_a_key_that_stands_twice_contradicts(patient: Patient) -> None:
    key = in_backup(patient)
    patient.hurt("ALTER TABLE privacy_budgets DROP CONSTRAINT privacy_budgets_pkey")
    hurt_row(patient, key, "UPDATE privacy_budgets SET epsilon_used = 7")
    hurt_row(patient, key, "INSERT INTO privacy_budgets SELECT * FROM privacy_budgets")
    patient.restore()
    patient.reconcile()

    done = swapped(patient)

    assert listed(patient, "privacy_budgets", key[0]) == [What.AMBIGUOUS]
    assert done.other_tables.contradictions == {What.UNCOMPARED.value: 2}


def test_a_limit_that_was_lowered_since_stays_lowered(patient: Patient) -> None:
    key = in_backup(patient)
    [(used, _)] = spent(patient, key)
    lower = "UPDATE privacy_budgets SET epsilon_total = 0.5, updated_at = now()"
    hurt_row(patient, key, lower)
    patient.restore()
    patient.reconcile()

    done = swapped(patient)

    assert [(float(a), float(b)) for a, b in spent(patient, key)] == [(float(used), 0.5)]
    assert listed(patient, "privacy_budgets", key[0]) == [What.CHANGED]
    assert done.other_tables.contradictions == {}


def test_a_limit_that_comes_with_less_spend_is_not_believed(patient: Patient) -> None:
    key = in_backup(patient)
    before = spent(patient, key)
    raised = "UPDATE privacy_budgets SET epsilon_total = 99, epsilon_used = 0, updated_at = now()"
    hurt_row(patient, key, raised)
    patient.restore()
    patient.reconcile()

    done = swapped(patient)

    assert spent(patient, key) == before
    assert done.other_tables.contradictions == {What.FELL.value: 1}


def test_a_null_hides_neither_a_difference_nor_a_fall(patient: Patient) -> None:
    patient.hurt("ALTER TABLE audit_sessions ALTER updated_at DROP NOT NULL")
    session = asked(patient, NAMES.production, "SELECT min(session_id) FROM audit_sessions")[0][0]
    patient.hurt(
        "UPDATE audit_sessions SET model = 'other', updated_at = NULL WHERE session_id = %s",
        session,
    )
    patient.hurt("ALTER TABLE privacy_budgets ALTER epsilon_used DROP NOT NULL")
    key = in_backup(patient)
    before = spent(patient, key)
    hurt_row(patient, key, "UPDATE privacy_budgets SET epsilon_used = NULL")
    patient.restore()
    patient.reconcile()

    done = swapped(patient)

    assert listed(patient, "audit_sessions", session) == [What.DIFFERS]
    assert done.other_tables.contradictions == {What.FELL.value: 1}
    assert spent(patient, key) == before


def test_spend_that_fell_is_still_a_finding_when_it_rises_again(patient: Patient) -> None:
    key = in_backup(patient)
    hurt_row(patient, key, "UPDATE privacy_budgets SET epsilon_used = 0")
    patient.restore()
    assert patient.reconcile().contradictions == {What.FELL.value: 1}
    more = "UPDATE privacy_budgets SET epsilon_used = 8, updated_at = now()"
    hurt_row(patient, key, more)

    reconciled = patient.reconcile()

    assert reconciled.contradictions == {What.FELL.value: 1}


def test_one_release_that_the_table_refuses_keeps_no_other_out(
    patient: Patient, tmp_path: Any
) -> None:
    patient.hurt("ALTER TABLE privacy_budgets ADD CONSTRAINT named CHECK (annotator <> 'bad')")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    charge = {"epsilon_spent": 0.25, "delta_spent": 1e-12}
    releases = [
        {"event_type": "privacy_budget_update", "data": {"annotator": name, **charge}}
        for name in ("bad", "good")
    ]
    head = appended(patient, *releases)
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    done = swap(patient.site, lambda: head, unfenced)

    assert [float(used) for used, _ in spent(patient, ("s", "good"))] == [0.25]
    assert done.other_tables.contradictions[What.UNCHARGED.value] == 2


def test_a_tiny_delta_that_was_never_charged_contradicts(patient: Patient) -> None:
    key = in_backup(patient)
    hurt_row(patient, key, "UPDATE privacy_budgets SET delta_used = 0")
    data = {"annotator": key[1], "epsilon_spent": 0, "delta_spent": 1e-12}
    event = {"event_type": "privacy_budget_update", "session_id": "new", "data": data}
    head = appended(patient, event)
    charged = (
        "INSERT INTO privacy_budgets (session_id, annotator, operations_count, epsilon_total)"
        " VALUES ('new', %s, 1, 1)"
    )
    patient.hurt(charged, key[1])
    patient.restore()

    done = swap(patient.site, lambda: head, unfenced)

    assert done.other_tables.total(What.UNCHARGED) == 1


def test_a_table_that_can_be_read_again_is_no_longer_called_unreadable(patient: Patient) -> None:
    patient.hurt("ALTER TABLE privacy_budgets RENAME TO hidden")
    patient.restore()
    carry_bulk(patient.site, patient.writers_head, unfenced)
    assert reconcile_bulk(patient.site, BACKUP, unfenced).contradictions
    patient.hurt("ALTER TABLE hidden RENAME TO privacy_budgets")

    reconciled = reconcile_bulk(patient.site, BACKUP, unfenced)

    assert reconciled.contradictions == {}
    assert reconciled.total(What.UNREADABLE) == 0
