"""StatefulSets, disruption budgets, autoscalers and volumes of the simulated cluster."""

from typing import Any

import httpx
import pytest

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.manifests import BUSYBOX, MISSING, container

HERE = "namespaces/rlhf-audit-trail"
NAME = "rlhf-audit-trail"
MERGE = {"Content-Type": "application/merge-patch+json"}


def stateful(replicas: int = 3) -> Any:
    labels = {"app": "postgresql"}
    return {
        "metadata": {"name": "postgresql"},
        "spec": {
            "serviceName": "postgresql",
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container("main", BUSYBOX)]},
            },
        },
    }


def image(name: str) -> Any:
    containers = [{"name": "main", "image": name}]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def images(cluster: Cluster) -> dict[str, str]:
    return {
        each["metadata"]["name"]: each["spec"]["containers"][0]["image"]
        for each in cluster.pods("postgresql")
    }


def test_a_stateful_set_makes_its_pods_in_order_each_when_the_last_is_ready(
    cluster: Cluster,
) -> None:
    cluster.add("statefulsets", stateful())
    seen = []
    for _ in range(8):
        seen.append(sorted(images(cluster)))
        cluster.advance(1)

    names = ["postgresql-0", "postgresql-1", "postgresql-2"]
    assert seen[:6] == [names[:1], names[:1], names[:2], names[:2], names, names]
    status = cluster.get("statefulsets", "postgresql")["status"]
    assert status["readyReplicas"] == status["currentReplicas"] == 3
    assert status["currentRevision"] == status["updateRevision"]


def test_a_stateful_set_rolls_from_the_last_pod_and_stops_at_a_bad_one(cluster: Cluster) -> None:
    cluster.add("statefulsets", stateful())
    cluster.advance(20)

    cluster.change("statefulsets", "postgresql", image(MISSING))
    cluster.advance(60)

    good, bad = BUSYBOX, MISSING
    assert images(cluster) == {"postgresql-0": good, "postgresql-1": good, "postgresql-2": bad}
    status = cluster.get("statefulsets", "postgresql")["status"]
    assert (status["updatedReplicas"], status["readyReplicas"]) == (1, 2)
    assert status["currentRevision"] != status["updateRevision"]
    revisions = cluster.items("controllerrevisions")
    assert sorted(each["revision"] for each in revisions) == [1, 2]


def test_a_stateful_set_goes_back_with_a_new_number_for_the_old_revision(cluster: Cluster) -> None:
    cluster.add("statefulsets", stateful())
    cluster.advance(20)
    first = cluster.get("statefulsets", "postgresql")["status"]["currentRevision"]
    cluster.change("statefulsets", "postgresql", image(MISSING))
    cluster.advance(20)

    cluster.change("statefulsets", "postgresql", image(BUSYBOX))
    cluster.delete("pods", "postgresql-2")  # a pod that never was ready is not replaced by itself
    cluster.advance(60)

    status = cluster.get("statefulsets", "postgresql")["status"]
    assert status["currentRevision"] == status["updateRevision"] == first
    assert status["readyReplicas"] == 3
    numbers = {
        each["metadata"]["name"]: each["revision"] for each in cluster.items("controllerrevisions")
    }
    assert numbers[first] == 3


def test_a_stateful_set_shrinks_from_its_end(cluster: Cluster) -> None:
    cluster.add("statefulsets", stateful())
    cluster.advance(20)

    cluster.change("statefulsets", "postgresql", {"spec": {"replicas": 1}})
    cluster.advance(20)

    assert sorted(images(cluster)) == ["postgresql-0"]


def budget(**spec: Any) -> Any:
    selector = {"matchLabels": {"app": NAME}}
    return {"metadata": {"name": "api"}, "spec": {"selector": selector, **spec}}


def evict(admin: httpx.Client, name: str, **options: Any) -> httpx.Response:
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name},
        "deleteOptions": options,
    }
    return admin.post(f"/api/v1/{HERE}/pods/{name}/eviction", json=body)


