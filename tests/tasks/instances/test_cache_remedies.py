"""Redis looked at for real: a Valkey that is full, cannot save, is crowded, hangs or is gone."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from deployments.lab.cache import CacheServer
from deployments.lab.cluster_manifests import REDIS_POD
from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.pod_programs import redis_pod
from tasks.clients.cache_state import state_of
from tasks.clients.pod_exec import Pod
from tasks.domain.cache_diagnosis import CacheLimits, diagnose
from tasks.domain.cache_readings import CacheState
from tasks.domain.database_readings import Unread
from tasks.domain.inside import Answer
from tasks.domain.observation import Health
from tasks.sections.systems import CacheSettings, KubernetesSettings, MetricsSettings
from tasks.work import cache_remedies
from tasks.work.cache_remedies import Site
from tests.clients.loopback import answering, sending
from tests.clients.test_cache import at
from tests.room import open_place
from tests.tasks.instances.valkey import configure, settings_for, valkey

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def running() -> Iterator[CacheServer]:
    with valkey(open_place() / f"test-cache-{os.getpid()}") as server:
        yield server


@pytest.fixture
def server(running: CacheServer) -> CacheServer:
    with redis.Redis.from_url(running.url) as admin:
        admin.flushall()
        admin.config_resetstat()
    configure(running, maxmemory="64mb", maxmemory_policy="noeviction", save="")
    return running


def site(cache: CacheSettings, **changes: Any) -> Site:
    known: dict[str, Any] = {
        "cluster": KubernetesSettings(),
        "metrics": MetricsSettings(),
        "queues": ("celery", "ot;her\n"),
        "limits": CacheLimits(),
        "pod": None,
        "sample_seconds": 0.1,
        "restart_seconds": 20.0,
        "verify_seconds": 5.0,
    }
    return Site(cache=cache, **(known | changes))


def codes(looked: Site) -> list[str]:
    return [each.code for each in diagnose(cache_remedies.looked_at(looked), looked.limits)]


def test_a_real_server_is_read_whole(server: CacheServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.lpush("celery", *range(7))
        client.set("other", "no list")
    seen = cache_remedies.looked_at(site(settings_for(server)))
    state = seen.state
    assert isinstance(state, CacheState)
    assert (state.role, state.policy, state.keys, state.saves) == ("master", "noeviction", 2, False)
    assert not state.persists
    assert 0 < state.used_memory < state.max_memory == 64 << 20
    assert state.changes >= 8
    assert seen.queued == {"celery": 7, "ot;her\n": 0}
    assert diagnose(seen, CacheLimits()) == ()
    said = cache_remedies.as_seen(seen)
    assert said.health is Health.HEALTHY
    assert "7 tasks queued, nothing is saved" in said.summary


def test_a_full_memory_is_found(server: CacheServer) -> None:
    configure(server, maxmemory="1mb")
    assert codes(site(settings_for(server))) == ["cache.memory-full"]


def test_a_snapshot_that_fails_is_found(server: CacheServer) -> None:
    with redis.Redis.from_url(server.url) as admin:
        folder = admin.config_get("dir")["dir"]
        blocked = Path(folder) / "dump.rdb"
        blocked.mkdir()
        try:
            admin.set("key", "value")
            admin.bgsave()
            while admin.info("persistence")["rdb_bgsave_in_progress"]:
                pass
            assert codes(site(settings_for(server))) == ["cache.persistence-failing"]
        finally:
            blocked.rmdir()
            admin.bgsave()
            while admin.info("persistence")["rdb_bgsave_in_progress"]:
                pass


def test_a_server_full_of_clients_is_found_before_it_refuses_us(server: CacheServer) -> None:
    configure(server, maxclients="20")
    try:
        with ExitStack() as open_clients:
            for _ in range(18):
                client = open_clients.enter_context(redis.Redis.from_url(server.url))
                client.ping()
            assert codes(site(settings_for(server))) == ["cache.clients-exhausted"]
    finally:
        configure(server, maxclients="10000")


@pytest.mark.parametrize(
    "answer",
    [
        b"-NOAUTH Authentication required.\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"*1\r\n" * 5000,
    ],
)
def test_a_server_that_refuses_us_or_is_none_is_unread_and_no_cause(answer: bytes) -> None:
    with answering(sending(answer)) as port:
        seen = cache_remedies.looked_at(site(at(port)))
    assert isinstance(seen.state, Unread)
    assert (seen.unreachable, diagnose(seen, CacheLimits())) == ("", ())
    assert cache_remedies.as_seen(seen).health is Health.UNKNOWN


def test_info_of_odd_values_is_read_as_nothing_there() -> None:
    odd: dict[str, Any] = {"used_memory": float("nan"), "maxmemory": -1}
    odd |= {
        "connected_clients": "many",
        "rdb_last_save_time": 10**18,
        "db0": "x",
        "role": "ma\x1b[31mster" * 50,
    }
    state = state_of(odd, saves=None)
    assert (state.used_memory, state.max_memory, state.clients) == (0, 0, 0)
    assert state.saved_at is None
    assert "\x1b" not in state.role


def test_a_server_that_hangs_is_silent_inside_too_and_its_pod_is_restarted(
    server: CacheServer, cluster: Cluster, settings_of_cluster: KubernetesSettings, tmp_path: Path
) -> None:
    cluster.programs.by_pod[REDIS_POD] = redis_pod(tmp_path, server.port, server.password)
    looked = site(
        settings_for(server),
        cluster=settings_of_cluster,
        pod=Pod(cluster.namespace, REDIS_POD),
    )
    assert codes(looked) == []
    assert server.child is not None
    os.killpg(server.child.popen.pid, signal.SIGSTOP)
    try:
        seen = cache_remedies.looked_at(looked)
        (cause,) = diagnose(seen, looked.limits)
    finally:
        os.killpg(server.child.popen.pid, signal.SIGCONT)
    assert (cause.code, seen.inside.answer) == ("cache.unreachable", Answer.SILENT)
    assert cause.remedy is not None
    assert cause.remedy.target == "statefulset/redis"
    away = site(at(1), cluster=settings_of_cluster, pod=Pod(cluster.namespace, REDIS_POD))
    (cause,) = diagnose(cache_remedies.looked_at(away), away.limits)
    assert cause.code == "cache.unreachable-from-outside"  # its pod answers
