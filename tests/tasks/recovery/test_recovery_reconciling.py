"""Rows of other tables come over from the living database, or stand on the list."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from deployments.lab.dataset import Head, Row
from tasks.clients.object_store import ObjectStore
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import LockLost, NotProven
from tasks.domain.ledger import chain_link, open_note
from tasks.domain.reconciled import Reconciled, What
from tasks.domain.reconciliation_rules import ReconciliationRules, Rule, TableRule
from tasks.sections.systems import StoreSettings
from tasks.work.reconciliation_list import forget_book, seal_list
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.restore import restore_beside
from tasks.work.sealing import seal
from tasks.work.swap import swap
from tasks.work.swapped import Swapped
from tests.tasks.recovery.conftest import (
    BACKUP,
    NAMES,
    ORIGIN,
    RESPONDER,
    SIGNED,
    SIGNER,
    SIZE,
    Patient,
    dumped,
    unfenced,
)

pytestmark = pytest.mark.components

TABLES = (
    "audit_sessions",
    "annotations",
    "privacy_records",
    "privacy_budgets",
    "model_checkpoints",
    "compliance_reports",
)


def asked(patient: Patient, database: str, query: str) -> list[tuple[Any, ...]]:
    with patient.servers.postgres.connect(database) as connection:
        return connection.execute(query).fetchall()


def content(patient: Patient, database: str = NAMES.production) -> dict[str, list[Any]]:
    return {
        table: asked(patient, database, f"SELECT * FROM {table} ORDER BY 1, 2")  # noqa: S608
        for table in TABLES
    }


def entries(patient: Patient, table: str, database: str = NAMES.scratch) -> list[tuple[str, str]]:
    query = "SELECT table_name, key, what FROM audit_recovery.entries ORDER BY 2"
    return [(key, what) for name, key, what in asked(patient, database, query) if name == table]


def swapped(patient: Patient) -> Swapped:
    return swap(patient.site, patient.writers_head, unfenced)


def appended(patient: Patient, *events: Mapping[str, Any]) -> WritersHead:
    """More records at the end of the living log."""
    last = patient.genuine[-1]
    head = Head(ORIGIN, SIZE, chain_link(last.record, last.leaf), last.leaf)
    common = {"event_id": "late", "session_id": "s", "timestamp": "2026-03-14T03:00:00+00:00"}
    for event in events:
        row: Row = head.append({**common, **event})
        patient.hurt(
            "INSERT INTO audit_records (seq, record, leaf) VALUES (%s, %s, %s)",
            *(row.seq, row.record, row.leaf),
        )
    return WritersHead(head.size, head.leaf)


def sealed(patient: Patient) -> None:
    """All that is in the living log is signed."""
    dsn = patient.servers.postgres.dsn("sealer", NAMES.production)
    seal(dsn, patient.site.log, SIGNER, patient.site.trust)


def test_newer_rows_of_other_tables_are_carried_over_unchanged(patient: Patient) -> None:
    before = content(patient)
    patient.restore()
    assert content(patient, NAMES.scratch)["annotations"] != before["annotations"]

    reconciled = patient.reconcile()

    assert content(patient, NAMES.scratch) == before
    assert reconciled.total(What.CARRIED) > 0
    assert reconciled.not_carried == 0

    done = swapped(patient)

    assert content(patient) == before
    assert done.other_tables.contradictions == {}
    assert done.other_tables.not_carried == 0


def test_altered_and_deleted_rows_are_listed_and_newer_ones_taken(patient: Patient) -> None:
    patient.hurt("UPDATE annotations SET reward = 99 WHERE id = 3")
    patient.hurt("DELETE FROM annotations WHERE id = 5")
    patient.hurt(
        "UPDATE audit_sessions SET model = 'newer', updated_at = updated_at + interval '1 day'"
        " WHERE session_id = (SELECT min(session_id) FROM audit_sessions)"
    )
    backup_has = {"3", "5"}
    patient.restore()

    reconciled = patient.reconcile()

    listed = entries(patient, "annotations")
    assert [each for each in listed if each[1] != What.CARRIED] == [
        ('["3"]', What.DIFFERS),
        ('["5"]', What.GONE),
    ]
    assert reconciled.counts["public.audit_sessions"][What.CHANGED] == 2  # and the open one
    found = asked(patient, NAMES.scratch, "SELECT id::text, reward FROM annotations WHERE id < 6")
    assert backup_has <= {key for key, _ in found}
    assert 99 not in {reward for _, reward in found}
    models = "SELECT count(*) FROM audit_sessions WHERE model = 'newer'"
    assert asked(patient, NAMES.scratch, models) == [(1,)]
    assert patient.reconcile() == reconciled  # the same on every call


def test_what_is_written_between_the_bulk_and_the_swap_is_not_lost(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()
    patient.hurt("DELETE FROM annotations WHERE id = (SELECT max(id) FROM annotations)")
    patient.hurt(
        "UPDATE annotations SET written = 'again' WHERE id = (SELECT max(id) FROM annotations)"
    )
    patient.hurt(
        "INSERT INTO annotations (event_id, session_id, annotator, created_at)"
        " SELECT 'between', min(session_id), 'anon', now() FROM audit_sessions"
    )
    patient.hurt("UPDATE audit_sessions SET updated_at = now(), model = 'between'")
    before = content(patient)

    done = swapped(patient)

    assert content(patient) == before
    assert done.other_tables.not_carried == 0
    last = asked(patient, NAMES.production, "SELECT nextval('annotations_id_seq')")[0][0]
    assert last > max(row[0] for row in before["annotations"])


def test_rows_that_a_constraint_refuses_are_listed_and_the_others_go(patient: Patient) -> None:
    patient.hurt("ALTER TABLE annotations DROP CONSTRAINT annotations_session_id_fkey")
    newest = asked(patient, NAMES.production, "SELECT max(id) FROM annotations")[0][0]
    patient.hurt("UPDATE annotations SET session_id = 'nowhere' WHERE id = %s", newest - 1)
    patient.restore()

    reconciled = patient.reconcile()

    assert (f'["{newest - 1}"]', What.REFUSED) in entries(patient, "annotations")
    assert reconciled.not_carried == 1
    ids = [row[0] for row in content(patient, NAMES.scratch)["annotations"]]
    assert newest in ids
    assert newest - 1 not in ids


def test_a_type_that_differs_and_a_missing_table_are_listed_not_fatal(patient: Patient) -> None:
    patient.hurt("ALTER TABLE annotations ALTER reward TYPE text")
    patient.hurt("ALTER TABLE model_checkpoints DROP CONSTRAINT model_checkpoints_pkey")
    patient.hurt("INSERT INTO model_checkpoints SELECT * FROM model_checkpoints")
    patient.hurt("DROP TABLE compliance_reports")
    patient.hurt("ALTER TABLE privacy_budgets ALTER operations_count TYPE integer")
    before = content_of(patient, "annotations")
    patient.restore()

    reconciled = patient.reconcile()

    newer = before - content_of(patient, "annotations", NAMES.scratch)
    listed = {key for key, what in entries(patient, "annotations") if what == What.LISTED}
    assert listed == {f'["{key}"]' for key in newer}
    assert newer
    assert What.CARRIED not in reconciled.counts["public.annotations"]
    assert {what for _, what in entries(patient, "model_checkpoints")} == {What.AMBIGUOUS}
    assert entries(patient, "compliance_reports") == [("", What.UNREADABLE)]
    assert ("spend", What.UNCOMPARED) in entries(patient, "privacy_budgets")
    swapped(patient)


def content_of(patient: Patient, table: str, database: str = NAMES.production) -> set[int]:
    return {row[0] for row in asked(patient, database, f"SELECT id FROM {table}")}  # noqa: S608


HOSTILE = "we\"ird %s {0} '; DROP"
MADE = """
CREATE TYPE mood AS ENUM ('a''b', 'c,d"');
CREATE TYPE pair AS (x integer, y text);
CREATE SCHEMA "other %s";
CREATE TABLE "other %s"."we""ird %s {0} '; DROP" (
    "a""b%" varchar(40), "PK {} %(x)s" numeric(12, 3), m mood, p pair, j json, l integer[], b bytea,
    d double precision, t timestamptz, i interval, "select" text,
    g text GENERATED ALWAYS AS ("select" || '!') STORED,
    PRIMARY KEY ("a""b%", "PK {} %(x)s"));
