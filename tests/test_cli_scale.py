"""`runbook scale` and `runbook emergency`: what is shown of a cluster, and that nothing changes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deployments.cli import cli
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY

pytestmark = pytest.mark.components

API, WORKERS = "rlhf-audit-trail", "celery-workers"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1]) as running:
        monkeypatch.setenv("RUNBOOK_KUBERNETES__CONFIG_FILE", str(running.config_file))
        monkeypatch.setenv("RUNBOOK_KUBERNETES__CONTEXT", "diagnose")
        monkeypatch.setenv("RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT", "remediate")
        yield running


def ran(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def written(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    file = tmp_path / "out.json"
    result = ran(*words, "--json", str(file))
    return result.exit_code, json.loads(file.read_text(encoding="utf-8"))


def versions(cluster: Cluster) -> list[str]:
    return [
        cluster.get("deployments", name)["metadata"]["resourceVersion"] for name in (API, WORKERS)
    ]


def test_each_bound_is_shown_with_its_reason_and_nothing_is_changed(
    cluster: Cluster, tmp_path: Path
) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"pods": "9"}}}
    cluster.add("resourcequotas", quota)
    before = versions(cluster)
    code, found = written(tmp_path, "scale", "--workers", "9")
    assert code == 0
    assert found["workers"]["replicas"] == 1
    assert any(line.endswith("the quota team") for line in found["workers"]["bounds"])
    assert any(line == "10: our policy" for line in found["api"]["bounds"])
    assert found["workers"]["would"].startswith("scale deployment/celery-workers from 1 to 3")
    assert "because of our policy's step" in found["workers"]["would"]
    assert found["api"]["would"] == ""
    shown = ran("scale").output
    assert "the room on the nodes" in shown
    assert "looked at, nothing changed" in shown
    assert versions(cluster) == before


def test_a_number_that_no_bound_allows_is_a_no_with_its_reason(
    cluster: Cluster, tmp_path: Path
) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": API}
    spec = {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 3}
    cluster.add("horizontalpodautoscalers", {"metadata": {"name": API}, "spec": spec})
    code, found = written(tmp_path, "scale", "--api", "5")
    assert code == 1
    assert "maximum of the autoscaler" in found["api"]["would"]


def test_without_a_cluster_it_could_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_KUBERNETES__CONFIG_FILE", "/nowhere/config")
    result = ran("scale")
    assert result.exit_code != 0
    assert "RUNBOOK_KUBERNETES__CONFIG_FILE" in str(result.exception)


def test_a_shutdown_is_shown_part_by_part_and_nothing_is_changed(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = versions(cluster)
    code, found = written(tmp_path, "emergency", "shut-down")
    assert code == 0
    assert [step["step"] for step in found["plan"]["steps"]] == [
        "emergency.stop.workers",
        "emergency.stop.api",
        "emergency.stop.privacy-engine",
    ]
    assert found["plan"]["approvers_needed"] == 2
    assert any("StatefulSet postgresql is not there" in line for line in found["dry_run"])
    assert versions(cluster) == before


@pytest.mark.parametrize(
    "words", [("scale", "--ask"), ("scale", "--api", "0"), ("emergency", "shut-down", "--ask"),
              ("emergency", "explode")],
)  # fmt: skip
def test_what_lacks_a_number_or_a_reason_is_asked_of_nobody(words: tuple[str, ...]) -> None:
    assert ran(*words).exit_code == 2
