"""A lost session, a lock, a trigger, a deferred constraint: no row is lost without a word."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tasks.clients.errors import Transient
from tasks.domain.reconciled import What
from tasks.domain.reconciliation_rules import ReconciliationRules, Rule, TableRule
from tasks.work.carry_over import carry_bulk
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.recovery import Site
from tasks.work.restore import restore_beside
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import BACKUP, NAMES, Patient, dumped, unfenced
from tests.tasks.recovery.test_recovery_reconciling import (
    appended,
    asked,
    content,
    entries,
    sealed,
    swapped,
)

pytestmark = [pytest.mark.components, pytest.mark.slow]

MANY = """
INSERT INTO annotations (event_id, session_id, annotator, reward, created_at)
SELECT 'many ' || n, (SELECT min(session_id) FROM audit_sessions), 'anon', 0.5, now()
  FROM generate_series(1, %s) n
"""
FETCHING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = %s AND usename = 'audit_recovery' AND query LIKE 'COPY (SELECT "t".%%'
"""
HOLDER = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
 WHERE d.datname = %s AND l.mode = 'ShareRowExclusiveLock' LIMIT 1
"""
STAMP = """
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
ALTER FUNCTION public.stamp() OWNER TO audit_owner;
CREATE TRIGGER stamp BEFORE INSERT OR DELETE ON annotations
    FOR EACH ROW EXECUTE FUNCTION public.stamp();
ALTER TABLE annotations ENABLE ALWAYS TRIGGER stamp;
"""
AS_IT_LIVED = """
INSERT INTO annotations (event_id, session_id, annotator, created_at)
SELECT 'z' || n, (SELECT min(session_id) FROM audit_sessions), 'anon', '2020-01-01'
  FROM generate_series(1, 5) n
