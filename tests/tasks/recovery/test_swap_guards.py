"""What must not come into service by a swap, and what a swap must not cost."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.clients.errors import Conflict, Transient
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.ledger import Status
from tasks.domain.reconciled import Reconciled, What
from tasks.work.carry_over import carry_bulk
from tasks.work.held_scratch import Altered
from tasks.work.outage import Overdue
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.recovery import observe
from tasks.work.restore import restore_beside
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIGNED, Patient, dumped, unfenced
from tests.tasks.recovery.test_recovery_reconciling import (
    appended,
    asked,
    content,
    entries,
    swapped,
)
from tests.tasks.recovery.test_recovery_swap import (
    comment_of,
    doors,
    in_service,
    sealed_further,
    verdict_of,
)

pytestmark = [pytest.mark.components, pytest.mark.slow]

ALTER = "UPDATE audit_records SET record = record || 'x' WHERE seq = 100"
MORE = """
INSERT INTO annotations (event_id, session_id, annotator, created_at)
SELECT 'more ' || n, (SELECT min(session_id) FROM audit_sessions), 'anon', now()
  FROM generate_series(1, %s) n
"""


def assert_untouched(patient: Patient) -> None:
    assert doors(patient) == {NAMES.production: True, NAMES.scratch: True}
    assert comment_of(patient, NAMES.production) == "the audit trail"


def test_a_restored_database_serves_no_plan_of_other_rules(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()  # the newest state was chosen, and denied after this
    chosen = replace(patient.site, rules=patient.site.rules.only_listed())  # now: a time
    with pytest.raises(PlanStale, match="rules for other tables"):
        swap(chosen, patient.writers_head, unfenced)

    restore_beside(chosen, patient.backup, patient.archive, patient.head(), unfenced)
    with pytest.raises(PlanStale, match="rules for other tables"):
        reconcile_bulk(patient.site, BACKUP, unfenced)
    done = swap(chosen, patient.writers_head, unfenced)

    rows = done.other_tables.counts["public.annotations"]
    assert What.CARRIED not in rows
    assert rows[What.LISTED] > 0


def test_what_was_carried_from_a_database_that_is_gone_is_never_dropped(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()
    before = content(patient)
    patient.servers.admin(f"DROP DATABASE {NAMES.production}")
    chosen = replace(patient.site, rules=patient.site.rules.only_listed())

    with pytest.raises(Conflict, match="the only copy"):
        restore_beside(chosen, patient.backup, patient.archive, patient.head(), unfenced)
    with pytest.raises(PlanStale, match="took it away"):
        swapped(patient)
    patient.restore()
    swapped(patient)

    assert content(patient) == before


def test_a_database_that_was_put_under_the_name_meanwhile_stays_there(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()
    said = "restored by hand at 03:10, do not touch"
    patient.servers.admin(f"ALTER DATABASE {NAMES.production} RENAME TO rlhf_audit_old")
    patient.servers.admin(
        f"CREATE DATABASE {NAMES.production} TEMPLATE audit_template OWNER audit_owner"
    )
    patient.servers.admin(f"COMMENT ON DATABASE {NAMES.production} IS '{said}'")

    for step in (lambda: swapped(patient), patient.reconcile):
        with pytest.raises(PlanStale, match="somebody put another one there"):
            step()
    with pytest.raises(Conflict, match="the only copy"):
        patient.restore()

    assert comment_of(patient, NAMES.production) == said
    assert doors(patient)[NAMES.production]


def test_a_log_that_was_altered_after_its_proof_is_not_swapped_in_but_mended(
    patient: Patient,
) -> None:
    patient.restore()
    patient.reconcile()
    patient.servers.admin(ALTER, NAMES.scratch)

    with pytest.raises(Altered, match="find out who"):
        swapped(patient)

    assert_untouched(patient)
    patient.restore()
    swapped(patient)
    assert verdict_of(patient).status is Status.VERIFIED


def test_nobody_can_write_to_the_log_between_its_last_proof_and_the_renames(
    patient: Patient,
) -> None:
    patient.restore()
    patient.reconcile()
    refused = []

    def write(_: Reconciled) -> None:
        with patient.servers.postgres.connect(NAMES.scratch) as other:
            other.execute("SET lock_timeout = '100ms'")
            try:
                other.execute(ALTER)
            except Exception as error:  # noqa: BLE001  whatever it is, it is told below
                refused.append(type(error).__name__)

    closed = []

    def fence() -> None:
        closed.append(not doors(patient).get(NAMES.scratch, True))

    swap(patient.site, patient.writers_head, fence, write)

    assert refused == ["LockNotAvailable"]
    assert closed[-2:] == [True, True]  # before production closes, and before the renames
    assert verdict_of(patient).status is Status.VERIFIED


def test_what_has_to_be_settled_before_the_renames_undoes_the_swap_when_it_fails(
    patient: Patient,
) -> None:
    patient.hurt("UPDATE privacy_budgets SET epsilon_used = 7")
    patient.restore()
    seen: list[Reconciled] = []

    def settle(reconciled: Reconciled) -> None:
        assert not in_service(patient)
        seen.append(reconciled)
        if len(seen) == 1:
            raise Transient("the journal does not answer")

    with pytest.raises(Transient, match="journal"):
        swap(patient.site, patient.writers_head, unfenced, settle)
    assert_untouched(patient)

    done = swap(patient.site, patient.writers_head, unfenced, settle)

    assert [each.contradictions for each in seen] == [done.other_tables.contradictions] * 2
    assert done.other_tables.contradictions[What.UNRELEASED.value] > 0


def test_writers_wait_no_longer_than_the_limit(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()
    short = replace(patient.site, longest_outage_seconds=0.5)
    waited: list[float] = []
    began = threading.Event()

    def write() -> None:
        began.wait(30)
        since = time.monotonic()
        patient.hurt("INSERT INTO model_checkpoints (sha256, created_at) VALUES ('late', now())")
        waited.append(time.monotonic() - since)

    writer = threading.Thread(target=write)
    writer.start()

    def settle(_: Reconciled) -> None:
        began.set()
        time.sleep(3)  # a last look that takes long

    with pytest.raises(Overdue, match="LONGEST_OUTAGE_SECONDS"):
        swap(short, patient.writers_head, unfenced, settle)
    writer.join(30)

    assert waited
    assert waited[0] < 2
    assert_untouched(patient)
    swapped(patient)
    assert asked(patient, NAMES.production, "SELECT 1 FROM model_checkpoints WHERE sha256 = 'late'")


def test_a_session_that_lost_its_locks_while_writers_waited_swaps_nothing(
    patient: Patient,
) -> None:
    patient.restore()
    patient.reconcile()

    def settle(_: Reconciled) -> None:
        patient.servers.admin(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d"
            " ON d.oid = l.database WHERE d.datname = 'rlhf_audit'"
            " AND l.mode = 'ShareRowExclusiveLock'"
        )
        time.sleep(0.2)
        patient.hurt("INSERT INTO model_checkpoints (sha256, created_at) VALUES ('told', now())")

    with pytest.raises(Transient):
        swap(patient.site, patient.writers_head, unfenced, settle)

    assert_untouched(patient)
    swapped(patient)
    assert asked(patient, NAMES.production, "SELECT 1 FROM model_checkpoints WHERE sha256 = 'told'")


def test_a_production_that_was_frozen_is_restored_and_stays_frozen(patient: Patient) -> None:
    patient.servers.admin(
        f"ALTER DATABASE {NAMES.production} SET default_transaction_read_only TO on"
    )
    patient.servers.admin(f"ALTER DATABASE {NAMES.production} CONNECTION LIMIT 50")
    patient.restore()
    patient.reconcile()

    swapped(patient)

    settings = asked(
        patient,
        "postgres",
        "SELECT d.datconnlimit, s.setconfig FROM pg_database d JOIN pg_db_role_setting s"
        " ON s.setdatabase = d.oid WHERE d.datname = 'rlhf_audit'",
    )
    assert settings == [(50, ["idle_session_timeout=1h", "default_transaction_read_only=on"])]


def test_rights_that_were_taken_away_since_the_backup_stay_away(patient: Patient) -> None:
    patient.hurt("REVOKE ALL ON audit_sessions, annotations, audit_records FROM audit_reader")
    patient.hurt("GRANT SELECT ON annotations TO PUBLIC")
    patient.hurt("REVOKE INSERT ON audit_records FROM audit_api")  # it cannot work without
    patient.restore()
    swapped(patient)

    query = "SELECT has_table_privilege('{}', '{}', '{}')"
    for role, table, privilege, expected in (
        ("audit_reader", "annotations", "SELECT", False),
        ("audit_reader", "audit_sessions", "SELECT", False),
        ("audit_reader", "audit_records", "SELECT", True),
        ("audit_api", "audit_records", "INSERT", True),
        ("sealer", "annotations", "SELECT", True),
    ):
        found = asked(patient, NAMES.production, query.format(role, table, privilege))
        assert found == [(expected,)], (role, table)
    listed = asked(
        patient,
        NAMES.production,
        "SELECT key, what, detail FROM audit_recovery.entries"
        " WHERE table_name = 'annotations' AND key LIKE 'right%' ORDER BY 1",
    )
    assert listed == [
        (
            "right SELECT of audit_reader",
            What.RIGHTS,
            "taken back, as in the living database",
        ),
        ("right SELECT of everybody", What.RIGHTS, "granted since, not given"),
    ]


def test_a_sequence_of_text_numbers_and_a_huge_number_stop_nothing(
    patient: Patient, tmp_path: Path
) -> None:
    patient.hurt("CREATE SEQUENCE inv")
    patient.hurt("CREATE TABLE invoices (id text PRIMARY KEY DEFAULT 'INV-' || nextval('inv'))")
    patient.hurt("ALTER TABLE invoices OWNER TO audit_owner")
    patient.hurt("ALTER SEQUENCE inv OWNER TO audit_owner")
    patient.hurt("ALTER SEQUENCE inv OWNED BY invoices.id")
    patient.hurt("GRANT SELECT ON invoices, inv TO sealer")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("SELECT setval('inv', 7)")
    patient.hurt(
        "INSERT INTO annotations (id, event_id, session_id, annotator, created_at)"
        " SELECT 9223372036854775807, 'z', min(session_id), 'a', now() FROM audit_sessions"
    )
    newest = asked(patient, NAMES.production, "SELECT max(id) FROM annotations WHERE id < 2^62")
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)
    patient.reconcile()

    swapped(patient)

    query = "SELECT nextval('inv'), nextval('annotations_id_seq')"
    assert asked(patient, NAMES.production, query) == [(8, newest[0][0] + 1)]


def test_spend_that_a_constraint_refuses_is_listed_and_the_swap_goes_on(
    patient: Patient, tmp_path: Path
) -> None:
    patient.hurt(
        "ALTER TABLE privacy_budgets ADD CONSTRAINT within CHECK (epsilon_used <= epsilon_total)"
    )
    rows = asked(
        patient,
        NAMES.production,
        "SELECT session_id, annotator, epsilon_used FROM privacy_budgets ORDER BY 1, 2 LIMIT 2",
    )
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    head = appended(
        patient,
        *(
            {
                "event_type": "privacy_budget_update",
                "session_id": session,
                "data": {"annotator": annotator, "epsilon_spent": spent, "delta_spent": 0},
            }
            for (session, annotator, _), spent in zip(rows, (1000, 0.25), strict=True)
        ),
    )
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    done = swap(patient.site, lambda: head, unfenced)

    spent = dict(
        asked(patient, NAMES.production, "SELECT session_id, epsilon_used FROM privacy_budgets")
    )
    assert spent[rows[0][0]] == rows[0][2]
    assert float(spent[rows[1][0]]) == pytest.approx(float(rows[1][2]) + 0.25)
    counts = done.other_tables.counts["public.privacy_budgets"]
    assert (counts[What.UNCHARGED], counts[What.REFUSED]) == (2, 1)


def test_a_dump_can_be_made_while_the_book_is_there(patient: Patient, tmp_path: Path) -> None:
    patient.restore()
    patient.reconcile()
    swapped(patient)

    _, archive = dumped(patient, NAMES.production, tmp_path)

    assert archive.stat().st_size > 0


VIEW = """
SET ROLE audit_owner;
CREATE SEQUENCE loot;
GRANT ALL ON SEQUENCE loot TO PUBLIC;
ALTER TABLE audit_records RENAME TO hidden;
CREATE FUNCTION evil() RETURNS boolean LANGUAGE sql AS
    $$ SELECT nextval('public.loot') > 0 $$;
