"""Shards over workers, second by second: what a formula over averages does not say.

How long the last shard keeps everybody waiting, what a slow worker or a dead one costs, and when a
shared store, not the workers, is what is waited for. A worker hashes, reads records and asks for
their tiles at the same time, so it is as fast as the slowest of these lets it: its core, its
network, its fair share of the store, and requests, which cost time each whatever the size.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_NOTHING = 1e-9
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Load:
    """What one record costs to read: bytes as they are moved, and a share of small requests."""

    bytes_per_record: float
    requests_per_record: float


@dataclass(frozen=True, slots=True)
class Site:
    """What reads it. Rates are a second's.

    `slow`: speeds, in all things, of the first workers; the others have speed 1.
    `deaths`: (worker, at second); what it had begun begins anew elsewhere, `notice_seconds` later.
    """

    workers: int
    records_per_core: float
    worker_bytes: float
    store_bytes: float
    request_seconds: float
    requests_at_once: int
    slow: tuple[float, ...] = ()
    deaths: tuple[tuple[int, float], ...] = ()
    notice_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """How it went: seconds in all, seconds from the first idle worker on, records read twice.

    `computing`: the share of the workers' time in which their cores hash, rather than wait.
    """

    seconds: float
    tail_seconds: float
    read_again: float
    computing: float


@dataclass(slots=True)
class _Worker:
    speed: float
    dies: float
    shard: float = 0.0
    left: float = 0.0
    hashed: float = 0.0


class _Simulation:
    """The state between two events; between them all rates stand still."""

    def __init__(self, load: Load, site: Site, shards: Sequence[float]) -> None:
        dies = dict(site.deaths)
        speeds = (*site.slow, *[1.0] * site.workers)[: site.workers]
        self._workers = [_Worker(each, dies.get(at, _NEVER)) for at, each in enumerate(speeds)]
        self._load = load
        self._site = site
        self._queue = deque((0.0, each) for each in shards)
        self._first_idle: float | None = None
        self.now = 0.0
        self.read_again = 0.0

    def give(self) -> bool:
        """Give shards to whoever is idle; whether anything is still to be done."""
        living = self._living()
        for worker in living:
            if worker.shard > 0:
                continue
            if self._queue and self._queue[0][0] <= self.now + _NOTHING:
                worker.shard = worker.left = self._queue.popleft()[1]
            elif self._first_idle is None and not self._queue:
                self._first_idle = self.now
        busy = any(each.shard > 0 for each in living)
        if not living and self._queue:
            raise ValueError("expected a worker that lives, found none: nobody ends this")
        return busy or bool(self._queue)

    def go_on(self) -> None:
        """To the next event: a shard's end, a death, a dead worker's shard that is noticed."""
        rates = {id(each): self._rate(each) for each in self._living() if each.shard > 0}
        steps = [due - self.now for due, _ in self._queue if due > self.now + _NOTHING]
        for worker in self._living():
            if worker.dies < _NEVER:
                steps.append(worker.dies - self.now)
            if worker.shard > 0:
                steps.append(worker.left / rates[id(worker)])
        step = min(steps)
        at_work = [each for each in self._living() if each.shard > 0]
        self.now += step
        for worker in at_work:
            worker.left -= rates[id(worker)] * step
            worker.hashed += rates[id(worker)] * step / worker.speed
            if worker.left <= worker.shard * _NOTHING:
                worker.shard = 0.0
            elif worker.dies <= self.now:
                self._queue.appendleft((self.now + self._site.notice_seconds, worker.shard))
                self.read_again += worker.shard - worker.left
                worker.shard = 0.0

    def course(self) -> Course:
        """How it went, at its end."""
        alive = sum(min(each.dies, self.now) for each in self._workers)
        hashed = sum(each.hashed for each in self._workers) / self._site.records_per_core
        tail = self.now - (self.now if self._first_idle is None else self._first_idle)
        return Course(self.now, tail, self.read_again, hashed / alive if alive else 0.0)

    def _living(self) -> list[_Worker]:
        return [each for each in self._workers if each.dies > self.now]

    def _rate(self, worker: _Worker) -> float:
        """Records a second: the slowest of what goes on side by side."""
        site, load = self._site, self._load
        at_work = sum(each.shard > 0 for each in self._living())
        network = min(site.worker_bytes, site.store_bytes / at_work) / load.bytes_per_record
        waits = load.requests_per_record * site.request_seconds / site.requests_at_once
        asked = 1 / waits if waits else _NEVER
        return worker.speed * min(site.records_per_core, network, asked)


def simulate(load: Load, site: Site, shards: Sequence[float]) -> Course:
    """The course of reading shards of so many records each. ValueError when all workers die."""
    simulation = _Simulation(load, site, shards)
    while simulation.give():
        simulation.go_on()
    return simulation.course()


def cut(records: float, workers: int, stretches: int) -> list[float]:
    """Equal shards: so many for each worker."""
    count = workers * stretches
    return [records / count] * count