def test_evictions_keep_to_the_disruption_budget(cluster: Cluster, admin: httpx.Client) -> None:
    cluster.add("poddisruptionbudgets", budget(minAvailable=2))
    names = [each["metadata"]["name"] for each in cluster.pods(NAME)]

    assert evict(admin, names[0], dryRun=["All"]).status_code == 201
    first = evict(admin, names[0])
    second = evict(admin, names[1])

    assert (first.status_code, first.json()["status"]) == (201, "Success")
    assert second.status_code == 429
    assert second.json()["reason"] == "TooManyRequests"
    cause = second.json()["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    text = "The disruption budget api needs 2 healthy pods and has 2 currently"
    assert cause["message"] == text
    cluster.advance(10)
    assert evict(admin, names[1]).status_code == 201


@pytest.mark.parametrize(
    ("policy", "status"), [({}, 429), ({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, 201)]
)
def test_of_too_few_that_are_ready_not_even_the_others_may_go_unless_the_budget_says_so(
    cluster: Cluster, admin: httpx.Client, policy: dict[str, str], status: int
) -> None:
    cluster.add("poddisruptionbudgets", budget(minAvailable=2, **policy))
    names = [each["metadata"]["name"] for each in cluster.pods(NAME)]
    cluster.not_ready(names[0])
    cluster.advance(5)
    assert evict(admin, names[0], dryRun=["All"]).status_code == 201  # the others suffice
    cluster.not_ready(names[1])
    cluster.advance(5)
    assert evict(admin, names[0]).status_code == status


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"maxUnavailable": 1}, 1),
        ({"maxUnavailable": "34%"}, 2),
        ({"minAvailable": "100%"}, 0),
        ({"minAvailable": 5}, 0),
    ],
)
def test_a_budget_says_how_many_pods_may_go(cluster: Cluster, spec: Any, allowed: int) -> None:
    cluster.add("poddisruptionbudgets", budget(**spec))
    cluster.advance(1)

    status = cluster.get("poddisruptionbudgets", "api")["status"]

    assert status["disruptionsAllowed"] == allowed
    assert (status["currentHealthy"], status["expectedPods"]) == (3, 3)


def autoscaler(least: int, most: int, percent: int | None = None) -> Any:
    metrics = [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        }
    ]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most}
    return {"metadata": {"name": NAME}, "spec": spec | ({"metrics": metrics} if percent else {})}


def test_an_autoscaler_takes_back_what_is_scaled_past_it_and_heeds_its_minimum(
    cluster: Cluster, admin: httpx.Client
) -> None:
    cluster.add("horizontalpodautoscalers", autoscaler(2, 3))
    path = f"/apis/apps/v1/{HERE}/deployments/{NAME}/scale"
    admin.patch(path, json={"spec": {"replicas": 6}}, headers=MERGE).raise_for_status()
    cluster.advance(20)
    assert cluster.get("deployments", NAME)["spec"]["replicas"] == 3

    bounds = {"spec": {"minReplicas": 5, "maxReplicas": 6}}
    cluster.change("horizontalpodautoscalers", NAME, bounds)
    cluster.advance(20)

    assert cluster.get("deployments", NAME)["spec"]["replicas"] == 5


def test_an_autoscaler_follows_the_load(cluster: Cluster) -> None:
    cluster.uses(NAME, cpu="10m", memory="16Mi")  # all that is requested: 100 %
    cluster.add("horizontalpodautoscalers", autoscaler(1, 10, 50))

    cluster.advance(10)

    assert cluster.get("deployments", NAME)["spec"]["replicas"] == 6
    status = cluster.get("horizontalpodautoscalers", NAME)["status"]
    assert status["desiredReplicas"] == 6
    assert status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 100}


def claim(name: str, storage_class: str) -> Any:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": name}, "spec": spec}


def test_a_volume_grows_where_its_class_allows_and_never_shrinks(
    cluster: Cluster, admin: httpx.Client
) -> None:
    for name, grows in (("fast", True), ("fixed", False)):
        cluster.add("storageclasses", {"metadata": {"name": name}, "allowVolumeExpansion": grows})
        cluster.add("persistentvolumeclaims", claim(f"data-{name}", name))

    def resize(name: str, size: str) -> httpx.Response:
        path = f"/api/v1/{HERE}/persistentvolumeclaims/{name}"
        patch = {"spec": {"resources": {"requests": {"storage": size}}}}
        return admin.patch(path, json=patch, headers=MERGE)

    assert resize("data-fast", "2Gi").status_code == 200
    grown = cluster.get("persistentvolumeclaims", "data-fast")["status"]
    assert grown["capacity"] == {"storage": "2Gi"}
    shrunk = resize("data-fast", "1Gi")
    assert (shrunk.status_code, shrunk.json()["reason"]) == (422, "Invalid")
    fixed = resize("data-fixed", "2Gi")
    assert (fixed.status_code, fixed.json()["reason"]) == (403, "Forbidden")
    assert "storageclass that provisions the pvc must support resize" in fixed.json()["message"]