CREATE VIEW audit_records AS SELECT * FROM hidden WHERE (SELECT public.evil());
GRANT SELECT ON audit_records, hidden TO PUBLIC
"""
INDEX = """
SET ROLE audit_owner;
CREATE SEQUENCE loot;
GRANT ALL ON SEQUENCE loot TO PUBLIC;
CREATE FUNCTION evil() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
CREATE INDEX ON {table} ((public.evil()));
CREATE OR REPLACE FUNCTION evil() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'audit_recovery' THEN PERFORM nextval('public.loot'); END IF;
    RETURN 1;
END $$;
"""


def test_a_view_in_the_tables_place_is_no_table_and_runs_nothing_as_us(patient: Patient) -> None:
    with patient.servers.postgres.connect(NAMES.production) as production:
        production.execute(VIEW)

    assert not observe(patient.site, SIGNED).table_readable
    patient.restore()
    patient.reconcile()

    assert asked(patient, NAMES.production, "SELECT is_called FROM loot") == [(False,)]
    swapped(patient)
    assert verdict_of(patient).status is Status.VERIFIED


def test_an_index_that_runs_code_when_it_is_read_writes_nothing_as_us(patient: Patient) -> None:
    with patient.servers.postgres.connect(NAMES.production) as production:
        production.execute(INDEX.format(table="annotations"))
    patient.restore()

    reconciled = patient.reconcile()

    assert asked(patient, NAMES.production, "SELECT is_called FROM loot") == [(False,)]
    assert reconciled.counts["public.annotations"] == {What.UNREADABLE: 1}


def test_code_that_runs_when_the_log_is_read_is_told_before_anything_is_planned(
    patient: Patient,
) -> None:
    with patient.servers.postgres.connect(NAMES.production) as production:
        production.execute(INDEX.format(table="audit_records"))

    with pytest.raises(NotProven, match="drop the index"):
        observe(patient.site, SIGNED)

    assert asked(patient, NAMES.production, "SELECT is_called FROM loot") == [(False,)]


def test_a_row_that_is_erased_again_is_not_listed_as_kept(patient: Patient) -> None:
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    head = appended(
        patient,
        {"event_type": "erasure", "data": {"table": "public.annotations", "key": {"id": 2}}},
    )
    sealed_further(patient)
    patient.restore()

    done = swap(patient.site, lambda: head, unfenced)

    assert done.other_tables.total(What.ERASED) == 1
    assert ('["2"]', What.GONE) not in entries(patient, "annotations", NAMES.production)
    assert done.other_tables.not_carried == 0


def test_a_tail_that_lies_only_in_the_scratch_is_carried_into_service(patient: Patient) -> None:
    patient.restore()
    carry_bulk(patient.site, patient.writers_head, unfenced)
    patient.servers.admin(f"DROP DATABASE {NAMES.production}")

    patient.restore()
    swap(patient.site, lambda: WritersHead(10, bytes(32)), unfenced)

    stored = patient.stored()
    assert stored[: len(stored) - 16] == patient.expected()[: len(stored) - 16]
    assert len(stored) >= 2_900
