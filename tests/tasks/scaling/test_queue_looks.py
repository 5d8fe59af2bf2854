"""Celery's queue in a real Valkey and its workers in a simulated cluster, looked at together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.misbehaviour import Trouble
from tasks.domain.database_readings import Unread
from tasks.domain.observation import Health
from tasks.domain.scale_plan import plan_scaling
from tasks.domain.task_queue import HeldTasks, QueueReading
from tasks.sections.systems import CacheSettings
from tasks.work import queue_looks
from tasks.work.queue_looks import QueueSite
from tests.tasks.scaling.conftest import Queue

pytestmark = pytest.mark.components


@contextmanager
def consuming(queue: Queue, every: float) -> Iterator[None]:
    """Somebody who takes a task each so many seconds."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(every):
            queue.take(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def with_scaling(where: QueueSite, **changes: float) -> QueueSite:
    scaling = where.site.scaling.model_copy(update=changes)
    return replace(where, site=replace(where.site, scaling=scaling))


def reading(where: QueueSite) -> QueueReading:
    seen = queue_looks.looked_at(where)
    assert not isinstance(seen.queues, Unread), seen.queues
    (found,) = seen.queues
    return found


def test_depth_age_and_rates_are_what_they_are(where: QueueSite, queue: Queue) -> None:
    queue.put(1, age=90)
    queue.put(149)
    with consuming(queue, 0.02):
        found = reading(where)
    assert 100 < found.waiting < 150
    assert found.consumed > 1
    assert found.arriving == 0
    queue.client.delete(queue.name)
    queue.put(1, age=90)
    queue.put(3)
    still = reading(where)
    assert (still.waiting, still.consumed) == (4, 0.0)
    assert still.oldest_seconds is not None
    assert 89 < still.oldest_seconds < 100


def test_tasks_of_every_priority_are_counted(where: QueueSite, queue: Queue) -> None:
    queue.put(2)
    Queue(queue.client, f"{queue.name}\x06\x163").put(3)
    assert reading(where).waiting == 5


def test_no_queue_yet_is_an_empty_one(where: QueueSite) -> None:
    assert reading(where).waiting == 0
    assert queue_looks.found_causes(where, queue_looks.looked_at(where)) == ()


def test_a_key_that_is_no_list_is_unknown(where: QueueSite, queue: Queue) -> None:
    queue.client.hset(queue.name, "a", "b")
    seen = queue_looks.looked_at(where)
    assert isinstance(seen.queues, Unread)
    assert "found a hash" in seen.queues.reason
    assert queue_looks.depth(where, seen).health is Health.UNKNOWN
    assert queue_looks.found_causes(where, seen) == ()


@pytest.mark.parametrize(
    "hostile", [b"", b"\x00\xff", b"{" * 70_000, b'{"headers": {"timestamp": 1e999}}', b"a" * 3**15]
)
def test_a_hostile_task_is_counted_and_has_no_age(
    where: QueueSite, queue: Queue, hostile: bytes
) -> None:
    queue.client.lpush(queue.name, hostile)
    found = reading(where)
    assert (found.waiting, found.oldest_seconds) == (1, None)


def test_tasks_in_workers_hands_have_an_age(where: QueueSite, queue: Queue) -> None:
    now = time.time()
    queue.client.zadd(f"{queue.name}-held", {"one": now - 400, "two": now})
    held = queue_looks.looked_at(where).held
    assert isinstance(held, HeldTasks)
    assert held.count == 2
    assert held.oldest_seconds is not None
    assert 399 < held.oldest_seconds < 410
    queue.client.zadd(f"{queue.name}-held", {"never": "-inf"})
    assert queue_looks.looked_at(where).held == HeldTasks(3, None)


def test_a_cache_that_is_away_is_unknown_and_the_workers_are_seen_all_the_same(
    where: QueueSite,
) -> None:
    away = CacheSettings(url="redis://127.0.0.1:1/0")
    seen = queue_looks.looked_at(replace(where, cache=away))
    assert set(seen.unread()) == {"queues", "tasks in work"}
    assert not isinstance(seen.workers, Unread)


def test_a_cluster_that_refuses_is_unknown_and_the_queue_is_seen_all_the_same(
    where: QueueSite, cluster: Cluster, queue: Queue
) -> None:
    queue.put(3)
    cluster.misbehave(Trouble.FAILS, "deployments", code=403)
    seen = queue_looks.looked_at(where)
    assert set(seen.unread()) == {"workers"}
    assert reading(where).waiting == 3


def test_a_backlog_and_no_worker_is_found(where: QueueSite, cluster: Cluster, queue: Queue) -> None:
    queue.put(150, age=30)
    cluster.change("deployments", "celery-workers", {"spec": {"replicas": 0}})
    seen = queue_looks.looked_at(where)
    (cause,) = queue_looks.found_causes(where, seen)
    assert cause.code == "queue.workers-gone"
    assert cause.remedy is not None
    assert cause.remedy.arguments["scale"]["replicas"] == 2
    assert queue_looks.depth(where, seen).health is Health.DEGRADED


def test_tasks_that_nobody_took_are_looked_at_once_more_and_longer(
    where: QueueSite, cluster: Cluster, queue: Queue
) -> None:
    queue.put(150)
    seen = queue_looks.looked_at(where)
    assert (seen.waiting, seen.consumed, seen.looks) == (150, 0.0, 2)
    with consuming(queue, 0.02):
        assert queue_looks.looked_at(where).looks == 1
    cluster.change("deployments", "celery-workers", {"spec": {"replicas": 0}})
    assert queue_looks.looked_at(where).looks == 1


def test_a_growing_queue_of_which_nobody_takes_anything_is_not_seen_to_be_well(
    where: QueueSite, queue: Queue
) -> None:
    queue.put(300)
    hasty = with_scaling(where, drain_seconds=1.0)
    with consuming(queue, 0.02):
        (cause,) = queue_looks.found_causes(hasty, queue_looks.looked_at(where))
    assert cause.code == "queue.too-few-workers"
    plan = plan_scaling("INC-1", cause, datetime.now(UTC) + timedelta(hours=1))
    queue.put(300)
    found = queue_looks.effect(where, plan)
    assert (found.gone, found.unseen) == (False, True)
    assert "none was taken while we looked" in found.text


def test_workers_that_start_within_the_time_are_waited_for(
    where: QueueSite, cluster: Cluster, queue: Queue
) -> None:
    queue.put(20)
    cluster.change("deployments", "celery-workers", {"spec": {"replicas": 0}})
    (cause,) = queue_looks.found_causes(where, queue_looks.looked_at(where))
    plan = plan_scaling("INC-1", cause, datetime.now(UTC) + timedelta(hours=1))
    cluster.change("deployments", "celery-workers", {"spec": {"replicas": 1}})
    with consuming(queue, 0.1):
        assert queue_looks.effect(with_scaling(where, verify_seconds=20.0), plan).gone
