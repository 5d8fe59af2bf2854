"""`pg_isready` and `redis-cli ping` in simulated pods: real programs, and what they may say."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.kubernetes.pod_programs import postgres_pod, redis_pod
from deployments.lab.kubernetes.programs import Program
from tasks.clients.pod_answers import postgres_says, redis_says
from tasks.clients.pod_exec import Pod
from tasks.domain.inside import Answer, Inside
from tasks.sections.systems import KubernetesSettings
from tests.clients.loopback import answering

NAMESPACE = "rlhf-audit-trail"
POSTGRES, REDIS = Pod(NAMESPACE, "postgres-pod"), Pod(NAMESPACE, "redis-pod")
NOBODY = 9  # a port on which nothing listens


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    programs = {"postgres-pod": Program(), "redis-pod": Program()}
    with simulated_cluster(releases=HEALTHY[:1], programs=programs) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.programs.restore()
    return running


def settings_of(cluster: Cluster, context: str = "diagnose") -> KubernetesSettings:
    return KubernetesSettings(config_file=cluster.config_file, context=context)


@pytest.fixture
def playing(cluster: Cluster, tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a program of the test's own into both pods."""

    def play(program: str, script: str) -> None:
        file = tmp_path / program
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        for pod in ("postgres-pod", "redis-pod"):
            cluster.programs.by_pod[pod] = Program(environment)

    return play


def test_the_real_pg_isready_finds_nobody(cluster: Cluster) -> None:
    cluster.programs.by_pod["postgres-pod"] = postgres_pod(NOBODY)
    assert postgres_says(settings_of(cluster), POSTGRES, 5.0) == Inside(
        Answer.SILENT, "pg_isready: no response"
    )
    assert cluster.programs.commands[-1] == ["timeout", "4", "pg_isready", "-t", "4"]


def test_redis_cli_finds_nobody(cluster: Cluster, tmp_path: Path) -> None:
    cluster.programs.by_pod["redis-pod"] = redis_pod(tmp_path / "bin", NOBODY)
    found = redis_says(settings_of(cluster), REDIS, 5.0)
    assert found.answer is Answer.SILENT
    assert "Could not connect to Redis" in found.text
    assert cluster.programs.commands[-1] == ["timeout", "4", "redis-cli", "ping"]


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo /tmp:5432 - accepting connections", Answer.READY),
        ("echo /tmp:5432 - rejecting connections; exit 1", Answer.BUSY),
        ("exit 2", Answer.SILENT),
        ("echo pg_isready: invalid option >&2; exit 3", Answer.UNKNOWN),
        ("exit 124", Answer.SILENT),
    ],
)
def test_every_exit_code_of_pg_isready_is_understood(
    script: str, answer: Answer, cluster: Cluster, playing: Callable[[str, str], None]
) -> None:
    playing("pg_isready", script)
    assert postgres_says(settings_of(cluster), POSTGRES, 5.0).answer is answer


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo PONG", Answer.READY),
        ("echo NOAUTH Authentication required.", Answer.READY),
        ("echo LOADING Redis is loading the dataset in memory", Answer.BUSY),
        ("echo MASTERDOWN Link with MASTER is down", Answer.BUSY),
        ("true", Answer.BUSY),
        ("exit 124", Answer.SILENT),
        ("echo who knows >&2; exit 5", Answer.UNKNOWN),
    ],
)
def test_every_answer_of_redis_is_understood(
    script: str, answer: Answer, cluster: Cluster, playing: Callable[[str, str], None]
) -> None:
    playing("redis-cli", script)
    assert redis_says(settings_of(cluster), REDIS, 5.0).answer is answer


def test_what_a_pod_says_is_printable_and_bounded(
    cluster: Cluster, playing: Callable[[str, str], None]
) -> None:
    playing("redis-cli", "printf '\\033[31mPO\\000NG\\n\\n'; yes x | head -c 9000")
    found = redis_says(settings_of(cluster), REDIS, 5.0)
    assert found.text.isprintable()
    assert len(found.text) < 300


def test_a_pod_without_the_program_is_unknown_and_not_failed(cluster: Cluster) -> None:
    cluster.programs.by_pod["redis-pod"] = Program({"PATH": "/nowhere"})
    assert redis_says(settings_of(cluster), REDIS, 5.0).answer is Answer.UNKNOWN


def test_who_may_not_run_programs_hears_which_grant_is_missing(cluster: Cluster) -> None:
    found = postgres_says(settings_of(cluster, "remediate"), POSTGRES, 5.0)
    assert found.answer is Answer.UNKNOWN
    assert "pods/exec" in found.text


def test_a_pod_that_is_not_there_is_unknown(cluster: Cluster) -> None:
    found = postgres_says(settings_of(cluster), Pod(NAMESPACE, "postgresql-0"), 5.0)
    assert found.answer is Answer.UNKNOWN


def test_a_program_that_hangs_is_ended_in_the_pod_too(
    cluster: Cluster, playing: Callable[[str, str], None]
) -> None:
    playing("redis-cli", "exec sleep 60")
    found = redis_says(settings_of(cluster), REDIS, 2.0)
    assert found.answer is Answer.SILENT
    until = time.monotonic() + 10
    while cluster.programs.running():
        assert time.monotonic() < until, "the program goes on"
        time.sleep(0.05)


def test_an_api_server_that_hangs_is_left_at_the_time_out(cluster: Cluster, tmp_path: Path) -> None:
    with answering(lambda _: time.sleep(3.5)) as port:
        file = cluster.kubeconfig(tmp_path / "kubeconfig", server=f"http://127.0.0.1:{port}")
        began = time.monotonic()
        found = postgres_says(
            KubernetesSettings(config_file=file, context="diagnose"), POSTGRES, 1.0
        )
        assert time.monotonic() - began < 3.4
    assert found.answer is Answer.UNKNOWN
