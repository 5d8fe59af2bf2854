"""`df` in the pod: the real program, and whatever else a container may print."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.kubernetes.programs import Program
from tasks.clients.errors import Malformed, NotFound
from tasks.clients.pod_disk import FileSystem, file_system
from tasks.clients.pod_exec import CommandFailed, Pod
from tasks.sections.systems import KubernetesSettings

POD = Pod("rlhf-audit-trail", "postgres-pod")
HEAD = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1], programs={"postgres-pod": Program()}) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> KubernetesSettings:
    running.programs.restore()
    return KubernetesSettings(config_file=running.config_file, context="admin", timeout_seconds=10)


def prints(running: Cluster, directory: Path, text: str) -> None:
    """A container whose `df` prints this."""
    (directory / "said").write_text(text, encoding="utf-8")
    program = directory / "df"
    program.write_text(f"#!/bin/sh\nexec cat '{directory}/said'\n", encoding="utf-8")
    program.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    running.programs.by_pod["postgres-pod"] = Program({"PATH": path, "LC_ALL": "C"})


def test_the_real_program_says_what_the_system_says(
    cluster: KubernetesSettings, running: Cluster, tmp_path: Path
) -> None:
    found = file_system(cluster, POD, str(tmp_path))
    known = os.statvfs(tmp_path)
    assert found.free == pytest.approx(known.f_bavail * known.f_frsize, rel=0.05)
    assert found.used > 0
    assert running.programs.commands == [["df", "-P", "-k", "--", str(tmp_path)]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/dev/sda1 1000 400 500 45% /data", FileSystem(400 * 1024, 500 * 1024)),
        ("//nas/a share b 1000 400 0 100% /my data", FileSystem(400 * 1024, 0)),
    ],
)
def test_names_with_spaces_do_not_move_the_numbers(
    cluster: KubernetesSettings,
    running: Cluster,
    tmp_path: Path,
    line: str,
    expected: FileSystem,
) -> None:
    prints(running, tmp_path, HEAD + line + "\n")
    assert file_system(cluster, POD, "/data") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        "no file system\nat all\n",
        HEAD + "/dev/sda1 1000 -400 500 45% /data\n",
        HEAD + "/dev/sda1 NaN 400 500 45% /data\n",
        HEAD + "/dev/sda1 1000 400 99999999999999999999 45% /data\n",
        HEAD + "/dev/sda1 1000 ٤٠٠ 500 45% /data\n",
        HEAD + "45%\n",
        "x" * 100_000,
    ],
)
def test_nonsense_is_malformed(
    cluster: KubernetesSettings, running: Cluster, tmp_path: Path, text: str
) -> None:
    prints(running, tmp_path, text)
    with pytest.raises(Malformed):
        file_system(cluster, POD, "/data")


def test_a_directory_or_a_pod_that_is_not_there_is_said(cluster: KubernetesSettings) -> None:
    with pytest.raises(CommandFailed, match="df"):
        file_system(cluster, POD, "/no/such/directory")
    with pytest.raises(NotFound):
        file_system(cluster, Pod("rlhf-audit-trail", "another-pod"), "/")


def test_a_directory_like_an_option_stays_a_directory(cluster: KubernetesSettings) -> None:
    with pytest.raises(CommandFailed):
        file_system(cluster, POD, "--help")
