"""A disk that fills, a database and a Redis that hang: found, and mended through the one door."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.cache_faults import redis_down
from deployments.lab.cluster_manifests import CLAIM_BYTES, POSTGRES, REDIS
from deployments.lab.stack import Lab, Options
from deployments.lab.storage_faults import database_down, disk_filling
from tasks.domain import cache_diagnosis, cache_plan, database_diagnosis, database_plan
from tasks.domain.causes import Cause
from tasks.domain.errors import PlanStale
from tasks.domain.plan import Plan
from tasks.settings import settings
from tasks.work import (
    approvals,
    cache_remedies,
    database_remedies,
    door,
    incidents,
    journal,
    signed_head,
)
from tasks.work.targets import production_target
from tests.tasks.passing import no_evidence
from tests.tasks.proposals import BEA, propose

pytestmark = [pytest.mark.components, pytest.mark.slow]

Act = Callable[[Plan, Callable[[], None]], tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    options = Options(records=1000, prefect=False, checked_per_second=0, cluster=True)
    with Lab(options) as lab:
        yield lab


@pytest.fixture
def lab(running: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("RUNBOOK_CHANGES__COOLDOWN_MINUTES", "0")
    settings.cache_clear()
    yield running
    running.cluster_life.recover()


def approved(procedure: str, plan_of: Callable[[str, Cause, datetime], Plan], cause: Cause) -> Plan:
    with incidents.durably() as connection:
        incident = incidents.open_in(connection, "It ails", procedure, procedure, "person", "anna")
    plan = propose(plan_of(incident, cause, datetime.now(UTC) + timedelta(hours=1)))
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
    return plan


def carried_out(plan: Plan, state: Callable[[Any], dict[str, Any]], act: Act) -> dict[str, Any]:
    with door.opened(
        plan.incident,
        plan.steps[0].target,
        observe=lambda: state(journal.read(plan.incident)),
        evidence_holds=no_evidence,
    ) as passage:
        return passage.carry_out(plan.steps[0].step, lambda fence: act(plan, fence))


def of_database() -> database_remedies.Site:
    return database_remedies.site_of(settings(), production_target())


def database_cause() -> Cause:
    site = of_database()
    return database_diagnosis.diagnose(database_remedies.looked_at(site), site.target, site.limits)[
        0
    ]


def database_state(incident: Any) -> dict[str, Any]:
    return database_remedies.planned_state(of_database(), incident)


def test_a_disk_that_fills_gets_room_and_its_pod_stays(lab: Lab) -> None:
    life = lab.cluster_life
    (pod,) = life.cluster.pods(POSTGRES)
    damage = disk_filling(lab)
    time.sleep(0.5)
    cause = database_cause()
    assert cause.code == damage.cause
    plan = approved(database_plan.PROCEDURE, database_plan.plan_database_remedy, cause)
    assert life.volume.size_bytes == CLAIM_BYTES
    result = carried_out(
        plan,
        database_state,
        lambda plan, fence: database_remedies.enlarge_storage(of_database(), plan, fence),
    )
    assert result["capacity"] == result["wanted"] == life.volume.size_bytes > CLAIM_BYTES
    causes, seen = database_remedies.still_there(of_database(), cause.code)
    assert (causes, seen.unreachable) == ([], "")
    assert [each["metadata"]["uid"] for each in life.cluster.pods(POSTGRES)] == [
        pod["metadata"]["uid"]
    ]


def test_a_database_that_hangs_is_restarted_with_every_signed_record(lab: Lab) -> None:
    damage = database_down(lab)
    time.sleep(0.5)
    cause = database_cause()
    assert cause.code == damage.cause
    assert "nor in its pod" in cause.summary
    plan = approved(database_plan.PROCEDURE, database_plan.plan_database_remedy, cause)
    result = carried_out(
        plan,
        database_state,
        lambda plan, fence: database_remedies.restart(of_database(), plan, fence),
    )
    assert (result["ended"], result["ready"]) == (True, True)
    causes, seen = database_remedies.still_there(of_database(), cause.code)
    assert (causes, seen.unreachable) == ([], "")
    missing, said = signed_head.look_for(of_database().look.reader_dsn, 5.0)
    assert not missing
    assert f"the records up to the signed head ({lab.sealed_size:,}) are there" in said


def test_records_that_are_missing_below_the_signed_head_are_said(lab: Lab) -> None:
    with lab.patient.connect("rlhf_audit") as admin:
        moved = "UPDATE audit_records SET seq = seq + 1000000000 WHERE seq = %s"
        back = "UPDATE audit_records SET seq = seq - 1000000000 WHERE seq = %s + 1000000000"
        last = lab.sealed_size - 1
        admin.execute(moved, (last,))
        try:
            missing, said = signed_head.look_for(of_database().look.reader_dsn, 5.0)
        finally:
            admin.execute(back, (last,))
    assert missing
    assert f"record {last} of the signed head is not in the table" in said


def test_a_redis_that_hangs_is_restarted_and_one_that_came_back_is_not(lab: Lab) -> None:
    life = lab.cluster_life
    damage = redis_down(lab)
    time.sleep(0.5)
    site = cache_remedies.site_of(settings())
    (cause,) = cache_diagnosis.diagnose(cache_remedies.looked_at(site), site.limits)
    assert cause.code == damage.cause
    plan = approved(cache_plan.PROCEDURE, cache_plan.plan_cache_remedy, cause)
    assert "all keys" in plan.will_be_lost

    def state(incident: Any) -> dict[str, Any]:
        return cache_remedies.planned_state(site, incident)

    def act(plan: Plan, fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return cache_remedies.restart_pod(site, plan, fence)

    assert carried_out(plan, state, act)["ready"]
    causes, seen = cache_remedies.still_there(site, cause.code)
    assert (causes, seen.unreachable) == ([], "")
    assert life.ready(REDIS) == 1
    # the same cause once more, but it passes by itself before anybody says yes
    late = approved(cache_plan.PROCEDURE, cache_plan.plan_cache_remedy, cause)
    with pytest.raises(PlanStale):
        carried_out(late, state, act)
