"""The workers of a Dask cluster as a crew: killed ones are replaced, wrong ones left out.

Dask does a dead worker's work again by itself, and silently; workers therefore say when they begin
a shard, and a second beginning is told. What Dask cannot see is done here: answers that do not
count, shards that never end, and a cluster that is gone.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.clients.dask_cluster import FAILED, GONE, PENDING, DaskCluster, Work, tell_begun
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Throttled, Transient
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.ledger.shard_answers import ShardFailed
from tasks.domain.ledger.shards import AnswerError, Part
from tasks.work.crews import Tell
from tasks.work.shard_jobs import Cut, ShardJob, answer_or_failure

_logger = logging.getLogger(__name__)

_TRIES = 3
"""How often one shard is given out: to another worker each time, while there is one."""

_AHEAD = 2
"""Shards given out for each thread: the one it does, and one to go on with."""

_LOOK_SECONDS = 0.05
_ASK_SECONDS = 1.0

_RAISED: dict[str, type[RunbookError]] = {
    each.__name__: each
    for each in (*(Transient, Throttled, Denied, NotFound, Conflict, Malformed), BadInput)
}
"""Errors of workers that mean here what they mean there; any other: nothing is proven."""


def hash_shard(topic: str, key: str, job: ShardJob) -> bytes:
    """On a worker: the answer, after a word that it begins."""
    tell_begun(topic, key)
    return answer_or_failure(job)


@dataclass(slots=True)
class _Given:
    """A shard that was given out: which, for the how many-th time, and who began it when."""

    at: int
    tries: int
    work: Work
    among: frozenset[str] | None
    begun_by: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Again:
    """A shard that was done again: by whom it had been begun, and why that did not count."""

    shard: str
    worker: str
    why: str


class DaskCrew:
    """A crew for one verification; `again` lists the shards that were done more than once.

    `lost_seconds`: how long a cluster without workers is waited for; `shard_seconds`: how long one
    shard may take, from its beginning.
    """

    is_remote = True
    least_blocks = 1

    def __init__(
        self,
        cluster: DaskCluster,
        *,
        lost_seconds: float,
        shard_seconds: float,
        rechecked: int = 0,
    ) -> None:
        self._cluster = cluster
        self._lost_seconds = lost_seconds
        self._shard_seconds = shard_seconds
        self.rechecked = rechecked
        self.again: list[Again] = []

    @property
    def width(self) -> int:
        """Threads of all workers that are there now; one while there are none yet."""
        return max(1, sum(self._cluster.workers().values()))

    def compare(self, cut: Cut, jobs: Sequence[ShardJob], tell: Tell) -> list[Part]:
        """The parts in the order of the jobs.

        Transient when all workers stay away, or die over one shard again and again. NotProven when
        nobody's answers to a shard count. Else what the last worker that tried it has met.
        """
        run = _Run(self._cluster, cut, jobs, self._lost_seconds, self._shard_seconds, self.again)
        try:
            while run.is_unfinished:
                run.give()
                run.look(tell)
                time.sleep(_LOOK_SECONDS)
        finally:
            run.drop()
        return run.parts()


class _Run:
    """The shards of one verification on their way."""

    def __init__(
        self,
        cluster: DaskCluster,
        cut: Cut,
        jobs: Sequence[ShardJob],
        lost_seconds: float,
        shard_seconds: float,
        again: list[Again],
    ) -> None:
        self._cluster = cluster
        self._cut = cut
        self._jobs = jobs
        self._lost_seconds = lost_seconds
        self._shard_seconds = shard_seconds
        self._again = again
        self._waiting = deque((at, 1) for at in range(len(jobs)))
        self._given: dict[str, _Given] = {}
        self._parts: dict[int, Part] = {}
        self._refused: set[str] = set()
        self._present: dict[str, int] = {}
        self._seen = time.monotonic()
        self._asked = -_ASK_SECONDS

    @property
    def is_unfinished(self) -> bool:
        """Whether a part is missing."""
        return len(self._parts) < len(self._jobs)

    def parts(self) -> list[Part]:
        """All of them, in the order of the jobs."""
        return [self._parts[at] for at in range(len(self._jobs))]

    def drop(self) -> None:
        """Let the cluster forget what is still on its way."""
        for given in self._given.values():
            given.work.drop()

    def give(self) -> None:
        """Give out as many shards as keep every thread busy."""
        self._ask()
        good = self._good()
        room = _AHEAD * sum(self._present[each] for each in good) - len(self._given)
        for _ in range(min(room, len(self._waiting))):
            at, tries = self._waiting.popleft()
            shard = self._jobs[at].shard
            key = f"verify-{shard.run[:8]}-{shard.source}-{shard.begin}-{shard.end}-{tries}"
            among = good if self._refused else None
            work = self._cluster.submit(key, hash_shard, self._jobs[at], among)
            self._given[key] = _Given(at, tries, work, among)

    def look(self, tell: Tell) -> None:
        """Take what has come back, and notice what never will."""
        # states first: a worker says that it begins before it says that it has ended
        states = {key: given.work.state for key, given in self._given.items()}
        for key, worker in self._cluster.begun():
            self._note_begun(key, worker)
        for key, state in states.items():
            given = self._given[key]
            late = time.monotonic() - given.since > self._allowed(given)
            stranded = given.among is not None and not given.among & self._present.keys()
            if state == PENDING and not late and not stranded:
                continue
            del self._given[key]
            if state == PENDING:
                given.work.drop()
                why = f"it took more than {self._shard_seconds:g} s" if late else "it has gone"
                self._repeat(given, Transient(why), refuse=late)
            elif state == FAILED:
                self._repeat(given, Transient(given.work.failure()))
            elif state == GONE:
                self._repeat(given, Transient("the cluster lost it"))
            else:
                self._take(given, tell)

    def _allowed(self, given: _Given) -> float:
        """Seconds: one that has not begun may have another one before it at its worker."""
        return self._shard_seconds * (1 if given.begun_by else _AHEAD)

    def _take(self, given: _Given, tell: Tell) -> None:
        job = self._jobs[given.at]
        try:
            part = self._cut.accept(job, given.work.answer())
        except ShardFailed as error:
            why = _RAISED.get(error.kind, NotProven)(str(error))
            self._repeat(given, why, refuse=not isinstance(why, Transient))
        except AnswerError as error:
            self._repeat(given, NotProven(str(error)), refuse=True)
        except Transient as error:
            self._repeat(given, error)
        else:
            given.work.drop()
            self._parts[given.at] = part
            tell(part[0].records)

    def _repeat(self, given: _Given, why: RunbookError, *, refuse: bool = False) -> None:
        """The shard goes to another worker; `refuse`: the one that had it gets nothing more.

        Raises `why` when it was given out often enough, or nobody is left whose answers count.
        """
        begun_by = given.begun_by[-1] if given.begun_by else ""
        worker = (given.work.holder() if refuse else "") or begun_by
        if refuse and worker:
            self._refused.add(worker)
        given.work.drop()
        shard = self._jobs[given.at].shard
        if given.tries >= _TRIES or (refuse and not self._good()):
            kind, text = type(why), f"{shard}, given out {given.tries} times: {why}"
            raise kind(f"{text}; workers left out: {', '.join(sorted(self._refused)) or 'none'}")
        self._say_again(given.at, worker, str(why))
        self._waiting.appendleft((given.at, given.tries + 1))

    def _note_begun(self, key: str, worker: str) -> None:
        given = self._given.get(key)
        if given is None:
            return
        if given.begun_by:
            self._say_again(given.at, given.begun_by[-1], "its worker is gone")
        given.begun_by.append(worker)
        given.since = time.monotonic()

    def _say_again(self, at: int, worker: str, why: str) -> None:
        shard = self._jobs[at].shard
        self._again.append(Again(str(shard), worker, why))
        _logger.warning("%s: done again, after %s: %s", shard, worker or "nobody", why)

    def _good(self) -> frozenset[str]:
        return frozenset(self._present) - self._refused

    def _ask(self) -> None:
        """Who is there, once a second; Transient when nobody is, for too long."""
        now = time.monotonic()
        if now - self._asked < _ASK_SECONDS:
            return
        self._asked = now
        reason = f"none of {len(self._present)} workers is left"
        try:
            self._present = dict(self._cluster.workers())
        except Transient as error:
            self._present, reason = {}, str(error)
        if self._good():
            self._seen = now
        elif now - self._seen > self._lost_seconds:
            raise Transient(
                f"expected Dask workers, found nobody for {self._lost_seconds:g} s ({reason}); "
                f"{len(self._parts)} of {len(self._jobs)} shards were done: start workers, or "
                "unset RUNBOOK_DASK__SCHEDULER to hash with processes"
            )
