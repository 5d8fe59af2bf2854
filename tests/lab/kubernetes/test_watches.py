"""Watches of the simulated cluster: what is seen, and every way in which they end."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from kubernetes import client, config, watch

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.manifests import BUSYBOX

HERE = "/api/v1/namespaces/rlhf-audit-trail"
NAME = "rlhf-audit-trail"
Seen = list[tuple[str, str]]
Watch = Callable[..., Iterator[Any]]


@pytest.fixture
def watching(admin: httpx.Client) -> Watch:
    """Lines of a watch of pods. It ends with its time-out, or when its test has enough."""

    def lines(**parameters: Any) -> Iterator[Any]:
        asked = {"watch": "true", "timeoutSeconds": 1, **parameters}
        with admin.stream("GET", f"{HERE}/pods", params=asked) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                yield json.loads(line)

    return lines


def seen(events: Iterator[Any]) -> Seen:
    return [(each["type"], each["object"]["metadata"].get("name", "")) for each in events]


def pod(name: str, **labels: str) -> Any:
    containers = [{"name": "main", "image": BUSYBOX}]
    metadata = {"name": name, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": containers}}


def test_without_a_version_what_is_there_comes_first(watching: Watch, cluster: Cluster) -> None:
    found = list(watching(timeoutSeconds=0))

    assert {each["type"] for each in found} == {"ADDED"}
    assert len(found) == len(cluster.pods())
    assert {each["object"]["kind"] for each in found} == {"Pod"}


def test_from_a_version_every_later_change_comes_in_its_order(
    watching: Watch, cluster: Cluster
) -> None:
    version = cluster.store.version
    cluster.add("pods", pod("one"))
    cluster.advance(2)
    cluster.delete("pods", "one")
    cluster.advance(2)

    found = list(watching(resourceVersion=version, timeoutSeconds=0))

    kinds = [each["type"] for each in found if each["object"]["metadata"]["name"] == "one"]
    assert kinds[0] == "ADDED"
    assert kinds[-1] == "DELETED"
    assert set(kinds[1:-1]) == {"MODIFIED"}
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in found]
    assert versions == sorted(set(versions))
    assert versions[0] > version


def test_a_change_is_seen_while_it_is_watched_for(watching: Watch, cluster: Cluster) -> None:
    events = watching(resourceVersion=cluster.store.version, timeoutSeconds=30)
    cluster.add("pods", pod("later"))

    event = next(events)

    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "later")


def test_what_leaves_a_selector_is_shown_as_deleted(watching: Watch, cluster: Cluster) -> None:
    version = cluster.store.version
    cluster.add("pods", pod("one", app="watched"))
    cluster.change("pods", "one", {"metadata": {"labels": {"app": "other"}}})

    found = seen(watching(resourceVersion=version, labelSelector="app=watched", timeoutSeconds=0))

    assert found[0] == ("ADDED", "one")
    assert found[-1] == ("DELETED", "one")


def test_bookmarks_come_when_they_are_allowed(watching: Watch, cluster: Cluster) -> None:
    version = cluster.store.version
    quiet = list(watching(resourceVersion=version, timeoutSeconds=0))
    at_the_end = list(
        watching(resourceVersion=version, timeoutSeconds=0, allowWatchBookmarks="true")
    )
    cluster.service.watches.bookmark_every = 0.05
    regular = watching(resourceVersion=version, timeoutSeconds=30, allowWatchBookmarks="true")

    assert quiet == []
    expected = {"resourceVersion": str(version), "creationTimestamp": None}
    assert [each["object"]["metadata"] for each in at_the_end] == [expected]
    assert [next(regular)["type"] for _ in range(2)] == ["BOOKMARK", "BOOKMARK"]


def test_a_forgotten_version_is_an_error_in_the_stream(watching: Watch, cluster: Cluster) -> None:
    version = cluster.store.version
    cluster.add("pods", pod("one"))
    cluster.compact()

    found = list(watching(resourceVersion=version))

    assert [each["type"] for each in found] == ["ERROR"]
    status = found[0]["object"]
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith(f"too old resource version: {version}")


def test_a_watch_that_is_cut_can_go_on_where_it_was(watching: Watch, cluster: Cluster) -> None:
    events = watching(resourceVersion=cluster.store.version, timeoutSeconds=30)
    cluster.add("pods", pod("one"))
    first = next(events)
    cluster.cut_watches()
    rest = list(events)
    cluster.add("pods", pod("two"))

    last = (rest or [first])[-1]["object"]["metadata"]["resourceVersion"]
    again = watching(resourceVersion=last, timeoutSeconds=30)

    added = next(each for each in again if each["type"] == "ADDED")
    assert added["object"]["metadata"]["name"] == "two"


def test_a_server_that_restarts_breaks_its_watches_off(watching: Watch, cluster: Cluster) -> None:
    events = watching(resourceVersion=cluster.store.version, timeoutSeconds=30)
    cluster.add("pods", pod("one"))
    next(events)

    cluster.drop_connections()

    with pytest.raises(httpx.TransportError):
        list(events)
    assert list(watching(timeoutSeconds=0))


def test_the_end_of_the_cluster_ends_its_watches(watching: Watch, cluster: Cluster) -> None:
    events = watching(resourceVersion=cluster.store.version, timeoutSeconds=300)
    cluster.add("pods", pod("one"))
    next(events)

    cluster.service.watches.end()

    with pytest.raises(httpx.TransportError):
        list(events)


def test_the_official_client_watches_a_rollout(cluster: Cluster) -> None:
    found = client.Configuration()
    config.load_kube_config(
        str(cluster.config_file), "admin", client_configuration=found, persist_config=False
    )
    with client.ApiClient(found) as connection:
        apps = client.AppsV1Api(connection)
        version = apps.list_namespaced_deployment(NAME).metadata.resource_version
        cluster.change("deployments", NAME, {"spec": {"replicas": 5}})
        cluster.advance(5)

        available = [
            each["object"].status.available_replicas
            for each in watch.Watch().stream(
                apps.list_namespaced_deployment, NAME, resource_version=version, timeout_seconds=1
            )
        ]

    assert (available[0], available[-1]) == (3, 5)