CREATE TABLE keyless (x text);
INSERT INTO keyless VALUES ('twice'), ('once');
"""
ROWS = """
INSERT INTO "other %s"."we""ird %s {0} '; DROP"
SELECT E'k\\\\ \\t\\n"''%s' || n, n / 3.0, 'c,d"', ROW(n, E'\\n,"('::text)::pair, '{"a" : 1.0}',
       '{1,NULL}', '\\x00ff', 0.1::float8 + n, now(), '1 mon 3 days', repeat('x', 3000)
  FROM generate_series(1, 1500) n
"""


def test_hostile_names_and_every_type_go_over_as_they_are(patient: Patient, tmp_path: Path) -> None:
    run_as_it_is(patient, MADE)
    backup, archive = dumped_with_all(patient, tmp_path)
    run_as_it_is(patient, ROWS)
    patient.hurt("INSERT INTO keyless VALUES ('twice'), ('new'), ('new')")
    rule = TableRule(("other %s", HOSTILE), ('a"b%', "PK {} %(x)s"), rule=Rule.CARRY)
    rules = ReconciliationRules((*patient.site.rules.tables, rule))
    site = replace(patient.site, rules=rules)
    restore_beside(site, backup, archive, patient.head(), unfenced)
    query = 'SELECT t::text FROM "other %s"."we""ird %s {0} \'; DROP" t ORDER BY 1'
    assert asked(patient, NAMES.scratch, query) == []

    reconciled = reconcile_bulk(site, BACKUP, unfenced)

    found = asked(patient, NAMES.scratch, query)
    assert found == asked(patient, NAMES.production, query)
    assert len(found) == 1500
    assert reconciled.counts[f"other %s.{HOSTILE}"] == {What.CARRIED: 1500}
    unknown = sorted(
        (digest, number)
        for table, digest, number in asked(
            patient,
            NAMES.scratch,
            "SELECT table_name, digest, number FROM audit_recovery.entries",
        )
        if table == "keyless"
    )
    digests = {sha256(f"({text})".encode()).hexdigest(): text for text in ("twice", "once", "new")}
    assert {(digests[digest], number) for digest, number in unknown} == {("twice", 1), ("new", 2)}
    assert asked(patient, NAMES.scratch, "SELECT count(*) FROM keyless") == [(2,)]


def run_as_it_is(patient: Patient, statements: str) -> None:
    """Without parameters, so that no percent sign means anything."""
    with patient.servers.postgres.connect(NAMES.production) as connection:
        connection.execute(statements)


def dumped_with_all(patient: Patient, directory: Path) -> tuple[Any, Path]:
    """The sealer may read everything, and everything belongs to the owner."""
    run_as_it_is(
        patient,
        """
        GRANT USAGE ON SCHEMA "other %s" TO sealer;
        GRANT SELECT ON ALL TABLES IN SCHEMA public, "other %s" TO sealer;
        ALTER SCHEMA "other %s" OWNER TO audit_owner;
        ALTER TABLE "other %s"."we""ird %s {0} '; DROP" OWNER TO audit_owner;
        ALTER TABLE keyless OWNER TO audit_owner;
        ALTER TYPE mood OWNER TO audit_owner;
        ALTER TYPE pair OWNER TO audit_owner;
        """,
    )
    return dumped(patient, NAMES.production, directory)


def test_a_spend_that_fell_or_is_no_number_does_not_fall_here(patient: Patient) -> None:
    keys = asked(
        patient,
        NAMES.production,
        "SELECT session_id, annotator FROM privacy_budgets ORDER BY updated_at LIMIT 3",
    )
    before = {row[:2]: row[2] for row in content(patient)["privacy_budgets"]}
    fell = "UPDATE privacy_budgets SET epsilon_used = %s WHERE (session_id, annotator) = (%s, %s)"
    patient.hurt(fell, 0, *keys[0])
    patient.hurt(fell, "NaN", *keys[1])
    patient.restore()

    patient.reconcile()
    done = swapped(patient)

    after = {row[:2]: row[2] for row in content(patient)["privacy_budgets"]}
    assert after == before
    assert done.other_tables.contradictions == {
        What.FELL.value: 1,
        What.NO_NUMBER.value: 1,
    }


def test_spend_that_the_table_lacks_is_charged_from_the_log_and_contradicts(
    patient: Patient,
) -> None:
    newest = asked(
        patient,
        NAMES.production,
        "SELECT session_id, annotator, epsilon_used FROM privacy_budgets"
        " ORDER BY updated_at DESC LIMIT 2",
    )
    patient.hurt("DELETE FROM privacy_budgets WHERE session_id = %s", newest[0][0])
    patient.hurt("UPDATE privacy_budgets SET epsilon_used = 7 WHERE session_id = %s", newest[1][0])
    patient.restore()

    patient.reconcile()
    done = swapped(patient)

    after = {row[:2]: row[2] for row in content(patient)["privacy_budgets"]}
    assert after[newest[0][:2]] == newest[0][2]  # from the log
    assert after[newest[1][:2]] == 7  # it never falls
    assert done.other_tables.contradictions == {What.UNCHARGED.value: 1, What.UNRELEASED.value: 1}
    assert swapped(patient).other_tables.contradictions == done.other_tables.contradictions


def test_releases_that_cannot_be_read_contradict(patient: Patient) -> None:
    event = {
        "event_type": "privacy_budget_update",
        "data": {"annotator": "a", "epsilon_spent": "much", "delta_spent": -1},
    }
    head = appended(patient, event)
    patient.restore()

    done = swap(patient.site, lambda: head, unfenced)

    assert done.other_tables.contradictions == {What.BAD_RELEASE.value: 1}


def test_an_erasure_since_the_backup_is_made_again_and_the_living_row_stays(
    patient: Patient,
) -> None:
    [(subject, count)] = asked(
        patient,
        NAMES.production,
        "SELECT annotator, count(*) FROM annotations WHERE id <= 100 GROUP BY 1 ORDER BY 2 DESC, 1"
        " LIMIT 1",
    )
    patient.restore()
    patient.reconcile()
    in_backup = asked(
        patient,
        NAMES.scratch,
        f"SELECT id FROM annotations WHERE annotator = '{subject}'",  # noqa: S608
    )
    patient.hurt("DELETE FROM annotations WHERE annotator = %s AND id > 1", subject)
    patient.hurt("UPDATE annotations SET annotator = %s WHERE id = 1", subject)
    with patient.servers.postgres.connect(NAMES.scratch) as scratch:
        scratch.execute("UPDATE annotations SET annotator = %s WHERE id = 1", (subject,))
    head = appended(patient, {"event_type": "erasure", "data": {"subject": subject}})
    sealed(patient)

    done = swap(patient.site, lambda: head, unfenced)

    left = asked(
        patient,
        NAMES.production,
        f"SELECT id FROM annotations WHERE annotator = '{subject}'",  # noqa: S608
    )
    assert left == [(1,)]
    assert count > 0
    erased = done.other_tables.counts["public.annotations"]
    assert erased[What.ERASED] >= 1
    assert erased[What.LIVES] == 1
    assert len(in_backup) >= erased[What.ERASED]
    book = asked(patient, NAMES.production, "SELECT * FROM audit_recovery.entries")
    assert subject not in str([row for row in book if "erasure" in str(row)])
    assert patient.stored()[:SIZE] == patient.expected()  # the log itself is untouched


def test_an_erasure_by_row_and_one_that_names_nothing_are_told_apart(patient: Patient) -> None:
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    event = {"event_type": "erasure", "data": {"table": "public.annotations", "key": {"id": 2}}}
    head = appended(patient, event)
    sealed(patient)
    patient.restore()
    done = swap(patient.site, lambda: head, unfenced)
    assert asked(patient, NAMES.production, "SELECT 1 FROM annotations WHERE id = 2") == []
    assert done.other_tables.total(What.ERASED) == 1


HOSTILE_ERASURES: list[dict[str, Any]] = [
    {"table": "audit_records", "key": {"seq": 1}},
    {"table": "public.annotations", "key": {'id" = 1 OR "id': 1}},
    {"table": "public.annotations", "key": {"id": "1; DROP TABLE annotations"}},
    {"table": "pg_catalog.pg_class", "key": {"oid": 1}},
    {"table": "public.annotations", "key": {"id": True}},
    {"subject": ["x"]},
    {},
]


def test_a_hostile_erasure_erases_nothing_and_is_listed(patient: Patient) -> None:
    events = [{"event_type": "erasure", "data": data} for data in HOSTILE_ERASURES]
    head = appended(patient, *events)
    sealed(patient)
    before = content(patient)
    patient.restore()

    done = swap(patient.site, lambda: head, unfenced)

    assert content(patient) == before
    assert len(patient.stored()) == SIZE + len(events)
    assert done.other_tables.total(What.ERASED) == 0
    assert done.other_tables.total(What.ERASURE_FAILED) == len(events)


def test_without_a_living_database_spend_is_raised_from_the_log_and_it_is_said(
    patient: Patient,
) -> None:
    patient.servers.admin(f"DROP DATABASE {NAMES.production}")
    patient.restore()

    done = swapped(patient)

    assert not done.other_tables.living
    assert "gone" in done.other_tables.sentence()
    found = done.other_tables.contradictions
    assert found.pop(What.UNCOMPARED.value) == 1
    assert found.pop(What.LOST.value) == SIZE - SIGNED
    assert set(found) == {What.UNCHARGED.value}


def test_a_chosen_moment_keeps_other_tables_and_lists_what_is_newer(patient: Patient) -> None:
    site = replace(patient.site, rules=patient.site.rules.only_listed())
    restore_beside(site, patient.backup, patient.archive, patient.head(), unfenced)
    before = content(patient, NAMES.scratch)

    reconciled = reconcile_bulk(site, BACKUP, unfenced)

    after = content(patient, NAMES.scratch)
    assert {table: after[table] for table in TABLES if table != "privacy_budgets"} == {
        table: before[table] for table in TABLES if table != "privacy_budgets"
    }
    assert reconciled.counts["public.annotations"][What.LISTED] > 0
    assert after["privacy_budgets"] == content(patient)["privacy_budgets"]  # never falls


def test_a_bulk_without_a_restored_database_or_with_a_lost_lock_changes_nothing(
    patient: Patient,
) -> None:
    patient.restore()
    before = content(patient, NAMES.scratch)

    def lost() -> None:
        raise LockLost("a newer holder")

    with pytest.raises(LockLost):
        reconcile_bulk(patient.site, BACKUP, lost)
    assert content(patient, NAMES.scratch) == before
    patient.servers.admin(f"COMMENT ON DATABASE {NAMES.scratch} IS 'something else'")
    with pytest.raises(NotProven, match="to be restored"):
        reconcile_bulk(patient.site, BACKUP, unfenced)


def test_a_book_that_came_with_the_dump_is_not_taken_for_ours(
    patient: Patient, tmp_path: Path
) -> None:
    patient.restore()
    patient.reconcile()
    swapped(patient)
    patient.hurt("UPDATE audit_recovery.about SET incident = 'INC-another'")
    patient.hurt("GRANT USAGE ON SCHEMA audit_recovery TO sealer")
    patient.hurt("GRANT SELECT ON ALL TABLES IN SCHEMA audit_recovery TO sealer")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.servers.admin(f"DROP DATABASE {NAMES.quarantine}")
    patient.servers.admin(f"COMMENT ON DATABASE {NAMES.production} IS ''")
    patient.hurt("DROP SCHEMA audit_recovery CASCADE")
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    assert patient.reconcile() == Reconciled(living=True)


def test_the_list_is_signed_locked_exact_and_then_taken_out_of_production(
    patient: Patient, store: ObjectStore, store_settings: StoreSettings
) -> None:
    patient.hurt("UPDATE annotations SET reward = 99 WHERE id = 3")
    patient.restore()
    patient.reconcile()
    swapped(patient)
    bucket = store_settings.evidence_bucket

    sealed = seal_list(patient.site, store, bucket, RESPONDER, 1)
    again = seal_list(patient.site, store, bucket, RESPONDER, 1)

    assert sealed is not None
    assert again is not None
    assert again.key == sealed.key
    data = store.get(bucket, sealed.key)
    head, *lines = [json.loads(line) for line in data.splitlines()]
    assert head["incident"] == patient.site.incident
    assert len(lines) == sealed.entries
    [differs] = [line for line in lines if line["what"] == What.DIFFERS]
    assert (differs["table"], differs["key"], differs["rows"]) == ("annotations", '["3"]', 1)
    note = open_note(store.get(bucket, sealed.note_key).decode(), [RESPONDER.verifier])
    assert note.split("\n")[1:4] == [
        patient.site.incident,
        sha256(data).hexdigest(),
        str(sealed.entries),
    ]
    assert store.head(bucket, sealed.key).lock_mode == "COMPLIANCE"
    forget_book(patient.site)
    assert seal_list(patient.site, store, bucket, RESPONDER, 1) is None
    schemas = "SELECT 1 FROM pg_namespace WHERE nspname = 'audit_recovery'"
    assert asked(patient, NAMES.production, schemas) == []


@pytest.mark.parametrize("point", range(1, 5))
def test_a_reconciliation_killed_at_a_fence_is_done_once_by_the_next_call(
    patient: Patient, point: int
) -> None:
    before = content(patient)
    patient.restore()

    assert patient.killed("reconcile", deadly=point)

    patient.reconcile()
    assert content(patient, NAMES.scratch) == before


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", range(20, 320, 20))
def test_a_reconciliation_killed_at_any_moment_is_done_once_by_the_next_call(
    patient: Patient, milliseconds: int
) -> None:
    before = content(patient)
    patient.restore()

    patient.killed("reconcile", after=milliseconds / 1000)

    reconciled = patient.reconcile()
    assert content(patient, NAMES.scratch) == before
    assert reconciled.not_carried == 0
