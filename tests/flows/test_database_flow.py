"""The database's procedure on the whole stack: from an alert to a server that serves again."""

import time
from typing import Any

import psycopg
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.session_faults import lock_storm
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work import journal
from tests.flows.responding import Responding, alert_of, until

pytestmark = [pytest.mark.flows, pytest.mark.slow]

_ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
_LONG_ENOUGH = 2.5  # the lab calls a wait of two seconds a storm
_ALERT = {"alertname": "DatabaseDown", "severity": "critical", "category": "infrastructure"}


def alive(responding: Responding, pids: frozenset[int]) -> int:
    with responding.lab.patient.connect(DATABASE) as connection:
        row = connection.execute(_ALIVE, (sorted(pids),)).fetchone()
    return int(row[0]) if row else 0


def first_causes(responding: Responding, incident: str) -> list[dict[str, Any]]:
    return list(responding.until_fact(incident, FactKind.CAUSES_FOUND).data["causes"])


def closed(responding: Responding, incident: str) -> str:
    responding.until_fact(incident, FactKind.REPORTED)
    state = journal.read(incident)
    assert state.stage is Stage.CLOSED
    return state.outcome


def test_a_lock_storm_is_found_whatever_rang_approved_ended_and_proven_gone(
    responding: Responding,
) -> None:
    damage = lock_storm(responding.lab)
    incident = responding.notify(alert_of(_ALERT))
    assert first_causes(responding, incident)[0]["code"] == "db.lock-storm"
    plan = responding.plan(incident)
    assert alive(responding, damage.culprits) == 1
    responding.decide(incident, plan, "approve")
    assert closed(responding, incident) == "resolved"
    assert alive(responding, damage.culprits) == 0
    state = journal.read(incident)
    assert state.proof is not None
    assert state.proof["holds"] is True
    done = [fact.data["step"] for fact in responding.facts(incident, FactKind.STEP_DONE)]
    assert done == ["db.resolution.cancel", "db.resolution.terminate"]
    observed = {fact.data["step"] for fact in responding.facts(incident, FactKind.CHECK_OBSERVED)}
    assert observed >= {
        "db.diagnosis.databases",
        "db.diagnosis.connections",
        "db.diagnosis.locks",
        "db.diagnosis.disk",
        "db.resolution.backups",
    }


def test_a_blocker_that_goes_by_itself_before_the_yes_costs_nobody_a_session(
    responding: Responding,
) -> None:
    with (
        psycopg.connect(responding.lab.patient.dsn("audit_api", DATABASE)) as blocker,
        psycopg.connect(responding.lab.patient.dsn("audit_api", DATABASE)) as waiter,
    ):
        pids = frozenset({blocker.info.backend_pid, waiter.info.backend_pid})
        blocker.execute("SELECT pg_advisory_xact_lock(7)")
        waiter.pgconn.send_query(b"SELECT pg_advisory_xact_lock(7)")
        time.sleep(_LONG_ENOUGH)
        incident = responding.notify(alert_of(_ALERT))
        plan = responding.plan(incident)
        blocker.rollback()
        until(lambda: not _is_busy(waiter), "the waiter has its lock")
        while waiter.pgconn.get_result() is not None:
            pass
        responding.decide(incident, plan, "approve")
        assert closed(responding, incident) == "no action needed"
        assert alive(responding, pids) == 2
        assert responding.facts(incident, FactKind.STEP_STARTED) == []


def test_a_database_without_a_fault_is_left_as_it_is(responding: Responding) -> None:
    before = responding.production()
    incident = responding.notify(alert_of(_ALERT))
    assert closed(responding, incident) == "no action needed"
    serious = [
        cause for cause in first_causes(responding, incident) if cause["confidence"] != "possible"
    ]
    assert serious == []
    assert responding.facts(incident, FactKind.PLAN_PROPOSED, FactKind.STEP_STARTED) == []
    assert responding.production() == before


def _is_busy(connection: psycopg.Connection) -> bool:
    connection.pgconn.consume_input()
    return bool(connection.pgconn.is_busy())
