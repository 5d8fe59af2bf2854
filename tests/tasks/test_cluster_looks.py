"""Deployments, pods' logs, both sides of a server, and silences, as triage looks at them."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY, MISSING, Release
from deployments.lab.kubernetes.misbehaviour import Trouble
from deployments.lab.kubernetes.pod_programs import postgres_pod, redis_pod
from deployments.lab.kubernetes.programs import Program
from deployments.lab.kubernetes.rbac import Account
from deployments.lab.stack import Lab
from tasks.alerting import check_silences
from tasks.cache import check_cache
from tasks.database import check_database
from tasks.domain.observation import Health
from tasks.logs import review_logs
from tasks.settings import settings
from tasks.work import incidents, journal
from tasks.workloads import review_deployments
from tests.clients.loopback import answering, http, sending
from tests.pristine import Pristine

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

Set = Callable[..., None]
NAME = "rlhf-audit-trail"


@pytest.fixture(scope="module")
def patient(pristine_patient: Pristine) -> Lab:
    """Once: nothing here changes it."""
    return pristine_patient.restore()


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    programs = {"postgres-pod": Program(), "redis-pod": Program()}
    with simulated_cluster(releases=HEALTHY, programs=programs) as cluster:
        yield cluster


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Set:
    def put(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"RUNBOOK_{name}", str(value))
        settings.cache_clear()

    return put


@pytest.fixture
def cluster(running: Cluster, setting: Set) -> Iterator[Cluster]:
    running.programs.restore()
    setting(KUBERNETES__CONFIG_FILE=running.config_file, KUBERNETES__CONTEXT="diagnose")
    yield running
    running.recover_api()


@pytest.fixture
def incident(patient: Lab) -> str:
    assert settings().lab, patient
    return incidents.declare("t", "api", "api_service", by="anna")


def journaled(incident: str, step: str) -> dict[str, Any]:
    return dict(journal.read(incident).checks[step])


# Deployments


def test_a_release_just_before_the_onset_is_suspected_with_its_image_and_who(
    incident: str, setting: Set
) -> None:
    bad = Release(MISSING, {}, "release 1.5.0", lasts=120.0)
    with simulated_cluster(releases=(*HEALTHY, bad)) as cluster:
        setting(KUBERNETES__CONFIG_FILE=cluster.config_file, KUBERNETES__CONTEXT="diagnose")
        seen = review_deployments.fn(incident, datetime.now(UTC), "api")
    assert seen.health is Health.DEGRADED
    first = journaled(incident, "triage.deployments")["evidence"]["changes"][0]
    assert (first["component"], first["revision"], first["images"]) == ("api", 4, [MISSING])
    assert (first["timing"], first["who"], first["cause"]) == (
        "just before",
        "kubectl-set",
        "release 1.5.0",
    )
    assert "no progress within 15 s" in seen.summary


def test_releases_of_other_days_are_no_suspects(cluster: Cluster, incident: str) -> None:
    assert cluster.namespace == NAME
    seen = review_deployments.fn(incident, datetime.now(UTC) + timedelta(hours=1), "api")
    assert (seen.health, seen.evidence["stuck"]) == (Health.HEALTHY, [])
    assert {each["timing"] for each in seen.evidence["changes"]} <= {"lately"}


def test_without_a_cluster_deployments_are_unknown(incident: str, setting: Set) -> None:
    setting(KUBERNETES__CONFIG_FILE="/nowhere/kubeconfig")
    assert review_deployments.fn(incident, None, "api").health is Health.UNKNOWN


def test_a_403_is_unknown_and_names_the_grant(cluster: Cluster, incident: str) -> None:
    before = cluster.service.accounts[cluster.tokens["diagnose"]]
    cluster.grant("diagnose", Account("nobody"))
    seen = review_deployments.fn(incident, None, "api")
    logs = review_logs.fn(incident, None)
    cluster.grant("diagnose", before)
    assert (seen.health, logs.health) == (Health.UNKNOWN, Health.UNKNOWN)
    assert "grant the verb list on" in seen.summary
    assert "grant the verb list on pods" in logs.summary


def test_what_can_be_read_is_told_and_what_cannot_is_named(cluster: Cluster, incident: str) -> None:
    cluster.misbehave(Trouble.FAILS, "/statefulsets", code=500)
    seen = review_deployments.fn(incident, datetime.now(UTC) + timedelta(hours=1), "api")
    assert seen.health is Health.UNKNOWN
    assert "statefulsets" in seen.summary
    assert seen.evidence["changes"] is not None


@pytest.mark.parametrize("trouble", [each for each in Trouble if each is not Trouble.SLOW])
def test_whatever_the_api_server_does_is_unknown_in_time(
    trouble: Trouble, cluster: Cluster, incident: str, setting: Set
) -> None:
    setting(KUBERNETES__API_SECONDS="0.5")
    cluster.misbehave(trouble, "", seconds=2.0)
    began = time.monotonic()
    seen, logs = review_deployments.fn(incident, None, "api"), review_logs.fn(incident, None)
    assert time.monotonic() - began < 2 * (0.5 + 0.5) + 1.0
    assert (seen.health, logs.health) == (Health.UNKNOWN, Health.UNKNOWN)


# Logs


def test_logs_of_all_pods_and_of_crashed_containers_are_one_screen_without_secrets(
    patient: Lab, incident: str, setting: Set
) -> None:
    secret = patient.api.token
    with simulated_cluster(releases=HEALTHY[:1]) as cluster:
        setting(KUBERNETES__CONFIG_FILE=cluster.config_file, KUBERNETES__CONTEXT="diagnose")
        words = (f"FATAL no slot left, token {secret}", "password=hunter2hunter2")
        cluster.crash_loop("celery-workers", after=30.0, last_words=words)
        cluster.log("privacy-engine", "\x1b[31mERROR \u202enoise", "x" * 100_000)
        cluster.advance(60)
        seen = review_logs.fn(incident, datetime.now(UTC) + timedelta(seconds=30))
    kept = journaled(incident, "triage.logs")
    text = json.dumps(kept, ensure_ascii=False)
    assert (secret in text, "hunter2" in text, "\u202e" in text, "\x1b" in text) == (False,) * 4
    assert len(text) < 20_000
    templates = kept["evidence"]["templates"]
    fatal = next(each for each in templates if each["level"] == "fatal")
    assert any(source.endswith("/worker (previous)") for source in fatal["sources"])
    sources = {source.split("/")[-1] for each in templates for source in each["sources"]}
    assert {"api", "worker (previous)"} <= sources
    assert seen.evidence["containers_read"] == seen.evidence["containers"]


def test_a_namespace_without_pods_is_unknown_and_not_healthy(
    cluster: Cluster, incident: str, setting: Set
) -> None:
    admin = {"KUBERNETES__CONTEXT": "admin", "KUBERNETES__NAMESPACE": "somewhere-else"}
    setting(**admin)
    seen = review_logs.fn(incident, None)
    assert (seen.health, seen.summary) == (Health.UNKNOWN, "no lines at all of 0 containers")
    assert cluster.asked


def test_one_log_that_hangs_costs_the_others_nothing(
    cluster: Cluster, incident: str, setting: Set
) -> None:
    setting(KUBERNETES__API_SECONDS="1.0")
    cluster.misbehave(Trouble.HANGS, "pods/postgres-pod/log", seconds=3.0)
    seen = review_logs.fn(incident, None)
    assert seen.evidence["containers_read"] == seen.evidence["containers"] - 1
    assert seen.evidence["cut"] is True
    assert seen.seconds < 2.0


# Both sides


def test_database_and_cache_are_seen_from_both_sides(
    patient: Lab, cluster: Cluster, incident: str, setting: Set, tmp_path: Path
) -> None:
    cluster.programs.by_pod = {
        "postgres-pod": postgres_pod(patient.patient.port),
        "redis-pod": redis_pod(tmp_path, patient.cache.port),
    }
    setting(DATABASE__POD=f"{NAME}/postgres-pod", CACHE__POD=f"{NAME}/redis-pod")
    database, cache = check_database.fn(incident), check_cache.fn(incident)
    assert (database.health, cache.health) == (Health.HEALTHY, Health.HEALTHY)
    assert database.evidence["in_pod"]["sides"] == cache.evidence["in_pod"]["sides"] == "agree"
    assert "accepting connections" in database.summary


def test_a_server_that_only_its_pod_reaches_is_failed_and_the_difference_is_told(
    patient: Lab, cluster: Cluster, incident: str, setting: Set, tmp_path: Path
) -> None:
    cluster.programs.by_pod = {
        "postgres-pod": postgres_pod(patient.patient.port),
        "redis-pod": redis_pod(tmp_path, patient.cache.port),
    }
    setting(
        DATABASE__POD=f"{NAME}/postgres-pod",
        CACHE__POD=f"{NAME}/redis-pod",
        DATABASE__READER_DSN="postgresql://x:y@127.0.0.1:9/rlhf_audit",
        CACHE__URL="redis://127.0.0.1:9/0",
    )
    for seen in (check_database.fn(incident), check_cache.fn(incident)):
        assert seen.health is Health.FAILED
        assert seen.summary.startswith("answers in its pod, not from outside")


def test_a_server_that_its_pod_does_not_hold_is_degraded(
    cluster: Cluster, incident: str, setting: Set
) -> None:
    cluster.programs.by_pod["postgres-pod"] = postgres_pod(9)
    setting(DATABASE__POD=f"{NAME}/postgres-pod")
    seen = check_database.fn(incident)
    assert seen.health is Health.DEGRADED
    assert seen.summary.startswith("answers from outside, not in its pod")


def test_a_pod_that_we_may_not_enter_takes_nothing_from_what_is_seen_outside(
    cluster: Cluster, incident: str, setting: Set
) -> None:
    setting(DATABASE__POD=f"{NAME}/privacy-engine-x", KUBERNETES__CONTEXT="remediate")
    seen = check_database.fn(incident)
    assert seen.health is Health.HEALTHY
    assert "pods/exec" in seen.summary
    assert cluster.namespace == NAME


def test_a_frozen_server_costs_its_time_out_and_no_more(
    patient: Lab, incident: str, setting: Set
) -> None:
    setting(DATABASE__TIMEOUT_SECONDS="2")
    with patient.patient.connect("rlhf_audit") as connection:
        connection.execute("BEGIN; LOCK TABLE public.audit_records IN ACCESS EXCLUSIVE MODE")
        seen = check_database.fn(incident)
        connection.execute("ROLLBACK")
    assert seen.health is Health.FAILED
    assert seen.seconds < 3.0


# Silences


def silenced(*names: str) -> bytes:
    alerts = [
        {"labels": {"alertname": name}, "status": {"silencedBy": ["s"], "inhibitedBy": []}}
        for name in names
    ]
    return http(200, json.dumps(alerts).encode())


def alertmanagers(setting: Set, *ports: int) -> None:
    setting(
        ALERTMANAGER__URLS=json.dumps([f"http://127.0.0.1:{port}" for port in ports]),
        ALERTMANAGER__TIMEOUT_SECONDS="1",
    )


def test_a_silence_that_hides_an_alert_is_told_though_a_peer_hangs(
    incident: str, setting: Set
) -> None:
    silence = {"id": "s", "createdBy": "anna", "comment": "<b>x</b>", "endsAt": None}
    answers = [silenced("DatabaseDown"), http(200, json.dumps([silence]).encode())]

    def answer(connection: Any) -> None:
        connection.sendall(answers.pop(0))

    with answering(answer) as port, answering(lambda _: time.sleep(1.5)) as hanging:
        alertmanagers(setting, hanging, port)
        seen = check_silences.fn(incident)
    assert seen.health is Health.DEGRADED
    assert seen.summary == ("1 fire and are silenced: DatabaseDown is silenced by anna: <b>x</b>")
    assert seen.seconds < 1.0 + 0.5


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[7]", b'[{"status": 7}]', b"[", b'{"data": NaN}'], ids=str
)
def test_an_alertmanager_that_answers_nonsense_is_unknown(
    body: bytes, incident: str, setting: Set
) -> None:
    with answering(sending(http(200, body))) as port:
        alertmanagers(setting, port)
        seen = check_silences.fn(incident)
    assert seen.health is Health.UNKNOWN
    assert seen.summary.startswith("silences unknown")
