"""One look at a real server: who blocks whom, what is hidden, what hostile clients put there."""

import json
import time
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tasks.clients.database_activity import Look, read_activity, read_sessions
from tasks.clients.errors import Denied
from tasks.domain.database_readings import Disk, Server, Unread, known
from tasks.domain.lock_tree import lock_tree
from tasks.work import database_remedies
from tasks.work.database_remedies import Site
from tests.tasks.database.clients import Clients, sessions

pytestmark = pytest.mark.components

WAITERS = 100


def test_a_quiet_server_is_read_whole(site: Site) -> None:
    seen = database_remedies.looked_at(site)
    assert seen.unreachable == ""
    assert seen.unread() == {
        "statements": "pg_stat_statements is not installed in this database",
        "backups": "not looked at",
    }
    server = known(seen.server)
    assert isinstance(server, Server)
    assert (server.max_connections, server.usable, server.is_standby) == (200, 192, False)
    names = {each.name for each in known(seen.databases) or ()}
    assert {"postgres", DATABASE} <= names
    disk = known(seen.disk)
    assert isinstance(disk, Disk)
    assert disk.used > 10_000_000


def test_the_look_itself_changes_nothing_and_waits_for_no_table(
    site: Site, clients: Clients
) -> None:
    clients.holding("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    seen = database_remedies.looked_at(site)
    assert set(seen.unread()) == {"statements", "backups"}
    assert time.monotonic() - began < 10


def test_a_real_chain_of_locks_has_its_root(site: Site, clients: Clients) -> None:
    root = clients.holding("UPDATE jobs SET done = true WHERE id = 1", application_name="batch")
    second = clients.connect()
    second.execute("UPDATE jobs SET done = true WHERE id = 2")
    clients.running(second, "UPDATE jobs SET done = false WHERE id = 1")
    third = clients.waiting(query="UPDATE jobs SET done = false WHERE id = 2")
    seen = database_remedies.looked_at(site)
    tree = lock_tree(known(seen.sessions) or (), seen.at)
    (found,) = tree.roots
    pids = {name.info.backend_pid for name in (second, third)}
    assert (found.pid, set(found.blocks)) == (root.info.backend_pid, pids)
    assert found.session is not None
    assert found.session.application == "batch"
    assert found.session.is_in_transaction
    assert found.session.query == "UPDATE jobs SET done = true WHERE id = ?"
    waits = {each.pid: each.waits_for for each in known(seen.sessions) or ()}
    assert waits[third.info.backend_pid] == "ShareLock on transactionid"


def test_a_table_that_is_waited_for_is_named(site: Site, clients: Clients) -> None:
    clients.holding()
    waiter = clients.waiting()
    assert sessions(site)[waiter.info.backend_pid].waits_for == "AccessShareLock on jobs"


def test_a_hundred_waiting_sessions_are_read_in_half_a_second(site: Site, clients: Clients) -> None:
    root = clients.holding()
    waiters = [clients.connect("bystander") for _ in range(WAITERS)]
    for waiter in waiters:
        clients.running(waiter, "TABLE jobs")
    best = 9.0
    for _ in range(5):  # the machine is shared
        began = time.perf_counter()
        now, found = read_sessions(site.look.reader_dsn, site.look)
        tree = lock_tree(found, now)
        best = min(best, time.perf_counter() - began)
        if len(tree.waiting) < WAITERS:
            best = 9.0  # some are still on their way
    assert [(each.pid, len(each.blocks)) for each in tree.roots] == [
        (root.info.backend_pid, WAITERS)
    ]
    assert best < 0.5
    print(f"100 waiting sessions: {best * 1000:.0f} ms")


def test_a_role_that_may_not_see_is_told_what_it_lacks_and_reads_the_rest(
    patient: Lab, clients: Clients
) -> None:
    assert clients.admin is not None
    seen = read_activity(Look(patient.patient.dsn("bystander", DATABASE), growth_seconds=0))
    assert isinstance(seen.sessions, Unread)
    assert "bystander is no member of pg_read_all_stats" in seen.sessions.reason
    assert isinstance(seen.disk, Unread)
    assert "permission denied" in seen.disk.reason
    assert isinstance(seen.server, Server)
    assert {each.name for each in known(seen.databases) or ()} >= {DATABASE}


def test_a_server_that_is_away_or_refuses_us_is_an_answer(patient: Lab) -> None:
    away = read_activity(Look("postgresql://x@127.0.0.1:9/db", timeout_seconds=2))
    assert "did not answer" in away.unreachable
    wrong = conninfo.make_conninfo(patient.reader_dsn, password="wrong")
    refused = read_activity(Look(wrong, reserved_dsn="postgresql://x@127.0.0.1:9/db"))
    assert "refused the login" in refused.unreachable
    assert "wrong" not in refused.unreachable.replace("wrong password", "")
    with pytest.raises(Denied):
        read_sessions(wrong, Look(wrong))


HOSTILE = (
    "SELECT 'alice@example.org\x1b[2J', 42 /* ${jndi:ldap://x} \x1b[2J */ \t -- \u202e",
    "SELECT '" + "x" * 4000 + "' -- secretsecret",
    "SELECT $q$<script>alert(1)</script>$q$",
)


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_queries_are_seen_as_printable_shapes_without_values(
    site: Site, clients: Clients, query: str
) -> None:
    client = clients.connect(application_name="\x1b[31m'; DROP TABLE jobs;--\u202e" + "a" * 200)
    client.execute(query.encode())
    seen = sessions(site)[client.info.backend_pid]
    said = json.dumps([seen.query, seen.application, seen.user])
    for hidden in ("alice", "42", "xxx", "secret", "script", "\\u001b", "\\u202e", "jndi"):
        assert hidden not in said
    assert len(seen.query) <= 200
    assert len(seen.application) <= 64


def test_bytes_that_are_no_utf8_blind_nobody(site: Site, clients: Clients, patient: Lab) -> None:
    with patient.patient.connect() as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    dsn = conninfo.make_conninfo(patient.patient.dsn("worker", "latin"), client_encoding="LATIN1")
    with psycopg.connect(dsn) as client:
        client.execute('SELECT 1 AS "caf\u00e9"')
        seen = sessions(site)[client.info.backend_pid]
        assert seen.query.startswith('SELECT ? AS "caf')
        assert clients.lives(client)
        digest = seen.digest
        assert sessions(site)[client.info.backend_pid].digest == digest


@pytest.mark.slow
def test_when_all_slots_are_taken_a_reserved_one_sees_who_has_them(
    site: Site, clients: Clients
) -> None:
    opened = clients.take_every_slot("bystander")
    seen = database_remedies.looked_at(site)
    assert seen.refused_for_slots
    held = [each for each in known(seen.sessions) or () if each.user == "bystander"]
    assert len(held) == opened
    without = read_activity(replace(site.look, reserved_dsn=""))
    assert "did not answer" in without.unreachable
