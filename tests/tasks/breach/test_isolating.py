"""Roles locked out and let in again on a real server: whom, whom never, and exactly once."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from deployments.gateway.ticker import Ticker
from deployments.lab.postgres import binaries
from flows import breach as flow
from tasks import breach
from tasks.clients.errors import Transient
from tasks.domain.breach_findings import Suspects
from tasks.domain.errors import BadInput, Held, NotApproved, NotPermitted, NotProven, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.isolation import ACCOUNTS, CAUSE, RETURN, SESSIONS, Lock
from tasks.domain.isolation_plan import Isolating
from tasks.domain.isolation_state import Word, is_due, isolation_of
from tasks.domain.plan import Plan
from tasks.domain.preserved import Preserved
from tasks.settings import settings
from tasks.work import (
    approvals,
    holding,
    incidents,
    isolating,
    isolation_site,
    journal,
    responder,
    role_isolation,
    statements,
)
from tasks.work.judging_isolation import judge_isolation, order_return_again
from tests.postgres_fixture import AuditDatabase
from tests.tasks.breach.house import BEA, EVE, ROSA, SAM, House, alive, evidence_of
from tests.tasks.passing import steps

pytestmark = pytest.mark.components


def isolate(plan: Plan) -> None:
    with breach.isolation_doors(plan.incident) as passages:
        breach.lock_accounts.fn(passages[ACCOUNTS], evidence_of(plan))
        breach.end_sessions.fn(passages[SESSIONS], evidence_of(plan))


def take_back(plan: Plan) -> list[str]:
    with breach.isolation_doors(plan.incident, gives_back=True) as passages:
        return list(breach.take_back.fn(passages)["returned"])


def result_of(plan: Plan, step: str) -> dict[str, object]:
    return dict(journal.read(plan.incident).steps[step]["result"])


def orders(incident: str) -> list[str]:
    with responder.connection() as connection:
        found = connection.execute(
            "SELECT deployment, key FROM dispatches WHERE incident = %s", (incident,)
        ).fetchall()
    return [key for deployment, key in found if deployment == incidents.INCIDENT and "back" in key]


def test_a_suspected_role_is_locked_its_sessions_end_and_its_undo_is_recorded(
    house: House,
) -> None:
    plan = house.approved(house.suspect("mallory"))
    with house.session("mallory", "runbook") as disguised, house.session("nobodys") as other:
        isolate(plan)
        assert (alive(disguised), alive(other)) == (False, True)
    assert house.state_of("mallory") == (False, plan.incident)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(house.dsn("mallory"))
    undo = {"login": ["mallory"], "where": "runbook.isolated_by"}
    assert result_of(plan, ACCOUNTS)["undo"] == undo
    assert breach.look_at_isolation.fn(plan.incident).gone


def test_taken_back_the_role_logs_in_again_and_nothing_goes_back_twice(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    assert take_back(plan) == ["mallory may log in again"]
    assert house.state_of("mallory") == (True, "")
    house.run("ALTER ROLE {} NOLOGIN", "mallory")  # somebody else, meanwhile
    take_back(plan)
    assert house.state_of("mallory") == (False, "")
    assert steps(plan.incident).count(("step done", RETURN)) == 1


def test_what_somebody_else_has_locked_meanwhile_is_left_and_never_let_in_by_us(
    house: House,
) -> None:
    plan = house.approved(house.suspect("mallory"), house.suspect(EVE))
    with breach.isolation_doors(plan.incident) as passages:
        house.run("ALTER ROLE {} NOLOGIN", EVE)
        house.run("ALTER ROLE {} SET runbook.isolated_by = 'INC-other'", EVE)
        breach.lock_accounts.fn(passages[ACCOUNTS], evidence_of(plan))
    assert result_of(plan, ACCOUNTS)["locked"] == ["mallory"]
    assert "INC-other has locked it" in str(result_of(plan, ACCOUNTS)["left"])
    assert take_back(plan) == ["mallory may log in again"]
    assert house.state_of(EVE) == (False, "INC-other")


def test_a_mark_of_an_isolation_that_is_over_protects_nobody(house: House) -> None:
    house.run("ALTER ROLE {} SET runbook.isolated_by = 'INC-other'", EVE)
    plan = house.approved(house.suspect(EVE))
    isolate(plan)
    assert house.state_of(EVE) == (False, plan.incident)
    take_back(plan)
    assert house.state_of(EVE) == (True, "")


def test_nobody_can_mark_themselves_as_locked(house: House) -> None:
    with (
        house.session("mallory") as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute("ALTER ROLE mallory SET runbook.isolated_by = 'INC-other'")


def test_killed_between_act_and_record_the_next_run_finds_it_and_undoes_it_once(
    house: House,
) -> None:
    plan = house.approved(house.suspect("mallory"))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.tasks.breach.killed_lock", plan.incident],
        env=dict(os.environ),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert steps(plan.incident) == [("step started", ACCOUNTS)]
    assert house.state_of("mallory") == (False, plan.incident)
    begun = isolation_of(journal.read(plan.incident))
    isolate(plan)
    found = isolation_of(journal.read(plan.incident))
    assert begun is not None
    assert found is not None
    assert (found.until, found.seq) == (begun.until, begun.seq)
    assert result_of(plan, ACCOUNTS)["locked"] == ["mallory"]
    assert take_back(plan) == ["mallory may log in again"]


def test_a_name_that_is_sql_and_turns_the_text_around_is_locked_like_any_other(
    house: House,
) -> None:
    plan = house.approved(house.suspect(EVE))
    assert "\u202e" not in "".join(each.action for each in plan.steps)
    isolate(plan)
    assert house.state_of(EVE) == (False, plan.incident)
    assert house.state_of("postgres")[0]
    take_back(plan)
    assert house.state_of(EVE) == (True, "")


def test_nobody_whom_the_house_needs_is_planned_and_no_order_of_approval_locks_them(
    house: House,
) -> None:
    site = isolation_site.site_of(settings())
    names = ("postgres", "break_glass", "audit_isolation", "audit_reader", "sealer", "mallory")
    suspects, decisions = role_isolation.suspected(site, Suspects((), frozenset(names)))
    assert [each.name for each in suspects] == ["mallory"]
    assert len(decisions) == len(names)
    forced = house.approved(house.suspect("break_glass"), house.suspect("postgres"))
    with (
        pytest.raises(PlanStale, match=r"changes in \['roles'\]"),
        breach.isolation_doors(forced.incident),
    ):
        raise AssertionError
    planned = Isolating.of(forced)
    _, result = role_isolation.lock(site, planned, forced.incident, lambda: None)
    assert result["locked"] == []
    assert house.state_of("break_glass") == (True, "")
    assert house.state_of("postgres") == (True, "")


def test_the_apis_role_is_locked_by_two_people_and_never_by_one(house: House) -> None:
    site = isolation_site.site_of(settings())
    suspects, _ = role_isolation.suspected(site, Suspects((), frozenset({"audit_api"})))
    assert [each.lock for each in suspects] == [Lock.TWO_PEOPLE]
    lied = house.approved(house.suspect("audit_api"))  # as if one person were enough
    with pytest.raises(PlanStale), breach.isolation_doors(lied.incident):
        raise AssertionError
    assert house.state_of("audit_api") == (True, "")
    plan = house.approved(*suspects)
    assert plan.approvers_needed == 2
    isolate(plan)
    assert house.state_of("audit_api") == (False, plan.incident)
    take_back(plan)


def test_sessions_from_a_suspected_address_end_but_not_ours_nor_the_apis(house: House) -> None:
    plan = house.approved(house.suspect("mallory"), addresses=("127.0.0.1",))
    with (
        house.session("nobodys", "pg_dump") as disguised,
        house.session("audit_api") as api,
        house.session("audit_reader") as ours,
        house.session("break_glass") as glass,
    ):
        isolate(plan)
        found = [alive(each) for each in (disguised, api, ours, glass)]
    assert found == [False, True, True, True]
    assert house.state_of("nobodys") == (True, "")


def test_a_role_that_was_made_anew_under_the_name_is_left_alone(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    house.run("DROP OWNED BY {}", "mallory")
    house.run("DROP ROLE {}", "mallory")
    house.run("CREATE ROLE {} LOGIN", "mallory")
    with pytest.raises(PlanStale), breach.isolation_doors(plan.incident):
        raise AssertionError
    assert house.state_of("mallory") == (True, "")


def test_what_ours_may_not_lock_keeps_nobody_else_open_and_is_said(house: House) -> None:
    plan = house.approved(house.suspect("nobodys"), house.suspect("mallory"))
    isolate(plan)
    result = result_of(plan, ACCOUNTS)
    assert result["locked"] == ["mallory"]
    assert "nobodys" in str(result["left"])
    effect = breach.look_at_isolation.fn(plan.incident)
    assert (effect.gone, "nobodys can still log in" in effect.text) == (False, True)


def test_a_dry_run_says_what_would_happen_and_changes_nothing(house: House) -> None:
    site = isolation_site.site_of(settings())
    what = Isolating(240, 3, None, (house.suspect("mallory"), house.suspect("nobodys")), ())
    with house.session("mallory") as session:
        lines = role_isolation.tried(site, what, "INC-1")
        assert alive(session)
    assert lines[0] == "mallory: locked"
    assert "nobodys would not be locked" in lines[1]
    assert house.state_of("mallory") == (True, "")


def test_suspects_by_address_are_the_roles_that_have_sessions_from_there(house: House) -> None:
    site = isolation_site.site_of(settings())
    with house.session("mallory"):
        found = isolating.found(site, Suspects(("127.0.0.1",)), 3)
    assert "mallory" in {each.name for each in found.isolating.roles}
    assert not isolating.found(site, Suspects(("203.0.113.1",)), 3).isolating.roles


def test_without_the_evidence_of_its_hold_a_step_does_nothing(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    other = Preserved(plan.incident, "*", 4, "evidence/other/4", 7)
    with breach.isolation_doors(plan.incident) as passages, pytest.raises(NotProven):
        breach.lock_accounts.fn(passages[ACCOUNTS], other)
    assert house.state_of("mallory") == (True, "")


def test_under_a_hold_whose_evidence_is_not_sealed_nothing_is_isolated(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    holding.hold_until_sealed(plan.incident, "*", "suspected", "suspected-breach")
    with (
        pytest.raises(Held, match="evidence is not sealed"),
        breach.isolation_doors(plan.incident),
    ):
        raise AssertionError
    assert steps(plan.incident) == []


def test_a_hold_of_the_runbook_keeps_nothing_from_going_back_and_a_persons_does(
    house: House,
) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    later = datetime.now(UTC) + timedelta(hours=1)
    holding.hold_everything(BEA, "wait", later)
    with pytest.raises(Held, match="held by bea"):
        take_back(plan)
    holding.lift_from_everything(BEA, "go on")
    holding.hold_until_sealed(plan.incident, "*", "suspected", "suspected-breach")
    assert take_back(plan) == ["mallory may log in again"]


def test_security_lifts_the_hold_of_a_forged_alert_and_nobody_else_an_unsealed_one(
    house: House,
) -> None:
    incident = house.approved(house.suspect("mallory")).incident
    holding.hold_until_sealed(incident, "*", "suspected", CAUSE)
    with pytest.raises(NotApproved, match="seal it first"):
        statements.lift(incident, BEA, "*", "forged")
    with pytest.raises(BadInput):
        statements.lift(incident, SAM, "*", " ")
    lifted = statements.lift(incident, SAM, "*", "forged: no such login")
    assert (lifted.actor, lifted.data["unsealed"]) == ("sam", True)
    assert journal.read(incident).held() == []
    holding.hold_until_sealed(incident, "*", "altered", "damage 1")
    with pytest.raises(NotApproved, match="seal it first"):
        statements.lift(incident, SAM, "*", "go on")


def test_a_database_that_is_away_keeps_no_door_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = house.approved(house.suspect("mallory"))
    monkeypatch.setenv(
        "RUNBOOK_BREACH__ISOLATION_DSN", "host=127.0.0.1 port=1 user=nobody connect_timeout=1"
    )
    settings.cache_clear()
    site = isolation_site.site_of(settings())
    assert isolating.planned_state(site, journal.read(plan.incident)) == plan.observed
    with breach.isolation_doors(plan.incident) as passages, pytest.raises(Transient):
        breach.lock_accounts.fn(passages[ACCOUNTS], evidence_of(plan))


def test_a_system_that_is_away_keeps_no_other_step_from_being_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def away(*_: object) -> None:
        done.append("tried")
        raise Transient("the cluster is away")

    plan = house.approved(house.suspect("mallory"))
    monkeypatch.setattr(flow, "preserve", lambda *_: evidence_of(plan))
    monkeypatch.setattr(flow, "stop", lambda _: 3)
    monkeypatch.setattr(flow, "read_incident", journal.read)
    monkeypatch.setattr(flow, "planned_steps", lambda _: [ACCOUNTS, SESSIONS])
    monkeypatch.setattr(
        flow, "ISOLATE", {ACCOUNTS: away, SESSIONS: lambda *_: done.append("ended")}
    )
    with pytest.raises(Transient, match="cluster is away"):
        flow.isolate(plan.incident)
    assert done == ["tried", "ended"]


def test_unconfirmed_its_return_is_ordered_once_at_its_minute_whoever_ticks(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    found = isolation_of(journal.read(plan.incident))
    assert found is not None
    Ticker().tick(found.until - timedelta(seconds=1))
    assert orders(plan.incident) == []
    ticker = Ticker()
    for _ in range(3):
        ticker.tick(found.until)
    Ticker().tick(found.until + timedelta(minutes=1))  # after a restart
    assert len(orders(plan.incident)) == 1
    take_back(plan)
    Ticker().tick(found.until + timedelta(days=2))
    assert len(orders(plan.incident)) == 1
    assert house.state_of("mallory") == (True, "")


def test_a_return_that_failed_is_ordered_again_after_a_pause(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    found = isolation_of(journal.read(plan.incident))
    assert found is not None
    Ticker().tick(found.until)
    breach.record_failed_return.fn(plan.incident, found, "away")
    breach.record_failed_return.fn(plan.incident, found, "away, told twice")
    again = isolation_of(journal.read(plan.incident))
    assert again is not None
    assert (again.failures, again.return_at is not None) == (1, True)
    Ticker().tick(max(again.return_at or found.until, found.until))
    assert len(orders(plan.incident)) == 2


def test_a_word_after_a_failure_takes_it_back_by_the_run_that_it_orders(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    found = isolation_of(journal.read(plan.incident))
    assert found is not None
    breach.record_failed_return.fn(plan.incident, found, "away")
    judge_isolation(plan.incident, SAM, Word.RETURN, "it was a drill")
    said = isolation_of(journal.read(plan.incident))
    assert said is not None
    assert is_due(said, said.said_at or found.until)
    assert len(orders(plan.incident)) == 1


def test_a_worker_whose_clock_is_behind_comes_again_when_it_is_due_there(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    found = isolation_of(journal.read(plan.incident))
    assert found is not None
    early = found.until - timedelta(minutes=2)
    assert not order_return_again(plan.incident, found, early)  # nobody has ordered it yet
    Ticker().tick(found.until)
    assert order_return_again(plan.incident, found, early)
    assert not order_return_again(plan.incident, found, early)
    assert not order_return_again(plan.incident, found, found.until)
    with responder.connection() as connection:
        (waits,) = connection.execute(
            "SELECT extract(epoch FROM lease_until - clock_timestamp())::float FROM dispatches"
            " WHERE incident = %s AND key LIKE '%%:again:%%'",
            (plan.incident,),
        ).fetchone() or (0.0,)
    assert 120 < waits <= 125
    breach.see_to_return.fn(plan.incident, found)  # and the run itself asks for it
    assert len(orders(plan.incident)) == 3


def test_confirmed_it_stays_and_by_a_word_it_goes_back_at_once(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    with pytest.raises(NotApproved, match="found none"):
        judge_isolation(plan.incident, SAM, Word.CONFIRM, "seen")
    isolate(plan)
    with pytest.raises(NotPermitted):
        judge_isolation(plan.incident, ROSA, Word.CONFIRM, "seen")
    with pytest.raises(NotApproved, match="isolation confirm"):
        statements.close(plan.incident, BEA, "done")
    first = judge_isolation(plan.incident, SAM, Word.CONFIRM, "seen")
    assert judge_isolation(plan.incident, SAM, Word.CONFIRM, "seen").seq == first.seq
    found = isolation_of(journal.read(plan.incident))
    assert found is not None
    Ticker().tick(found.until + timedelta(days=1))
    assert orders(plan.incident) == []
    judge_isolation(plan.incident, BEA, Word.RETURN, "it was a drill")
    assert len(orders(plan.incident)) == 1
    Ticker().tick(found.until + timedelta(days=1))
    assert len(orders(plan.incident)) == 1
    take_back(plan)
    with pytest.raises(NotApproved, match="taken back already"):
        judge_isolation(plan.incident, SAM, Word.CONFIRM, "seen")


def test_a_denial_of_what_was_begun_stops_it_and_lets_it_only_go_back(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    with breach.isolation_doors(plan.incident) as passages:
        breach.lock_accounts.fn(passages[ACCOUNTS], evidence_of(plan))
        approvals.decide(plan.incident, plan.hash, "denied", BEA, "stop")
        with pytest.raises(NotApproved):
            breach.end_sessions.fn(passages[SESSIONS], evidence_of(plan))
    with pytest.raises(NotApproved), breach.isolation_doors(plan.incident):
        raise AssertionError
    assert take_back(plan) == ["mallory may log in again"]


def test_a_denial_before_anything_was_begun_opens_no_door_even_to_give_back(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    approvals.decide(plan.incident, plan.hash, "denied", BEA, "stop")
    with pytest.raises(NotApproved):
        take_back(plan)


def test_a_confirmed_isolation_keeps_nobody_from_closing_the_incident(house: House) -> None:
    plan = house.approved(house.suspect("mallory"))
    isolate(plan)
    judge_isolation(plan.incident, SAM, Word.CONFIRM, "seen")
    statements.close(plan.incident, BEA, "judged")
    assert [fact.kind for fact in journal.read(plan.incident).facts][-1] is FactKind.CLOSED


def test_no_dump_of_the_audited_database_holds_the_grants(
    house: House, audit_database: AuditDatabase
) -> None:
    isolate(house.approved(house.suspect("mallory")))
    dump = subprocess.run(
        [binaries() / "pg_dump", audit_database.owner], capture_output=True, timeout=60, check=True
    ).stdout
    assert b"CREATE TABLE public.audit_records" in dump
    assert b"audit_isolation" not in dump
    assert b"isolated_by" not in dump
