"""Pods of the simulated cluster with every fault that can be set, and what can be read of them."""

from typing import Any

import httpx
import pytest

from deployments.lab.kubernetes import manifests
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import BUSYBOX, HEALTHY, MISSING

HERE = "/api/v1/namespaces/rlhf-audit-trail"
NAME = "rlhf-audit-trail"


def status_of(cluster: Cluster, who: str) -> Any:
    """Of the first container of the first such pod."""
    return cluster.pods(who)[0]["status"]["containerStatuses"][0]


def reasons(cluster: Cluster) -> set[str]:
    return {each["reason"] for each in cluster.items("events")}


def log(admin: httpx.Client, cluster: Cluster, who: str, **parameters: Any) -> httpx.Response:
    name = cluster.pods(who)[0]["metadata"]["name"]
    return admin.get(f"{HERE}/pods/{name}/log", params=parameters)


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


def test_a_crash_loop_waits_longer_each_time_and_keeps_its_last_words(
    cluster: Cluster, admin: httpx.Client
) -> None:
    cluster.crash_loop("celery-workers", after=2, code=3, last_words=("cannot reach redis",))

    restarts = []
    for _ in range(10):
        restarts.append(status_of(cluster, "celery-workers")["restartCount"])
        cluster.advance(10)

    status = status_of(cluster, "celery-workers")
    name = cluster.pods("celery-workers")[0]["metadata"]["name"]
    assert restarts == [1, 1, 2, 2, 3, 3, 3, 3, 4, 4]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (
        f"restarting failed container=worker pod={name}_" in status["state"]["waiting"]["message"]
    )
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert "BackOff" in reasons(cluster)
    expected = "celery ready\ncannot reach redis\n"
    assert log(admin, cluster, "celery-workers", previous="true").text == expected
    assert log(admin, cluster, "celery-workers").text == expected

    cluster.recover("celery-workers")
    cluster.advance(300)
    healed = status_of(cluster, "celery-workers")
    assert healed["ready"]
    assert healed["lastState"]["terminated"]["exitCode"] == 3
    assert log(admin, cluster, "celery-workers").text == "celery ready\n"


