"""A signal reaches exactly the session that was seen, or nobody."""

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tasks.clients.database_session_sql import BACKUP_APPLICATIONS
from tasks.domain.errors import LockLost
from tasks.domain.signals import SessionKey, Verdict, Why, keys_in
from tasks.work import database_remedies
from tasks.work.database_remedies import Site
from tests.tasks.database.clients import Clients, first_cause, key_of, sessions, until

pytestmark = pytest.mark.components


def no_fence() -> None:
    return


def verdict_of(site: Site, key: SessionKey, why: Why = Why.BLOCKS) -> tuple[Verdict, str]:
    """What `terminate` does to one session, and says of it."""
    _, result = database_remedies.terminate(site, [key], why, no_fence)
    (said,) = result["sessions"]
    assert result["signalled"] == (1 if said["verdict"] == Verdict.SIGNALLED else 0)
    return Verdict(said["verdict"]), said.get("detail", "")


def test_the_root_of_a_storm_is_ended_and_everybody_else_goes_on(
    site: Site, clients: Clients
) -> None:
    root = clients.holding()
    root.execute("UPDATE jobs SET done = true")
    waiters = [clients.waiting() for _ in range(3)]
    cause = first_cause(site)
    assert cause.code == "db.lock-storm"
    assert cause.remedy is not None
    why, keys = keys_in(cause.remedy.arguments)
    said, result = database_remedies.cancel(site, keys, why, no_fence)
    assert "1 run nothing that could be" in said
    assert result["signalled"] == 0
    said, result = database_remedies.terminate(site, keys, why, no_fence)
    assert (said, result["signalled"], result["left"]) == ("1 of 1 sessions ended", 1, 0)
    until(lambda: not any(clients.waits(each) for each in waiters), "nobody waits")
    assert all(clients.lives(each) for each in waiters)
    row = clients.admin.execute("SELECT count(*) FROM jobs WHERE done").fetchone()
    assert row == (0,)  # what it had not committed is rolled back
    left, _ = database_remedies.still_there(site, "db.lock-storm")
    assert [each.code for each in left] == []


def test_a_blocker_at_work_is_cancelled_and_keeps_its_session(site: Site, clients: Clients) -> None:
    root = clients.connect()
    root.execute("LOCK TABLE jobs")
    clients.running(root, "SELECT pg_sleep(60)")
    waiter = clients.waiting()
    key = key_of(site, root)
    _, result = database_remedies.cancel(site, [key], Why.BLOCKS, no_fence)
    assert (result["signalled"], result["going_on"]) == (1, 0)
    until(lambda: not clients.waits(waiter), "the waiter goes on")
    assert verdict_of(site, key)[0] in {Verdict.NO_LONGER, Verdict.ANOTHER_TRANSACTION}
    assert clients.lives(root)


def test_a_pid_that_another_session_has_by_now_gets_no_signal(site: Site, clients: Clients) -> None:
    root = clients.holding()
    clients.waiting()
    key = key_of(site, root)
    older = replace(key, backend_start=key.backend_start - timedelta(microseconds=1))
    assert verdict_of(site, older) == (Verdict.ANOTHER_SESSION, "")
    assert clients.lives(root)


def test_a_session_that_runs_another_query_by_now_gets_no_signal(
    site: Site, clients: Clients
) -> None:
    root = clients.holding()
    clients.waiting()
    key = key_of(site, root)
    root.execute("SELECT 'and on it goes'")
    assert verdict_of(site, key) == (Verdict.ANOTHER_QUERY, "")
    assert clients.lives(root)


def test_values_count_too_although_nobody_sees_them(site: Site, clients: Clients) -> None:
    root = clients.holding("UPDATE jobs SET done = true WHERE id = 1")
    clients.waiting(query="UPDATE jobs SET done = false WHERE id = 1")
    key = key_of(site, root)
    before = sessions(site)[key.pid].query
    root.execute("UPDATE jobs SET done = true WHERE id = 2")
    assert sessions(site)[key.pid].query == before
    assert verdict_of(site, key)[0] is Verdict.ANOTHER_QUERY


def test_a_session_in_another_transaction_by_now_gets_no_signal(
    site: Site, clients: Clients
) -> None:
    root = clients.holding()
    key = key_of(site, root)
    root.commit()
    root.execute("LOCK TABLE jobs")
    clients.waiting()
    assert verdict_of(site, key)[0] is Verdict.ANOTHER_TRANSACTION
    assert clients.lives(root)


def test_a_session_that_blocks_nobody_any_more_gets_no_signal(site: Site, clients: Clients) -> None:
    root = clients.holding()
    assert verdict_of(site, key_of(site, root)) == (Verdict.NO_LONGER, "")
    assert clients.lives(root)


def test_a_session_that_has_gone_is_not_looked_for(site: Site, clients: Clients) -> None:
    root = clients.holding()
    key = key_of(site, root)
    root.close()
    until(lambda: not clients.state(key.pid), "it has gone")
    assert verdict_of(site, key) == (Verdict.GONE, "")