"""


def carrying(site: Site, *tables: TableRule) -> Site:
    rules = site.rules
    more = ReconciliationRules((*rules.tables, *tables), rules.releases, rules.erasures)
    return replace(site, rules=more)


def as_writer(patient: Patient, *statements: str) -> None:
    dsn = patient.servers.postgres.dsn("audit_api", NAMES.production)
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_session_that_is_lost_while_rows_go_over_costs_no_row(patient: Patient) -> None:
    patient.hurt(MANY, 20_000)
    patient.restore()
    carry_bulk(patient.site, patient.writers_head, unfenced)
    ended = threading.Event()

    def end_the_session() -> None:
        with patient.servers.postgres.connect() as connection:
            while not ended.is_set():
                if connection.execute(FETCHING, (NAMES.production,)).fetchall():
                    return

    watcher = threading.Thread(target=end_the_session)
    watcher.start()
    try:
        with pytest.raises(Transient):
            reconcile_bulk(patient.site, BACKUP, unfenced)
    finally:
        ended.set()
        watcher.join()

    reconciled = reconcile_bulk(patient.site, BACKUP, unfenced)

    assert content(patient, NAMES.scratch) == content(patient)
    assert reconciled.not_carried == 0


def test_an_erasure_that_a_lock_holds_up_is_made_by_the_next_call(patient: Patient) -> None:
    patient.hurt("DELETE FROM annotations WHERE id = 2")
    head = appended(
        patient, {"event_type": "erasure", "data": {"table": "annotations", "key": {"id": 2}}}
    )
    sealed(patient)
    patient.restore()
    patient.servers.admin(f"ALTER DATABASE {NAMES.scratch} SET lock_timeout TO '200ms'")
    carry_bulk(patient.site, lambda: head, unfenced)
    with patient.servers.postgres.connect(NAMES.scratch) as holder, holder.transaction():
        holder.execute("SELECT 1 FROM annotations WHERE id = 2 FOR UPDATE")
        with pytest.raises(Transient):
            reconcile_bulk(patient.site, BACKUP, unfenced)

    reconciled = reconcile_bulk(patient.site, BACKUP, unfenced)

    assert asked(patient, NAMES.scratch, "SELECT 1 FROM annotations WHERE id = 2") == []
    assert reconciled.total(What.ERASURE_FAILED) == 0


def test_locks_that_are_lost_just_before_the_door_closes_undo_the_swap(patient: Patient) -> None:
    patient.restore()
    patient.reconcile()
    late = "INSERT INTO model_checkpoints (sha256, created_at) VALUES ('late', now())"
    shut = "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn"
    written = []

    def fence() -> None:
        with patient.servers.postgres.connect() as connection:
            if not written and connection.execute(shut, (NAMES.scratch,)).fetchall():
                connection.execute(HOLDER, (NAMES.production,))
                as_writer(patient, late)
                written.append(late)

    with pytest.raises(Transient):
        swap(patient.site, patient.writers_head, fence)

    assert written
    swapped(patient)
    found = asked(
        patient, NAMES.production, "SELECT 1 FROM model_checkpoints WHERE sha256 = 'late'"
    )
    assert found == [(1,)]


@pytest.mark.parametrize("body", ["NEW.created_at := now(); RETURN NEW;", "RETURN NULL;"])
def test_a_trigger_neither_alters_nor_swallows_what_comes_over_and_fires_again_after(
    patient: Patient, tmp_path: Path, body: str
) -> None:
    with patient.servers.postgres.connect(NAMES.production) as connection:
        connection.execute(STAMP.format(body=body).encode())
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("ALTER TABLE annotations DISABLE TRIGGER stamp")
    patient.hurt(AS_IT_LIVED)
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    patient.reconcile()

    assert content(patient, NAMES.scratch) == content(patient)
    states = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'stamp'"
    assert asked(patient, NAMES.scratch, states) == [("A",)]


def test_what_a_rule_makes_of_a_row_is_refused_and_listed(patient: Patient, tmp_path: Path) -> None:
    patient.hurt("CREATE RULE none AS ON INSERT TO model_checkpoints DO INSTEAD NOTHING")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("DROP RULE none ON model_checkpoints")
    patient.hurt("INSERT INTO model_checkpoints (sha256, created_at) VALUES ('one', now())")
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    patient.reconcile()

    assert ('["one"]', What.REFUSED) in entries(patient, "model_checkpoints")


def test_a_deferred_constraint_refuses_one_row_alone(patient: Patient, tmp_path: Path) -> None:
    patient.hurt(
        "ALTER TABLE annotations ALTER CONSTRAINT annotations_session_id_fkey"
        " DEFERRABLE INITIALLY DEFERRED"
    )
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("ALTER TABLE annotations DROP CONSTRAINT annotations_session_id_fkey")
    patient.hurt(MANY, 50)
    patient.hurt("UPDATE annotations SET session_id = 'nowhere' WHERE event_id = 'many 7'")
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    reconciled = patient.reconcile()

    many = "SELECT count(*) FROM annotations WHERE event_id LIKE 'many%'"
    assert asked(patient, NAMES.scratch, many) == [(49,)]
    assert reconciled.counts["public.annotations"][What.REFUSED] == 1


def test_a_row_beyond_a_limit_of_postgresql_is_refused_alone(
    patient: Patient, tmp_path: Path
) -> None:
    patient.hurt("CREATE TABLE wide (id int PRIMARY KEY, x text)")
    patient.hurt("ALTER TABLE wide OWNER TO audit_owner")
    patient.hurt("CREATE INDEX wide_x ON wide (x)")
    patient.hurt("GRANT SELECT ON wide TO sealer")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("DROP INDEX wide_x")
    patient.hurt(
        "INSERT INTO wide SELECT 1, string_agg(sha256(n::text::bytea)::text, '')"
        " FROM generate_series(1, 2000) n"
    )
    patient.hurt("INSERT INTO wide VALUES (2, 'short')")
    site = carrying(patient.site, TableRule(("public", "wide"), rule=Rule.CARRY))
    restore_beside(site, backup, archive, patient.head(), unfenced)

    reconcile_bulk(site, BACKUP, unfenced)

    assert entries(patient, "wide") == [('["1"]', What.REFUSED), ('["2"]', What.CARRIED)]


def test_tables_beyond_those_that_are_looked_at_are_told(patient: Patient) -> None:
    patient.hurt(
        "DO $$ BEGIN FOR n IN 1 .. 2000 LOOP"
        " EXECUTE format('CREATE TABLE z%s ()', n); END LOOP; END $$".replace("%s", "%%s")
    )
    patient.restore()

    reconciled = patient.reconcile()

    assert reconciled.total(What.CUT_OFF) == 6


def test_keys_that_are_arrays_go_over_too(patient: Patient, tmp_path: Path) -> None:
    patient.hurt("CREATE TABLE arrays (k integer[], t text[], PRIMARY KEY (k, t))")
    patient.hurt("ALTER TABLE arrays OWNER TO audit_owner")
    patient.hurt("GRANT SELECT ON arrays TO sealer")
    patient.hurt("INSERT INTO arrays VALUES ('{7}', '{erased}'), ('{8}', '{lives}')")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("INSERT INTO arrays VALUES ('{1,2}', %s), ('{{3},{4}}', '{}')", ["a,b", '"', None])
    patient.hurt("DELETE FROM arrays WHERE k = '{7}'")
    site = carrying(patient.site, TableRule(("public", "arrays"), rule=Rule.CARRY, subject="t"))
    erasure = {"event_type": "erasure", "data": {"subject": "{erased}"}}
    lives = {"event_type": "erasure", "data": {"subject": "{lives}"}}
    head = appended(patient, erasure, lives)
    sealed(patient)
    restore_beside(site, backup, archive, patient.head(), unfenced)
    carry_bulk(site, lambda: head, unfenced)

    reconciled = reconcile_bulk(site, BACKUP, unfenced)

    rows = "SELECT k::text, t::text FROM arrays ORDER BY 1"
    assert asked(patient, NAMES.scratch, rows) == asked(patient, NAMES.production, rows)
    counts = {What.CARRIED: 2, What.ERASED: 1, What.LIVES: 1}
    assert reconciled.counts["public.arrays"] == counts


def test_rows_of_a_table_that_is_not_ours_to_lock_are_not_lost_and_its_owner_is_named(
    patient: Patient, tmp_path: Path
) -> None:
    with patient.servers.postgres.connect(NAMES.production) as connection:
        connection.execute("DROP ROLE IF EXISTS compliance")
        connection.execute("CREATE ROLE compliance")
        connection.execute("CREATE TABLE theirs (id int PRIMARY KEY)")
        connection.execute("ALTER TABLE theirs OWNER TO compliance")
        connection.execute("GRANT SELECT ON theirs TO PUBLIC")
        connection.execute("GRANT SELECT, INSERT ON theirs TO audit_api")
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    site = carrying(patient.site, TableRule(("public", "theirs"), rule=Rule.CARRY))
    restore_beside(site, backup, archive, patient.head(), unfenced)
    carry_bulk(site, patient.writers_head, unfenced)
    reconcile_bulk(site, BACKUP, unfenced)

    done = swap(site, patient.writers_head, written_at_each_fence(patient, acknowledged := []))

    assert len(acknowledged) > 1
    found = asked(patient, NAMES.production, "SELECT id FROM theirs ORDER BY 1")
    assert [row[0] for row in found] == acknowledged
    assert done.other_tables.counts["public.theirs"][What.OTHER_OWNER] == 1


ONE_MORE = "INSERT INTO theirs SELECT count(*) FROM theirs"


def written_at_each_fence(patient: Patient, acknowledged: list[int]) -> Callable[[], None]:
    def fence() -> None:
        number = len(acknowledged)
        try:
            as_writer(patient, "SET lock_timeout TO '300ms'", ONE_MORE)
        except psycopg.OperationalError:
            return
        acknowledged.append(number)

    return fence
