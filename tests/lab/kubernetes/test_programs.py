"""Programs in the simulated pods: real ones, by the official client and over the bare protocol."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from kubernetes.stream.ws_client import WSClient

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY, MISSING
from deployments.lab.kubernetes.pod_programs import postgres_pod, redis_pod
from deployments.lab.kubernetes.programs import Program
from deployments.lab.kubernetes.rbac import Account
from deployments.lab.postgres import SUPERUSER
from deployments.lab.stack import Lab

NAME = "rlhf-audit-trail"


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1], programs={"postgres-pod": Program()}) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.programs.restore()
    return running


def started(
    cluster: Cluster, *command: str, pod: str = "postgres-pod", who: str = "admin", **more: Any
) -> WSClient:
    """A program by the official client, which wants a client of its own for each."""
    found = client.Configuration()
    config.load_kube_config(
        str(cluster.config_file), who, client_configuration=found, persist_config=False
    )
    core = client.CoreV1Api(client.ApiClient(found))
    found_stream: WSClient = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        NAME,
        command=list(command),
        stdout=True,
        stderr=True,
        _preload_content=False,
        **more,
    )
    return found_stream


def ran(cluster: Cluster, *command: str, pod: str = "postgres-pod") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    found = started(cluster, *command, pod=pod)
    found.run_forever(timeout=30)
    try:
        return found.returncode, found.read_stdout(timeout=0), found.read_stderr(timeout=0)
    finally:
        found.sock.shutdown()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_exit_codes_and_both_outputs_come_apart(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("x")

    assert ran(cluster, "ls", str(tmp_path)) == (0, "a b\n", "")
    code, out, complaint = ran(cluster, "ls", "/nowhere")
    assert (code, out) == (2, "")
    assert "No such file" in complaint
    assert ran(cluster, "timeout", "0.1", "sleep", "9")[0] == 124
    assert ran(cluster, "timeout", "-s", "KILL", "0.1", "sleep", "9")[0] == 137


def test_no_shell_reads_the_arguments(cluster: Cluster) -> None:
    words = ["$(reboot)", "; rm -rf /", "a b", "'", "*", "é\n"]

    assert ran(cluster, "printf", r"%s|", *words) == (0, "".join(f"{each}|" for each in words), "")
    assert cluster.programs.commands[-1] == ["printf", "%s|", *words]


def test_a_program_that_is_missing_has_no_exit_code(cluster: Cluster) -> None:
    for pod in ("postgres-pod", "redis-pod"):  # the second has no programs at all
        found = started(cluster, "no-such-program", pod=pod)
        found.run_forever(timeout=30)
        with pytest.raises(ValueError, match="invalid literal"):
            _ = found.returncode
        found.sock.shutdown()


def test_a_program_that_its_client_left_runs_on(cluster: Cluster, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    found = started(cluster, "dd", "if=/dev/zero", f"of={mark}", "bs=1", "count=1")
    found.run_forever(timeout=30)
    found.sock.shutdown()
    slow = started(cluster, "sleep", "1")
    slow.run_forever(timeout=0.1)
    assert slow.returncode is None
    slow.sock.shutdown()

    assert cluster.programs.running() == 1
    eventually(lambda: cluster.programs.running() == 0)
    assert mark.read_bytes() == b"\0"


def test_a_cluster_that_ends_leaves_no_program_behind() -> None:
    with simulated_cluster(releases=HEALTHY[:1], programs={"redis-pod": Program()}) as cluster:
        found = started(cluster, "sleep", "600", pod="redis-pod")
        programs = cluster.programs
        eventually(lambda: programs.running() == 1)
    found.sock.shutdown()

    assert programs.running() == 0


def test_programs_run_at_the_same_time(cluster: Cluster) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(ran(cluster, "sleep", "1")[0]))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    eventually(lambda: cluster.programs.running() == 4)
    for each in threads:
        each.join()

    assert codes == [0] * 4


def test_a_prefix_stands_before_every_command(cluster: Cluster) -> None:
    environment = {"PATH": os.environ["PATH"], "WHERE": "in the pod"}
    cluster.programs.by_pod["postgres-pod"] = Program(environment, ("env", "MORE=1"))

    assert ran(cluster, "printenv", "WHERE", "MORE") == (0, "in the pod\n1\n", "")
    assert ran(cluster, "printenv", "HOME") == (1, "", "")


def refused(cluster: Cluster, *command: str, **more: Any) -> str:
    with pytest.raises(ApiException) as raised:
        started(cluster, *command, **more)
    assert raised.value.status == 0  # of a failed handshake; the code stands in the text alone
    return str(raised.value.reason)


def test_a_handshake_is_refused_for_what_cannot_run(cluster: Cluster) -> None:
    assert "404" in refused(cluster, "true", pod="nope")
    assert "400" in refused(cluster, "true", container="nope")
    cluster.image_is_missing(MISSING)
    containers = [{"name": "main", "image": MISSING, "imagePullPolicy": "Never"}]
    cluster.add("pods", {"metadata": {"name": "lost"}, "spec": {"containers": containers}})
    cluster.advance(5)
    assert "500" in refused(cluster, "true", pod="lost")
    cluster.grant("remediate", Account("nobody"))
    assert "403" in refused(cluster, "true", who="remediate")


def test_only_the_two_pods_may_be_entered_to_look(cluster: Cluster) -> None:
    api = cluster.pods(NAME)[0]["metadata"]["name"]

    assert "403" in refused(cluster, "true", pod=api, who="diagnose")
    found = started(cluster, "true", who="diagnose")
    found.run_forever(timeout=30)
    assert found.returncode == 0
    found.sock.shutdown()


@pytest.mark.components
def test_the_runbooks_questions_really_reach_postgresql_and_valkey(
    cluster: Cluster, patient: Lab, tmp_path: Path
) -> None:
    database, cache = patient.patient, patient.cache
    cluster.programs.by_pod |= {
        "postgres-pod": postgres_pod(database.port, database.passwords[SUPERUSER]),
        "redis-pod": redis_pod(tmp_path, cache.port, cache.password),
    }

    ready = f"127.0.0.1:{database.port} - accepting connections\n"
    assert ran(cluster, "pg_isready") == (0, ready, "")
    assert ran(cluster, "psql", "-Atc", "SELECT 6 * 7") == (0, "42\n", "")
    assert ran(cluster, "redis-cli", "ping", pod="redis-pod") == (0, "PONG\n", "")
    wrong = redis_pod(tmp_path, cache.port, "wrong")
    cluster.programs.by_pod["redis-pod"] = wrong
    assert "NOAUTH" in ran(cluster, "redis-cli", "ping", pod="redis-pod")[1]


def test_the_runbooks_questions_are_answered_by_nobody_when_nobody_is_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        cluster.programs.by_pod |= {
            "postgres-pod": postgres_pod(port),
            "redis-pod": redis_pod(tmp_path, port),
        }

        asked = ran(cluster, "pg_isready", "-t", "3")
        pinged = ran(cluster, "redis-cli", "ping", pod="redis-pod")

    assert asked == (2, f"127.0.0.1:{port} - no response\n", "")
    assert pinged[:2] == (1, "")
    assert "Connection refused" in pinged[2]
