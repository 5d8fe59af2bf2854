"""What keeps the tests away from everybody's real cluster, and tidy in the one that was named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deployments.lab.environment import PROJECT
from deployments.lab.kubernetes.rbac import accounts_of
from tests.clients.api_replies import Asked, Replies, Reply, replying
from tests.cluster.objects import LABEL, inhabitants, roles
from tests.cluster.options import DANGEROUS, Images, RealCluster, choose, real_cluster
from tests.cluster.systems import real_system

IMAGES = Images("busybox:1", "postgres:15", "redis:7", "IfNotPresent")


def test_what_a_shell_knows_of_real_systems_is_gone_before_any_test(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [name for name in os.environ if name.startswith(("KUBECONFIG", "AWS_", "PG"))]
    for name in ("KUBECONFIG", "AWS_PROFILE", "PGHOST", "PREFECT_API_URL"):
        monkeypatch.setenv(name, "somebody's")
    choose(request.config)
    assert not [name for name in os.environ if name.startswith(DANGEROUS)]


def test_no_test_leaves_loopback_unless_a_cluster_was_named(
    request: pytest.FixtureRequest,
) -> None:
    if real_cluster(request.config) is not None:
        pytest.skip("a real cluster was named")
    with pytest.raises(UserWarning, match=r"192\.0\.2\.1"):  # warnings are errors here
        httpx.get("https://192.0.2.1/", trust_env=False, timeout=2)


@pytest.mark.slow
def test_a_context_without_images_ends_before_any_test() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--cluster-context", "prod", "tests/cluster"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--cluster-image-web" in done.stderr


def test_our_roles_keep_their_names_of_workloads_and_change_their_namespace(
    tmp_path: Path,
) -> None:
    found = list(roles("runbook-test-1"))
    for each in found:
        assert each["metadata"]["labels"] == {LABEL: "runbook-test-1"}
        assert each["metadata"].get("namespace") == "runbook-test-1" or (
            each["kind"] in {"ClusterRole", "ClusterRoleBinding"}
            and each["metadata"]["name"].endswith("-runbook-test-1")
        )
    file = tmp_path / "roles.yaml"
    file.write_text(yaml.safe_dump_all(found), encoding="utf-8")
    mender = accounts_of(file)["runbook-remediate"]
    patch = ("patch", "apps", "deployments")
    assert mender.allows(*patch, "runbook-test-1", "rlhf-audit-trail")
    assert not mender.allows(*patch, "rlhf-audit-trail", "rlhf-audit-trail")
    assert accounts_of(file)["runbook-diagnose"].allows("list", "", "nodes", "", "")


def test_the_images_that_were_named_are_the_only_ones() -> None:
    made = inhabitants("runbook-test-1", IMAGES)
    assert {each["metadata"]["namespace"] for each in made} == {"runbook-test-1"}
    containers = [
        container
        for each in made
        for container in each["spec"].get("template", each)["spec"]["containers"]
    ]
    assert {each["image"] for each in containers} == {"busybox:1", "postgres:15", "redis:7"}
    assert {each["imagePullPolicy"] for each in containers} == {"IfNotPresent"}


class Kept:
    """Objects of an API server that takes whatever it is told."""

    def __init__(self, server: Replies) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        server.answer = self.answer

    def answer(self, asked: Asked) -> Reply:
        if asked.method == "POST" and asked.path.endswith("/token"):
            return 201, {"status": {"token": "t"}}
        if asked.method == "POST":
            name = f"{asked.path}/{asked.body['metadata']['name']}"
            known = self.objects.setdefault(name, asked.body)
            return (201 if known is asked.body else 409), known
        if asked.path not in self.objects:
            return 404, {}
        if asked.method == "DELETE":
            self.objects.pop(asked.path)
            if asked.path.startswith("/api/v1/namespaces/") and asked.path.count("/") == 4:
                inside = [each for each in self.objects if each.startswith(asked.path + "/")]
                inside += [each for each in self.objects if f"{asked.path[7:]}/" in each]
                for each in set(inside):
                    self.objects.pop(each)
            return 200, {}
        return 200, self.objects[asked.path]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Replies]:
    with replying(tls=tmp_path) as running:
        yield running


def named(server: Replies, directory: Path) -> RealCluster:
    file = server.settings(directory).config_file
    assert file is not None
    return RealCluster(file, "look", IMAGES)


def test_everything_is_made_in_a_namespace_of_our_own_and_removed(
    server: Replies, tmp_path: Path
) -> None:
    kept = Kept(server)
    with real_system(named(server, tmp_path), tmp_path) as system:
        made = dict(kept.objects)
        assert system.config_file.stat().st_mode & 0o077 == 0
        assert system.looker.namespace == system.namespace
    assert system.namespace.startswith("runbook-test-")
    assert len(made) > 10
    assert all(system.namespace in path for path in made)
    assert kept.objects == {}


def test_what_was_made_is_removed_when_the_making_fails(server: Replies, tmp_path: Path) -> None:
    kept = Kept(server)
    take = kept.answer
    server.answer = lambda asked: (403, {}) if asked.path.endswith("/token") else take(asked)
    with (
        pytest.raises(AssertionError, match="/token: 403"),
        real_system(named(server, tmp_path), tmp_path),
    ):
        pytest.fail("there is no system without tokens")
    assert kept.objects == {}


def test_a_namespace_that_is_not_ours_any_more_stays(server: Replies, tmp_path: Path) -> None:
    kept = Kept(server)

    def taken_over() -> None:
        with real_system(named(server, tmp_path), tmp_path) as system:
            place = f"/api/v1/namespaces/{system.namespace}"
            kept.objects[place]["metadata"]["labels"] = {}

    with pytest.raises(AssertionError, match="is not ours any more"):
        taken_over()
    assert any(path.startswith("/api/v1/namespaces/runbook-test-") for path in kept.objects)
    assert not any("clusterrole" in path for path in kept.objects)
