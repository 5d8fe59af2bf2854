"""The simulated cluster as a whole: it starts quickly, keeps time, and leaves nothing behind."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.errors import LabError
from deployments.lab.kubernetes.cluster import simulated_cluster
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.manifests import HEALTHY
from tests.lab.kubernetes.conftest import client_of

NAME = "rlhf-audit-trail"


def made_at(item: Json) -> datetime:
    return datetime.fromisoformat(item["metadata"]["creationTimestamp"])


def test_it_starts_within_half_a_second_of_computing() -> None:
    began = time.process_time()

    with simulated_cluster() as cluster:
        took = time.process_time() - began

    assert took < 0.5
    assert not cluster.directory.exists()


def test_it_leaves_no_thread_behind() -> None:
    before = threading.active_count()

    with simulated_cluster(live=True) as cluster, client_of(cluster) as client:
        client.get("/readyz").raise_for_status()
        during = threading.active_count()

    assert during > before
    assert threading.active_count() == before


def test_its_history_lies_in_the_past_up_to_now() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    with simulated_cluster(now=now) as cluster:
        releases = sorted(
            made_at(each)
            for each in cluster.items("replicasets")
            if each["metadata"]["labels"]["app"] == NAME
        )
        assert cluster.clock.now() == now

    assert releases == [now - timedelta(days=days) for days in (3, 2, 1)]


def test_a_live_cluster_moves_by_itself() -> None:
    with simulated_cluster(releases=HEALTHY[:1], live=True) as cluster:
        cluster.behave(NAME, starts_in=0.05, ready_in=0.05)
        cluster.change("deployments", NAME, {"spec": {"replicas": 4}})
        began = time.monotonic()

        def ready() -> int:
            return int(cluster.get("deployments", NAME)["status"].get("readyReplicas", 0))

        while ready() < 4 and time.monotonic() < began + 20:
            time.sleep(0.02)
        took = time.monotonic() - began

        assert ready() == 4
        assert took >= 0.1
        assert abs(cluster.clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
        cluster.advance(3600)
        assert cluster.clock.now() - datetime.now(UTC) > timedelta(minutes=59)


def test_a_cluster_without_a_release_is_refused() -> None:
    with pytest.raises(LabError, match="at least one release"), simulated_cluster(releases=()):
        pass