def test_a_container_killed_for_its_memory_once_runs_on_and_tells(cluster: Cluster) -> None:
    cluster.kill_for_memory("privacy-engine", after=1, once=True)

    cluster.advance(30)

    status = status_of(cluster, "privacy-engine")
    assert status["ready"]
    assert status["restartCount"] == 1
    ended = status["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_pods_that_are_not_ready_take_the_deployment_below_its_minimum(cluster: Cluster) -> None:
    cluster.not_ready(NAME, "Readiness probe failed: timeout")
    cluster.advance(1)
    status = cluster.get("deployments", NAME)["status"]
    conditions = {each["type"]: each["reason"] for each in status["conditions"]}
    assert "readyReplicas" not in status
    assert status["unavailableReplicas"] == 3
    assert conditions["Available"] == "MinimumReplicasUnavailable"
    assert "Unhealthy" in reasons(cluster)

    cluster.recover(NAME)

    assert cluster.get("deployments", NAME)["status"]["availableReplicas"] == 3


def test_a_pod_that_no_node_takes_says_why_and_is_placed_when_it_can_be(cluster: Cluster) -> None:
    cluster.pending("celery-workers", "0/1 nodes are available: 1 node(s) had disk pressure.")
    cluster.change("deployments", "celery-workers", {"spec": {"replicas": 2}})
    cluster.advance(5)
    waiting = next(
        each for each in cluster.pods("celery-workers") if "nodeName" not in each["spec"]
    )
    assert waiting["status"]["conditions"][0]["reason"] == "Unschedulable"
    assert "disk pressure" in waiting["status"]["conditions"][0]["message"]
    assert "FailedScheduling" in reasons(cluster)

    cluster.recover("celery-workers")
    cluster.advance(5)

    assert cluster.get("deployments", "celery-workers")["status"]["readyReplicas"] == 2


def test_a_full_node_takes_no_more_and_the_rest_wait() -> None:
    small = manifests.node(cpu="80m")  # five pods that ask for 10m are there
    with simulated_cluster(releases=HEALTHY[:1], node=small) as cluster:
        cluster.change("deployments", NAME, {"spec": {"replicas": 8}})
        cluster.advance(10)
        waiting = [each for each in cluster.pods(NAME) if "nodeName" not in each["spec"]]
        assert len(waiting) == 2
        text = waiting[0]["status"]["conditions"][0]["message"]
        assert text == "0/1 nodes are available: 1 Insufficient cpu."

        cluster.change("deployments", "celery-workers", {"spec": {"replicas": 0}})
        cluster.advance(10)

        waiting = [each for each in cluster.pods(NAME) if "nodeName" not in each["spec"]]
        assert len(waiting) == 1


def test_a_quota_refuses_pods_and_the_deployment_says_so(cluster: Cluster) -> None:
    pods = len(cluster.pods())
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": str(pods + 1)}}}
    cluster.add("resourcequotas", quota)
    cluster.change("deployments", NAME, {"spec": {"replicas": 6}})
    cluster.advance(5)

    conditions = cluster.get("deployments", NAME)["status"]["conditions"]
    failure = next(each for each in conditions if each["type"] == "ReplicaFailure")
    used = f"requested: pods=1, used: pods={pods + 1}, limited: pods={pods + 1}"
    assert f"is forbidden: exceeded quota: small, {used}" in failure["message"]
    assert cluster.get("resourcequotas", "small")["status"]["used"] == {"pods": str(pods + 1)}
    assert "FailedCreate" in reasons(cluster)


def test_a_deleted_pod_is_marked_replaced_and_gone(cluster: Cluster, admin: httpx.Client) -> None:
    pod = cluster.pods("celery-workers")[0]["metadata"]
    path = f"{HERE}/pods/{pod['name']}"

    shown = admin.delete(path).json()

    assert shown["kind"] == "Pod"
    assert shown["metadata"]["deletionGracePeriodSeconds"] == 1
    assert admin.get(path).json()["metadata"]["deletionTimestamp"]
    (other,) = cluster.pods("celery-workers")
    assert other["metadata"]["name"] != pod["name"]
    cluster.advance(1)
    assert admin.get(path).status_code == 404
    assert "Killing" in reasons(cluster)


def test_a_pod_without_a_controller_does_not_come_back(cluster: Cluster) -> None:
    cluster.delete("pods", "redis-pod")
    cluster.advance(60)

    assert cluster.pods("redis-pod") == []


def test_events_are_counted_and_go_after_an_hour(cluster: Cluster) -> None:
    cluster.image_is_missing(BUSYBOX)
    cluster.delete("pods", cluster.pods("celery-workers")[0]["metadata"]["name"])
    cluster.advance(60)
    about = [each for each in cluster.items("events") if each["reason"] == "ErrImageNeverPull"]
    assert [each["count"] for each in about] == [6]
    assert about[0]["lastTimestamp"] > about[0]["firstTimestamp"]

    cluster.image_is_there(BUSYBOX)
    cluster.advance(3700)

    assert "ErrImageNeverPull" not in reasons(cluster)


def test_a_new_pod_has_no_figures_and_then_those_that_were_set(
    cluster: Cluster, admin: httpx.Client
) -> None:
    def figures() -> list[Any]:
        selector = {"labelSelector": "app=celery-workers"}
        path = "/apis/metrics.k8s.io/v1beta1/namespaces/rlhf-audit-trail/pods"
        return [each["containers"] for each in admin.get(path, params=selector).json()["items"]]

    cluster.uses("celery-workers", cpu="1204109n", memory="524Ki")
    cluster.delete("pods", cluster.pods("celery-workers")[0]["metadata"]["name"])
    cluster.advance(5)
    assert figures() == []

    cluster.advance(20)

    usage = {"cpu": "1204109n", "memory": "524Ki"}
    assert figures() == [[{"name": "worker", "usage": usage}]]


def test_without_a_metrics_server_its_paths_are_unknown(
    cluster: Cluster, admin: httpx.Client
) -> None:
    cluster.take_metrics_away()

    answer = admin.get("/apis/metrics.k8s.io/v1beta1/nodes")

    assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    assert answer.headers["content-type"] == "text/plain"
    cluster.bring_metrics_back()
    assert admin.get("/apis/metrics.k8s.io/v1beta1/nodes").status_code == 200


def test_parts_of_a_log_can_be_asked_for(cluster: Cluster, admin: httpx.Client) -> None:
    cluster.log("celery-workers", "one")
    cluster.advance(60)
    cluster.log("celery-workers", "two", "three")

    def lines(**parameters: Any) -> list[str]:
        return log(admin, cluster, "celery-workers", **parameters).text.splitlines()

    assert lines() == ["celery ready", "one", "two", "three"]
    assert lines(tailLines=1) == ["three"]
    assert lines(tailLines=0) == []
    assert lines(sinceSeconds=30) == ["two", "three"]
    assert lines(sinceTime=cluster.clock.stamp()) == ["two", "three"]
    assert lines(limitBytes=6) == ["celery"]
    assert lines(tailLines=1, timestamps="true") == [f"{cluster.clock.stamp()} three"]
    assert said(log(admin, cluster, "celery-workers", tailLines="-1"))[0] == 400


def test_containers_without_a_log_are_refused_in_the_kubelets_words(
    cluster: Cluster, admin: httpx.Client
) -> None:
    two = [manifests.container(name, BUSYBOX) for name in ("api", "sidecar")]
    lost = [manifests.container("main", MISSING)]
    for name, containers in (("two", two), ("lost", lost)):
        cluster.add("pods", {"metadata": {"name": name}, "spec": {"containers": containers}})

    creating = said(log(admin, cluster, "two", container="api"))
    cluster.advance(5)

    assert creating == (400, 'container "api" in pod "two" is waiting to start: ContainerCreating')
    text = "a container name must be specified for pod two, choose one of: [api sidecar]"
    assert said(log(admin, cluster, "two")) == (400, text)
    assert log(admin, cluster, "two", container="sidecar").status_code == 200
    text = "container nope is not valid for pod two"
    assert said(log(admin, cluster, "two", container="nope")) == (400, text)
    text = 'container "main" in pod "lost" is waiting to start: ErrImageNeverPull'
    assert said(log(admin, cluster, "lost")) == (400, text)


@pytest.mark.parametrize("policy", ["Always", "Never"])
def test_a_pod_ends_or_starts_again_as_its_policy_says(cluster: Cluster, policy: str) -> None:
    spec = {"restartPolicy": policy, "containers": [manifests.container("main", BUSYBOX)]}
    cluster.behave("job", exits_after=1, exit_code=0)
    cluster.add("pods", {"metadata": {"name": "job"}, "spec": spec})

    cluster.advance(10)

    phase = cluster.get("pods", "job")["status"]["phase"]
    assert phase == {"Always": "Running", "Never": "Succeeded"}[policy]
