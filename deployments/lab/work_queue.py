"""Celery's queue: the list `celery` in Valkey, filled by users, drained by worker replicas."""

import base64
import json
import time
import uuid
from dataclasses import dataclass, field

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

QUEUE = "celery"
_TASK = "rlhf_audit_trail.tasks.process_annotation"
_SECONDS = 1.0
_AT_ONCE = 2000


@dataclass
class WorkQueue:
    """Jobs `arriving` a second, and what one worker replica does in a second.

    `url` is Valkey's. Every method may be called from any thread.
    """

    url: str
    arriving: float = 4.0
    per_worker: float = 5.0
    done: int = 0
    _owed: float = 0.0
    _can: float = 0.0
    _client: redis.Redis = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = redis.Redis.from_url(
            self.url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def beat(self, seconds: float, workers: int) -> None:
        """What happens in that time. While there is no Valkey, nothing does and nothing is kept."""
        self._owed += self.arriving * seconds
        self._can = min(self._can + self.per_worker * workers * seconds, _AT_ONCE)
        new, most = int(self._owed), int(self._can)
        self._owed -= new
        self._can -= most
        try:
            self.put(new)
            if most:
                taken = self._client.rpop(QUEUE, most)
                self.done += len(taken) if isinstance(taken, list) else 0
        except redis.RedisError:
            return

    def put(self, jobs: int) -> None:
        """So many more at once. Raises redis.RedisError."""
        for first in range(0, jobs, _AT_ONCE):
            some = min(_AT_ONCE, jobs - first)
            self._client.lpush(QUEUE, *(_job() for _ in range(some)))

    def depth(self) -> int | None:
        """How many wait; None when Valkey does not say."""
        try:
            found = self._client.llen(QUEUE)
        except redis.RedisError:
            return None
        return found if isinstance(found, int) else None

    def is_up(self) -> bool:
        """Whether Valkey answers."""
        return self.depth() is not None

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _job() -> str:
    """As Celery's protocol 2 writes it."""
    number = str(uuid.uuid4())
    body = base64.b64encode(json.dumps([[number], {}, {}]).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": _TASK,
                "id": number,
                "retries": 0,
                "timestamp": time.time(),  # the served system adds it when it publishes
            },
            "properties": {"delivery_tag": number, "body_encoding": "base64"},
        }
    )
