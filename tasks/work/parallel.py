"""Stretches of blocks over worker processes, which merge exactly whatever the number of workers.

Workers are started anew (spawn), because a fork of a process with threads and connections is not
safe; they load only what a stretch needs, and die with the process that started them.
"""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tasks.clients.errors import Transient

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_PR_SET_PDEATHSIG = 1
_STRETCHES_A_WORKER = 8
"""More stretches than workers: a slow one then does not leave the others idle."""

_AHEAD = 2
"""Jobs given to each process: the one it does, and one to go on with."""


def stretches(begin: int, end: int, workers: int) -> list[tuple[int, int]]:
    """Blocks `begin` <= index < `end` cut into neighbouring runs."""
    length = max(1, -(-(end - begin) // (workers * _STRETCHES_A_WORKER)))
    return [(first, min(end, first + length)) for first in range(begin, end, length)]


def over_workers(
    act: Callable[[Job], Answer],
    jobs: Sequence[Job],
    workers: int,
    done: Callable[[Answer], None],
) -> list[Answer]:
    """The answers in the order of the jobs; `done` hears of each as it ends.

    `act` is a module's function, jobs and answers can be pickled. This process is one of the
    workers: it begins at once, while the others still start. The first error ends it all.
    """
    answers: dict[int, Answer] = {}
    waiting = deque(enumerate(jobs))
    others = max(1, min(workers, len(jobs)) - 1)
    with ProcessPoolExecutor(
        max_workers=others,
        mp_context=get_context("spawn"),
        initializer=_die_with,
        initargs=(os.getpid(),),
    ) as pool:
        running: dict[Future[Answer], int] = {}

        def take(ended: Iterable[Future[Answer]]) -> None:
            for each in ended:
                answers[running.pop(each)] = each.result()
                done(each.result())

        try:
            while waiting or running:
                while len(waiting) > 1 and len(running) < _AHEAD * others:  # the last one is ours
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
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [answers[at] for at in range(len(jobs))]


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(1)
