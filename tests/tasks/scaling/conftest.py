"""A simulated cluster that lives in real time, a real Valkey, and tasks in its queue."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from pydantic import SecretStr

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.stack import Lab
from tasks.sections.capacity import ScalingSettings
from tasks.sections.systems import CacheSettings, KubernetesSettings
from tasks.work.queue_looks import QueueSite
from tasks.work.scalings import Site


@dataclass
class Queue:
    """A queue of this test alone, in the lab's Valkey, as Celery's transport writes it."""

    client: redis.Redis
    name: str

    def put(self, count: int, age: float = 0.0) -> None:
        sent = time.time() - age
        for _ in range(count):
            number = str(uuid.uuid4())
            headers = {"task": "tasks.annotate", "id": number, "timestamp": sent}
            message = {"body": "W10=", "headers": headers, "properties": {"delivery_tag": number}}
            self.client.lpush(self.name, json.dumps(message))

    def take(self, count: int) -> None:
        self.client.rpop(self.name, count)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1], live=True) as running:
        yield running


@pytest.fixture
def site(cluster: Cluster) -> Site:
    kubernetes = KubernetesSettings(
        config_file=cluster.config_file, context="diagnose", remediate_context="remediate"
    )
    return Site(kubernetes, ScalingSettings(ready_seconds=8))


@pytest.fixture
def queue(patient: Lab) -> Iterator[Queue]:
    with redis.Redis.from_url(patient.cache.url) as client:
        made = Queue(client, f"queue-{uuid.uuid4().hex}")
        yield made
        client.delete(made.name, f"{made.name}\x06\x163", f"{made.name}-held")


@pytest.fixture
def where(site: Site, queue: Queue, patient: Lab) -> QueueSite:
    scaling = site.scaling.model_copy(
        update={
            "queues": (queue.name,),
            "unacknowledged": f"{queue.name}-held",
            "sample_seconds": 0.2,
            "quiet_seconds": 0.3,
            "verify_seconds": 3.0,
        }
    )
    cache = CacheSettings(url=SecretStr(patient.cache.url))
    return QueueSite(cache, Site(site.cluster, scaling))
