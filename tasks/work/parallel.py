"""Stretches of blocks over worker processes, which merge exactly whatever the number of workers.

Workers are started anew (spawn), because a fork of a process with threads and connections is not
safe; they load only what a stretch needs, and die with the process that started them.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_PR_SET_PDEATHSIG = 1
_STRETCHES_A_WORKER = 4
"""More stretches than workers: a slow one then does not leave the others idle."""


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

    `act` is a module's function, jobs and answers can be pickled. The first error ends it all.
    """
    with ProcessPoolExecutor(
        max_workers=min(workers, len(jobs)),
        mp_context=get_context("spawn"),
        initializer=_die_with,
        initargs=(os.getpid(),),
    ) as pool:
        running = {pool.submit(act, job): at for at, job in enumerate(jobs)}
        try:
            for each in as_completed(running):
                done(each.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [each.result() for each in running]


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(1)
