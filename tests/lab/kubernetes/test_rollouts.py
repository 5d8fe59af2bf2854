"""Rollouts of the simulated cluster: they finish, stall, go back, and keep to their bounds."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import BUSYBOX, HEALTHY, MISSING, Release

API = "/apis/apps/v1/namespaces/rlhf-audit-trail/deployments/rlhf-audit-trail"
NAME = "rlhf-audit-trail"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
REVISION = "deployment.kubernetes.io/revision"
BAD = Release(MISSING, {}, "release 1.5.0")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """With all three releases."""
    with simulated_cluster() as running:
        yield running


def condition(item: Any, name: str) -> tuple[str, str]:
    found = next(each for each in item["status"]["conditions"] if each["type"] == name)
    return found["status"], found["reason"]


def sizes(cluster: Cluster) -> dict[str, int]:
    """Replicas of the API's ReplicaSets by revision."""
    return {
        each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"]
        for each in cluster.items("replicasets")
        if each["metadata"]["labels"]["app"] == NAME
    }


def undo_to(cluster: Cluster, revision: str) -> None:
    target = next(
        each
        for each in cluster.items("replicasets")
        if each["metadata"]["labels"]["app"] == NAME
        and each["metadata"]["annotations"][REVISION] == revision
    )
    container = target["spec"]["template"]["spec"]["containers"][0]
    cluster.release(Release(container["image"], {}, "undo"))


