"""Stretches of blocks over worker processes, which merge exactly whatever the number of workers.

Workers are started anew, because a fork of a process with threads and connections is not safe.
They load only what a stretch needs (loky's do not run the main module again, which may be all of
Prefect), and die with the process that started them.
"""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from loky import ProcessPoolExecutor

from tasks.clients.errors import Transient

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_PR_SET_PDEATHSIG = 1
STRETCHES_A_WORKER = 8
"""More stretches than workers: a slow one then does not leave the others idle."""

_AHEAD = 2
"""Jobs given to each process: the one it does, and one to go on with."""


def stretches(begin: int, end: int, workers: int, least: int) -> list[tuple[int, int]]:
    """Blocks `begin` <= index < `end` cut into neighbouring runs.

    Several for each worker that has at least `least` blocks to do, or one for one worker.
    """
    blocks = end - begin
    worth = max(1, min(workers, blocks // least))
    length = max(1, -(-blocks // (worth * STRETCHES_A_WORKER if worth > 1 else 1)))
    return [(first, min(end, first + length)) for first in range(begin, end, length)]


def over_workers(
    act: Callable[[Job], Answer],
    jobs: Sequence[Job],
    workers: int,
    done: Callable[[Answer], None],
) -> list[Answer]:
    """The answers in the order of the jobs; `done` hears of each as it ends.

    `act` is a module's function, jobs and answers can be pickled. This process is one of the
    workers and begins at once. The others get jobs as soon as they have started: work that is over
    by then does not wait for them. The first error ends it all.
    """
    answers: dict[int, Answer] = {}
    waiting = deque(enumerate(jobs))
    others = max(1, min(workers, len(jobs)) - 1)
    pool = ProcessPoolExecutor(others, initializer=_die_with, initargs=(os.getpid(),))
    try:
        starting = [pool.submit(_load, act, jobs[0]) for _ in range(others)]
        running: dict[Future[Answer], int] = {}

        def take(ended: Iterable[Future[Answer]]) -> None:
            for each in ended:
                answers[running.pop(each)] = each.result()
                done(each.result())

        while waiting or running:
            started = sum(each.done() for each in starting)
            while len(waiting) > 1 and len(running) < _AHEAD * started:  # the last one is ours
                at, job = waiting.popleft()
                running[pool.submit(act, job)] = at
            if waiting:
                at, job = waiting.popleft()
                answers[at] = act(job)
                done(answers[at])
                take([each for each in running if each.done()])
            else:
                take(wait(running, return_when=FIRST_COMPLETED).done)
    except BrokenProcessPool as error:
        raise Transient(f"a worker process died, out of memory perhaps: {error}") from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)
    return [answers[at] for at in range(len(jobs))]


def _load(act: Callable[[Job], Answer], job: Job) -> None:
    """Unpickling the two has imported what they need."""


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(1)
