"""Every recorded body of a real API server is what the simulated one answers in the same state."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import RECORDED
from tests.lab.kubernetes.conftest import client_of
from tests.lab.kubernetes.recordings import (
    BODIES,
    RECORDED_HASHES,
    comparable,
    hashes_of,
    recorded,
)

HERE = "namespaces/rlhf-audit-trail"
API = f"/apis/apps/v1/{HERE}/deployments/rlhf-audit-trail"
SETS = f"/apis/apps/v1/{HERE}/replicasets?labelSelector=app%3Drlhf-audit-trail"
FAILED = {
    "03-deployment-deadline-exceeded.json": API,
    "04-replicasets-three-revisions.json": SETS,
    "05-pods-with-image-error.json": f"/api/v1/{HERE}/pods?labelSelector=app%3Drlhf-audit-trail",
    "06-events.json": f"/api/v1/{HERE}/events",
    "07-controllerrevisions.json": f"/apis/apps/v1/{HERE}/controllerrevisions",
    "08-pods-all.json": f"/api/v1/{HERE}/pods",
    "09-pod-metrics.json": f"/apis/metrics.k8s.io/v1beta1/{HERE}/pods",
    "10-node-metrics.json": "/apis/metrics.k8s.io/v1beta1/nodes",
    "11-scale.json": f"{API}/scale",
}
UNDONE = {"13-deployment-after-undo.json": API, "14-replicasets-after-undo.json": SETS}
REQUESTS = (
    "not-found",
    "stale-resource-version",
    "jsonpatch-stale-rv",
    "jsonpatch-test-failed",
    "invalid-replicas",
    "scale-dry-run",
    "scale",
    "restart",
    "networkpolicy-create",
    "networkpolicy-already-exists",
    "networkpolicy-delete",
    "log-container-missing-pod",
    "log-no-previous",
    "metrics-absent-group",
    "pods-paged",
)
"""In the order in which they were made."""


def same(cluster: Cluster, ours: Any, name: str, theirs: Any = None) -> None:
    theirs = recorded(name) if theirs is None else theirs
    assert comparable(ours, hashes_of(cluster)) == comparable(theirs, RECORDED_HASHES)


@pytest.fixture(scope="module")
def failed() -> Iterator[tuple[Cluster, httpx.Client]]:
    """The third release ran into its deadline."""
    releases = (*RECORDED[:2], replace(RECORDED[2], lasts=22.0))
    with simulated_cluster(releases=releases) as cluster, client_of(cluster) as client:
        yield cluster, client


@pytest.fixture(scope="module")
def undone() -> Iterator[tuple[Cluster, httpx.Client]]:
    """And was undone."""
    with simulated_cluster(releases=RECORDED) as cluster, client_of(cluster) as client:
        sets = client.get(SETS).json()["items"]
        good = next(
            each
            for each in sets
            if each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        )
        template = good["spec"]["template"]
        del template["metadata"]["labels"]["pod-template-hash"]
        patch = [{"op": "replace", "path": "/spec/template", "value": template}]
        headers = {"Content-Type": "application/json-patch+json"}
        client.patch(API, content=json.dumps(patch), headers=headers).raise_for_status()
        cluster.advance(5)
        yield cluster, client


def test_three_healthy_deployments() -> None:
    first = replace(RECORDED[0], lasts=10.0)
    with simulated_cluster(releases=(first,)) as cluster, client_of(cluster) as client:
        ours = client.get(f"/apis/apps/v1/{HERE}/deployments").json()

        same(cluster, ours, "01-deployments-healthy.json")


def test_a_rollout_in_progress() -> None:
    releases = (*RECORDED[:2], replace(RECORDED[2], lasts=1.0))
    with simulated_cluster(releases=releases) as cluster, client_of(cluster) as client:
        same(cluster, client.get(API).json(), "02-deployment-rollout-progressing.json")


@pytest.mark.parametrize("name", FAILED)
def test_a_release_with_a_missing_image(failed: tuple[Cluster, httpx.Client], name: str) -> None:
    cluster, client = failed

    same(cluster, client.get(FAILED[name]).json(), name)


def test_a_pod_log(failed: tuple[Cluster, httpx.Client]) -> None:
    cluster, client = failed
    pods = cluster.pods("rlhf-audit-trail")
    name = next(each["metadata"]["name"] for each in pods if each["status"]["phase"] == "Running")

    log = client.get(f"/api/v1/{HERE}/pods/{name}/log").text

    assert log == (BODIES / "12-pod-log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", UNDONE)
def test_after_an_undo(undone: tuple[Cluster, httpx.Client], name: str) -> None:
    cluster, client = undone

    same(cluster, client.get(UNDONE[name]).json(), name)


def test_requests_and_their_answers_one_after_the_other(
    undone: tuple[Cluster, httpx.Client],
) -> None:
    cluster, client = undone
    for each in REQUESTS:
        record = recorded(f"20-{each}.json")
        asked = record["request"]
        content = None if asked["body"] is None else json.dumps(asked["body"])
        headers = {"Content-Type": asked["content_type"], "User-Agent": "Python-urllib/3.11"}

        answer = client.request(asked["method"], asked["path"], content=content, headers=headers)

        is_text = isinstance(record["body"], str)
        body = answer.text if is_text else answer.json()
        assert answer.status_code == record["status"], each
        same(cluster, body, each, record["body"])


def test_nothing_that_was_recorded_is_left_out() -> None:
    alone = {
        "01-deployments-healthy.json",
        "02-deployment-rollout-progressing.json",
        "12-pod-log.txt",
    }
    played = alone | set(FAILED) | set(UNDONE) | {f"20-{each}.json" for each in REQUESTS}

    assert played == {each.name for each in BODIES.iterdir()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"readyReplicas": 3', '"readyReplicas": 2'),
        ('/revision": "2"', '/revision": "1"'),
        ('bf7d6d4f7"', 'd67b64c67"'),
        ('"observedGeneration": 3', '"generationObserved": 3'),
        ("release 1.5.0", "release 1.6.0"),
    ],
)
def test_the_comparison_sees_what_matters(old: str, new: str) -> None:
    theirs = recorded("04-replicasets-three-revisions.json")
    text = json.dumps(theirs)
    other = json.loads(text.replace(old, new, 1))

    assert other != theirs
    assert comparable(other, RECORDED_HASHES) != comparable(theirs, RECORDED_HASHES)


@pytest.mark.parametrize(
    "name", ["02-deployment-rollout-progressing.json", "13-deployment-after-undo.json"]
)
def test_who_wrote_is_told_as_the_real_server_tells_it(
    undone: tuple[Cluster, httpx.Client], name: str
) -> None:
    """But for the undo, which was kubectl's there and is the test's here."""
    cluster, _ = undone
    found = cluster.get("deployments", "rlhf-audit-trail")["metadata"]["managedFields"]

    def writers(entries: list[Any]) -> set[tuple[str, str]]:
        found = {(each["manager"], each.get("subresource", "")) for each in entries}
        return {each for each in found if each[0] not in {"kubectl.1.33", "tests", "Python-urllib"}}

    assert writers(found) == writers(recorded(name)["metadata"]["managedFields"])