def test_a_release_replaces_pods_one_by_one_and_finishes(cluster: Cluster) -> None:
    cluster.release(Release("registry.local/rlhf-audit-trail:1.5.0", {}, "release 1.5.0"))
    cluster.advance(1)
    middle = cluster.get("deployments", NAME)
    assert (middle["status"]["replicas"], middle["status"]["updatedReplicas"]) == (4, 1)
    assert condition(middle, "Progressing") == ("True", "ReplicaSetUpdated")

    cluster.advance(30)

    done = cluster.get("deployments", NAME)
    assert condition(done, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert done["status"]["availableReplicas"] == done["status"]["updatedReplicas"] == 3
    assert sizes(cluster) == {"1": 0, "2": 0, "3": 0, "4": 3}


def test_a_missing_image_leaves_the_old_pods_serving_and_passes_the_deadline(
    cluster: Cluster,
) -> None:
    cluster.release(BAD)
    cluster.advance(15)
    assert condition(cluster.get("deployments", NAME), "Progressing")[0] == "True"

    cluster.advance(1)

    failed = cluster.get("deployments", NAME)
    assert condition(failed, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert condition(failed, "Available") == ("True", "MinimumReplicasAvailable")
    assert sizes(cluster) == {"1": 0, "2": 0, "3": 3, "4": 1}


def test_undoing_twice_returns_to_the_bad_release(cluster: Cluster) -> None:
    cluster.release(BAD)
    cluster.advance(20)

    undo_to(cluster, "3")
    cluster.advance(20)
    once = cluster.get("deployments", NAME)
    assert once["spec"]["template"]["spec"]["containers"][0]["image"] == HEALTHY[2].image
    assert set(sizes(cluster)) == {"1", "2", "4", "5"}

    undo_to(cluster, "4")
    again = cluster.get("deployments", NAME)
    assert again["spec"]["template"]["spec"]["containers"][0]["image"] == MISSING
    assert set(sizes(cluster)) == {"1", "2", "5", "6"}


def test_a_rollout_goes_on_when_its_image_arrives(cluster: Cluster) -> None:
    cluster.release(BAD)
    cluster.advance(20)

    cluster.image_is_there(MISSING)
    cluster.advance(20)

    done = cluster.get("deployments", NAME)
    assert condition(done, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_release_that_crashes_at_once_never_becomes_available(cluster: Cluster) -> None:
    cluster.image_behaves(BUSYBOX, exits_after=0.5, last_words=("no database",))

    cluster.release(Release(BUSYBOX, {}, "release 1.5.0"))
    cluster.advance(60)

    failed = cluster.get("deployments", NAME)
    assert condition(failed, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert failed["status"]["availableReplicas"] == 3


def test_a_restart_makes_a_revision_and_scaling_makes_none(
    cluster: Cluster, admin: httpx.Client
) -> None:
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-11-23T12:55:00Z"}
    patch = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    before = {each["metadata"]["uid"] for each in cluster.pods(NAME)}

    admin.patch(f"{API}/scale", json={"spec": {"replicas": 4}}, headers=MERGE).raise_for_status()
    cluster.advance(10)
    assert sizes(cluster) == {"1": 0, "2": 0, "3": 4}
    admin.patch(API, json=patch, headers=STRATEGIC).raise_for_status()
    cluster.advance(30)

    assert sizes(cluster) == {"1": 0, "2": 0, "3": 0, "4": 4}
    assert before.isdisjoint({each["metadata"]["uid"] for each in cluster.pods(NAME)})


def test_a_paused_deployment_rolls_nothing_out_but_can_be_scaled(cluster: Cluster) -> None:
    cluster.change("deployments", NAME, {"spec": {"paused": True}})
    cluster.release(BAD)
    cluster.change("deployments", NAME, {"spec": {"replicas": 2}})
    cluster.advance(60)
    paused = cluster.get("deployments", NAME)
    assert condition(paused, "Progressing") == ("Unknown", "DeploymentPaused")
    assert sizes(cluster) == {"1": 0, "2": 0, "3": 2}

    cluster.change("deployments", NAME, {"spec": {"paused": None}})
    cluster.advance(20)

    assert sizes(cluster)["4"] == 1


def test_without_controllers_the_observed_generation_stays_behind(cluster: Cluster) -> None:
    before = cluster.get("deployments", NAME)["metadata"]["generation"]
    cluster.pause_controllers()
    cluster.release(BAD)
    waiting = cluster.get("deployments", NAME)
    assert waiting["metadata"]["generation"] == before + 1
    assert waiting["status"]["observedGeneration"] == before

    cluster.resume_controllers()

    assert cluster.get("deployments", NAME)["status"]["observedGeneration"] == before + 1


def test_recreate_ends_every_old_pod_before_the_first_new_one(cluster: Cluster) -> None:
    strategy = {"type": "Recreate"}
    cluster.add_deployment("batch", replicas=2, strategy=strategy)
    cluster.advance(10)
    old = {each["metadata"]["uid"] for each in cluster.pods("batch")}
    image = {"containers": [{"name": "main", "image": "registry.local/busybox:2"}]}

    cluster.change("deployments", "batch", {"spec": {"template": {"spec": image}}})
    seen = []
    for _ in range(20):
        seen.append({each["metadata"]["uid"] for each in cluster.pods("batch")})
        cluster.advance(0.5)

    assert not any(each & old and each - old for each in seen)
    assert len(cluster.pods("batch")) == 2
    assert old.isdisjoint({each["metadata"]["uid"] for each in cluster.pods("batch")})


def test_history_is_kept_to_its_limit(cluster: Cluster) -> None:
    cluster.change("deployments", NAME, {"spec": {"revisionHistoryLimit": 1}})
    cluster.release(Release("registry.local/rlhf-audit-trail:1.5.0", {}, "release 1.5.0"))

    cluster.advance(30)

    assert sizes(cluster) == {"3": 0, "4": 3}


def test_a_deployment_that_is_deleted_takes_its_pods_with_it(cluster: Cluster) -> None:
    cluster.delete("deployments", NAME)
    cluster.advance(5)

    assert cluster.pods(NAME) == []
    assert sizes(cluster) == {}


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1]) as cluster:
        yield cluster


DO = st.one_of(
    st.tuples(st.just("image"), st.sampled_from([BUSYBOX, MISSING, "registry.local/two:2"])),
    st.tuples(st.just("scale"), st.integers(0, 6)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3.0, 20.0])),
)
BOUNDS = st.sampled_from([(0, 1), (1, 0), (1, 1), ("25%", "25%"), ("50%", "50%")])


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(DO, min_size=1, max_size=8), bounds=BOUNDS)
def test_no_rolling_update_has_more_pods_or_fewer_serving_than_its_bounds_allow(
    running: Cluster, steps: list[tuple[str, Any]], bounds: tuple[Any, Any]
) -> None:
    missing, surge = bounds
    rolling = {"maxUnavailable": missing, "maxSurge": surge}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    running.add_deployment("law", replicas=4, strategy=strategy)
    running.advance(20)
    before = 4
    try:
        for what, value in [*steps, ("wait", 1.0)]:
            if what == "scale":
                patch: Any = {"spec": {"replicas": value}}
                running.change("deployments", "law", patch)
            elif what == "image":
                container = {"name": "main", "image": value}
                patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
                running.change("deployments", "law", patch)
            else:
                running.advance(value)
            most, least = limits(running)
            pods = running.pods("law")
            assert len(pods) <= most
            serving = running.get("deployments", "law")["status"].get("availableReplicas", 0)
            # What never served cannot be kept; nor is it while a rollout is scaled down, for that
            # takes from each ReplicaSet in proportion, whether its pods serve or not.
            assert what == "scale" or serving >= min(least, before)
            before = serving
    finally:
        running.delete("deployments", "law")
        running.advance(60)


def limits(cluster: Cluster) -> tuple[int, int]:
    """At most and, serving, at least: as Kubernetes documents the two fields."""
    spec = cluster.get("deployments", "law")["spec"]
    wanted = spec["replicas"]
    rolling = spec["strategy"]["rollingUpdate"]

    def share(value: int | str, rest: int) -> int:
        if isinstance(value, int):
            return value
        return (int(value[:-1]) * wanted + rest) // 100

    surge, missing = share(rolling["maxSurge"], 99), share(rolling["maxUnavailable"], 0)
    if surge == missing == 0:
        missing = 1
    return wanted + surge, max(wanted - missing, 0)
