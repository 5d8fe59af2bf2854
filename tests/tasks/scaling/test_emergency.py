"""Emergency shutdown and start-up on a simulated cluster: in order, exact, after a kill too."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.manifests import BUSYBOX, container
from deployments.lab.stack import Lab
from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import Emergency, Part, plan_emergency
from tasks.domain.errors import Held, LockLost, NotApproved, NotProven, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan
from tasks.emergency import emergency_doors
from tasks.remedies import shut_down_on_purpose
from tasks.sections.capacity import EmergencySettings
from tasks.sections.systems import CacheSettings
from tasks.settings import settings
from tasks.work import approvals, door, emergencies, holding, incidents, journal, locks
from tasks.work.emergencies import Grounds
from tasks.work.scalings import Site
from tests.tasks.passing import no_evidence
from tests.tasks.proposals import BEA, CARL, propose
from tests.tasks.scaling.conftest import Queue
from tests.tasks.scaling.test_scale_door import approved as scale_approved
from tests.tasks.scaling.test_scale_door import scale

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

API, WORKERS, ENGINE = "rlhf-audit-trail", "celery-workers", "privacy-engine"
DATABASE = "database/rlhf_audit"


class Killed(BaseException):
    """The process is gone at once: nothing of ours runs any more."""


def stateful(name: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container("main", BUSYBOX)]}}
    spec = {"serviceName": name, "replicas": 1, "selector": {"matchLabels": labels}}
    return {"metadata": {"name": name}, "spec": {**spec, "template": pod}}


@pytest.fixture
def grounds(site: Site, cluster: Cluster, patient: Lab) -> Grounds:
    for name in ("postgresql", "redis"):
        cluster.add("statefulsets", stateful(name))
    cluster.change("deployments", WORKERS, {"spec": {"replicas": 2}})
    assert patient.patient.child is not None
    # The lab's API process is no pod here and stays connected: its role is not asked for.
    database = settings().database.model_copy(update={"writers": ("nobody_at_all",)})
    cache = CacheSettings(url=SecretStr(patient.cache.url))
    return Grounds(site, EmergencySettings(part_seconds=15), database, cache)


@pytest.fixture
def configured(
    grounds: Grounds, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Grounds]:
    """The simulated cluster in the settings as well, for what reads them itself."""
    monkeypatch.setenv("RUNBOOK_KUBERNETES__CONFIG_FILE", str(cluster.config_file))
    monkeypatch.setenv("RUNBOOK_KUBERNETES__CONTEXT", "diagnose")
    monkeypatch.setenv("RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT", "remediate")
    settings.cache_clear()
    yield grounds
    settings.cache_clear()


def planned(where: Grounds, wanted: Wanted, uid: str = "") -> Plan:
    """`uid`: as if another Redis had been there when it was planned."""
    with incidents.durably() as connection:
        terms = {"cooldown_minutes": 0.0}
        incident = incidents.open_in(
            connection, "Emergency", "emergency", "emergency", "person", "anna", terms=terms
        )
    emergency = emergencies.found(where, wanted).emergency
    if uid:
        parts = [
            replace(each, uid=uid) if each.part is Part.CACHE else each for each in emergency.parts
        ]
        emergency = replace(emergency, parts=tuple(parts))
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return propose(plan_emergency(incident, emergency, "a drill", expires_at))


def approved(where: Grounds, wanted: Wanted, uid: str = "") -> Plan:
    plan = planned(where, wanted, uid)
    for person in (BEA, CARL):
        approvals.decide(plan.incident, plan.hash, "approved", person, "go on")
    return plan


@contextmanager
def opened(where: Grounds, plan: Plan, target: str) -> Iterator[door.Passage]:
    with door.opened(
        plan.incident,
        target,
        observe=lambda: emergencies.planned_state(where, journal.read(plan.incident)),
        evidence_holds=no_evidence,
    ) as passage:
        yield passage


def carry_out(where: Grounds, plan: Plan, dies_at: str = "") -> None:
    emergency = Emergency.of(plan)
    act = emergencies.stop if emergency.wanted is Wanted.SHUT_DOWN else emergencies.start

    def acting(fence: Any, part: Any, *, dies: bool) -> tuple[str, dict[str, Any]]:
        done = act(where, part, fence)
        if dies:
            raise Killed
        return done

    for step, part in emergency.steps.items():
        with opened(where, plan, part.target) as passage:
            passage.carry_out(
                step,
                lambda fence, part=part, dies=step == dies_at: acting(fence, part, dies=dies),
            )


def replicas(cluster: Cluster) -> dict[str, int]:
    places = dict.fromkeys((API, WORKERS, ENGINE), "deployments")
    places |= dict.fromkeys(("redis", "postgresql"), "statefulsets")
    return {name: cluster.get(kind, name)["spec"]["replicas"] for name, kind in places.items()}


def done(plan: Plan) -> list[str]:
    facts = journal.read(plan.incident).facts
    return [fact.data["step"] for fact in facts if fact.kind is FactKind.STEP_DONE]


@pytest.mark.slow
def test_all_stop_in_order_and_start_in_the_opposite_one_with_exactly_what_they_had(
    grounds: Grounds, cluster: Cluster
) -> None:
    before = replicas(cluster)
    assert before == {API: 3, WORKERS: 2, ENGINE: 1, "redis": 1, "postgresql": 1}
    stop = approved(grounds, Wanted.SHUT_DOWN)
    carry_out(grounds, stop)
    assert set(replicas(cluster).values()) == {0}
    for app in (API, WORKERS, ENGINE, "redis", "postgresql"):
        assert [each["metadata"]["name"] for each in cluster.pods(app)] in ([], [f"{app}-pod"])
    names = ["workers", "api", "privacy-engine", "cache", "database"]
    assert done(stop) == [f"emergency.stop.{name}" for name in names]
    assert emergencies.effect(grounds, Emergency.of(stop)).gone
    assert not emergencies.found(grounds, Wanted.SHUT_DOWN).emergency.parts

    start = approved(grounds, Wanted.START)
    carry_out(grounds, start)
    assert replicas(cluster) == before
    assert done(start) == [f"emergency.start.{name}" for name in reversed(names)]
    assert not emergencies.found(grounds, Wanted.START).emergency.parts
    result = journal.read(stop.incident).done("emergency.stop.api")
    assert result is not None
    assert result["result"]["newest_record"] == 4999


def test_a_run_that_died_in_the_middle_goes_on_and_nothing_is_forgotten(
    grounds: Grounds, cluster: Cluster
) -> None:
    before = replicas(cluster)
    stop = approved(grounds, Wanted.SHUT_DOWN)
    with pytest.raises(Killed):
        carry_out(grounds, stop, dies_at="emergency.stop.api")
    assert replicas(cluster) == before | {API: 0, WORKERS: 0}
    carry_out(grounds, stop)
    parts = {
        each.part: each.replicas
        for each in emergencies.found(grounds, Wanted.START).emergency.parts
    }
    assert parts == {
        Part.DATABASE: 1, Part.CACHE: 1, Part.PRIVACY_ENGINE: 1, Part.API: 3, Part.WORKERS: 2,
    }  # fmt: skip


def silent(where: Grounds, seconds: float) -> Grounds:
    """A database that answers nobody, though its pods may run."""
    dsn = SecretStr("postgresql://nobody@127.0.0.1:9/audit?connect_timeout=1")
    database = where.database.model_copy(update={"reader_dsn": dsn, "timeout_seconds": 1})
    return replace(where, parts=EmergencySettings(part_seconds=seconds), database=database)


def test_a_database_that_runs_and_does_not_say_who_writes_is_not_stopped(
    grounds: Grounds, cluster: Cluster
) -> None:
    plan = approved(grounds, Wanted.SHUT_DOWN)
    with pytest.raises(NotProven, match="no writer"):
        carry_out(silent(grounds, 5), plan)
    assert replicas(cluster) == {API: 0, WORKERS: 0, ENGINE: 1, "redis": 1, "postgresql": 1}


def test_a_database_whose_pods_are_gone_has_no_writers(grounds: Grounds, cluster: Cluster) -> None:
    cluster.change("statefulsets", "postgresql", {"spec": {"replicas": 0}})
    where = silent(grounds, 15)
    plan = approved(where, Wanted.SHUT_DOWN)
    carry_out(where, plan)
    assert set(replicas(cluster).values()) == {0}
    result = journal.read(plan.incident).done("emergency.stop.api")
    assert result is not None
    assert "no pod of the database runs" in result["summary"]


@pytest.mark.slow
def test_what_was_made_anew_since_the_stop_is_started_and_that_is_said(
    grounds: Grounds, cluster: Cluster
) -> None:
    before = replicas(cluster)
    carry_out(grounds, approved(grounds, Wanted.SHUT_DOWN))
    cluster.delete("statefulsets", "redis")
    cluster.add("statefulsets", stateful("redis"))
    found = emergencies.found(grounds, Wanted.START)
    lines = emergencies.dry_run(grounds, found)
    assert any("statefulset/redis was made anew since the stop" in line for line in lines)
    assert any("statefulset/redis has 1 replicas already" in line for line in lines)
    carry_out(grounds, approved(grounds, Wanted.START))
    assert replicas(cluster) == before
    assert not emergencies.found(grounds, Wanted.START).emergency.parts


def test_one_person_does_not_undo_by_a_remedy_what_two_have_stopped(
    grounds: Grounds, cluster: Cluster, site: Site
) -> None:
    stop = approved(grounds, Wanted.SHUT_DOWN)
    carry_out(grounds, stop)
    scaling = scale_approved(site, 2)
    with pytest.raises(Held, match=f"shut down on purpose by {stop.incident}"):
        scale(site, scaling)
    assert shut_down_on_purpose.fn(scaling)
    assert replicas(cluster)[WORKERS] == 0


def test_the_database_is_locked_and_held_under_its_own_name_too(
    configured: Grounds, cluster: Cluster
) -> None:
    stop = approved(configured, Wanted.SHUT_DOWN)
    with emergency_doors(stop.incident) as passages:
        assert passages["emergency.stop.database"].targets == ("statefulset/postgresql", DATABASE)
        assert passages["emergency.stop.cache"].targets == ("statefulset/redis",)
        with pytest.raises(LockLost):
            locks.take(DATABASE, "a restore", 60)
        review_at = datetime.now(UTC) + timedelta(hours=1)
        holding.hold_everything(BEA, "do not touch it", review_at, DATABASE)
        with pytest.raises(Held, match=DATABASE):
            passages["emergency.stop.database"].carry_out(
                "emergency.stop.database", lambda _: ("never", {})
            )
    with pytest.raises(Held, match=DATABASE), emergency_doors(stop.incident):
        pass
    assert replicas(cluster)["postgresql"] == 1


def test_what_redis_would_lose_is_said_before_it_is_approved(
    grounds: Grounds, queue: Queue
) -> None:
    queue.put(7)
    scaling = grounds.site.scaling.model_copy(update={"queues": (queue.name,)})
    where = replace(grounds, site=Site(grounds.site.cluster, scaling))
    found = emergencies.found(where, Wanted.SHUT_DOWN)
    stake = emergencies.at_stake(where, found.emergency)
    assert stake.startswith("7 tasks queued, ")
    assert f"Redis now: {stake}" in emergencies.dry_run(where, found, stake)
    assert not emergencies.at_stake(where, Emergency(Wanted.START, found.emergency.parts))


def test_one_approver_is_not_enough(grounds: Grounds, cluster: Cluster) -> None:
    plan = planned(grounds, Wanted.SHUT_DOWN)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
    with pytest.raises(NotApproved):
        carry_out(grounds, plan)
    assert replicas(cluster)[WORKERS] == 2


@pytest.mark.slow
def test_a_part_that_does_not_end_leaves_those_after_it_alone(
    grounds: Grounds, cluster: Cluster
) -> None:
    stubborn = replace(
        grounds,
        parts=EmergencySettings(part_seconds=0.5),
        database=grounds.database.model_copy(update={"writers": ("postgres", "audit_reader")}),
    )
    plan = approved(stubborn, Wanted.SHUT_DOWN)
    with pytest.raises(NotProven, match="no writer"):
        carry_out(replace(stubborn, parts=EmergencySettings(part_seconds=5)), plan)
    assert replicas(cluster) == {API: 0, WORKERS: 0, ENGINE: 1, "redis": 1, "postgresql": 1}

    before = {"deployment/rlhf-audit-trail": 3, "deployment/celery-workers": 2}
    found = emergencies.found(grounds, Wanted.START).emergency
    assert {each.target: each.replicas for each in found.parts} == before
    carry_out(grounds, approved(grounds, Wanted.START))
    assert replicas(cluster) == {API: 3, WORKERS: 2, ENGINE: 1, "redis": 1, "postgresql": 1}
    assert not emergencies.found(grounds, Wanted.START).emergency.parts


def test_a_workload_that_was_made_anew_makes_the_plan_stale(
    grounds: Grounds, cluster: Cluster
) -> None:
    plan = approved(grounds, Wanted.SHUT_DOWN, uid="of-an-older-one")
    with pytest.raises(PlanStale):
        carry_out(grounds, plan)
    assert replicas(cluster)[WORKERS] == 2


def test_a_pod_without_a_controller_is_left_and_that_is_said(site: Site, cluster: Cluster) -> None:
    where = Grounds(site, EmergencySettings(), settings().database, settings().cache)
    found = emergencies.found(where, Wanted.SHUT_DOWN)
    parts = [Part.WORKERS, Part.API, Part.PRIVACY_ENGINE]
    assert [each.part for each in found.emergency.parts] == parts
    lines = emergencies.dry_run(where, found)
    assert any("StatefulSet postgresql is not there" in line for line in lines)
    assert "emergency.stop.api: the API server would take deployment/rlhf-audit-trail to 0" in lines
    assert replicas_of_deployments(cluster) == {API: 3, WORKERS: 1}


def replicas_of_deployments(cluster: Cluster) -> dict[str, int]:
    return {name: cluster.get("deployments", name)["spec"]["replicas"] for name in (API, WORKERS)}