@pytest.mark.parametrize("name", BACKUP_APPLICATIONS)
def test_a_backup_is_never_ended(site: Site, clients: Clients, name: str) -> None:
    root = clients.holding(application_name=f"{name} of tonight")
    clients.waiting()
    assert first_cause(site).remedy is None
    assert verdict_of(site, key_of(site, root)) == (Verdict.PROTECTED, "a backup")
    assert clients.lives(root)


def test_a_superuser_is_never_ended(site: Site, clients: Clients, patient: Lab) -> None:
    with psycopg.connect(patient.patient.dsn("postgres", DATABASE)) as root:
        root.execute("LOCK TABLE jobs")
        clients.waiting()
        assert first_cause(site).remedy is None
        assert verdict_of(site, key_of(site, root)) == (Verdict.PROTECTED, "a superuser")
        assert clients.lives(root)


def test_replication_is_never_ended(site: Site, clients: Clients) -> None:
    clients.admin.execute("ALTER ROLE worker REPLICATION")
    try:
        root = clients.holding()
        walsender = clients.connect(replication="database", autocommit=True)
        clients.waiting()
        assert first_cause(site).remedy is None
        assert verdict_of(site, key_of(site, root)) == (Verdict.PROTECTED, "replication")
        sender = key_of(site, walsender)
        assert verdict_of(site, sender) == (Verdict.PROTECTED, "walsender")
        assert verdict_of(site, sender, Why.IDLE)[0] is Verdict.PROTECTED
        assert clients.lives(walsender)
    finally:
        clients.admin.execute("ALTER ROLE worker NOREPLICATION")


def test_our_own_sessions_and_named_roles_are_never_ended(site: Site, clients: Clients) -> None:
    ours = clients.holding(application_name="runbook")
    clients.waiting()
    assert verdict_of(site, key_of(site, ours)) == (Verdict.PROTECTED, "a protected role")
    ours.rollback()
    theirs = clients.holding()
    clients.waiting()
    spared = replace(
        site, look=replace(site.look, protection=replace(site.protection, roles=("worker",)))
    )
    assert first_cause(spared).remedy is None
    assert verdict_of(spared, key_of(site, theirs))[0] is Verdict.PROTECTED
    assert clients.lives(theirs)


def test_server_processes_are_never_ended(site: Site, clients: Clients) -> None:
    assert clients.admin is not None
    others = [each for each in sessions(site).values() if each.kind == "checkpointer"]
    (checkpointer,) = (SessionKey.from_json(each.key()) for each in others)
    for why in Why:
        assert verdict_of(site, checkpointer, why) == (Verdict.PROTECTED, "checkpointer")


def test_a_session_that_idles_is_ended_unless_it_was_at_work_since(
    site: Site, clients: Clients
) -> None:
    still, busy = clients.connect(autocommit=True), clients.connect(autocommit=True)
    for each in (still, busy):
        each.execute("SELECT 1")
    keys = [key_of(site, still), key_of(site, busy)]
    busy.execute("SELECT 1")
    said, result = database_remedies.terminate(site, keys, Why.IDLE, no_fence)
    assert "1 of 2 sessions ended; 1 were gone or something else by now" in said
    assert [each["verdict"] for each in result["sessions"]] == ["signalled", "was at work since"]
    assert (clients.lives(still), clients.lives(busy)) == (False, True)


def test_a_slow_query_is_cancelled_and_the_same_query_again_is_not(
    site: Site, clients: Clients
) -> None:
    client = clients.running(clients.connect(autocommit=True), "SELECT pg_sleep(60)")
    key = key_of(site, client)
    _, result = database_remedies.cancel(site, [key], Why.RUNS, no_fence)
    assert (result["signalled"], result["going_on"]) == (1, 0)
    until(lambda: clients.state(key.pid) == "idle", "it was cancelled")
    clients.running(client, "SELECT pg_sleep(60)")
    for act in (database_remedies.cancel, database_remedies.terminate):
        _, result = act(site, [key], Why.RUNS, no_fence)
        assert result["signalled"] == 0
    assert clients.state(key.pid) == "active"


def test_a_fence_that_falls_keeps_the_signal_from_being_sent(site: Site, clients: Clients) -> None:
    first, second = (clients.connect(autocommit=True) for _ in range(2))
    for each in (first, second):
        each.execute("SELECT 1")
    keys = [key_of(site, first), key_of(site, second)]
    passed: list[int] = []

    def fence() -> None:
        if passed:
            raise LockLost("somebody else has it")
        passed.append(1)

    with pytest.raises(LockLost):
        database_remedies.terminate(site, keys, Why.IDLE, fence)
    until(lambda: not clients.lives(first), "the first has gone")
    assert clients.lives(second)


def test_without_the_right_to_see_nobody_is_signalled(
    site: Site, clients: Clients, patient: Lab
) -> None:
    root = clients.holding()
    clients.waiting()
    key = key_of(site, root)
    blind = replace(site, dsn=patient.patient.dsn("bystander", DATABASE))
    assert verdict_of(blind, key) == (Verdict.PROTECTED, "not visible to us")
    assert clients.lives(root)
