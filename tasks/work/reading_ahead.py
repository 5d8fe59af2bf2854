"""Items made in a thread that is some way ahead of whoever takes them."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

_PATIENCE_SECONDS = 0.5

T = TypeVar("T")


def ahead(items: Iterator[T], most: int, stop: Event | None = None) -> Generator[T]:
    """The same items, at most so many ahead. None is made any more once `stop` is set.

    Nor once this iterator is closed. What making an item raises is raised where it is wanted.
    """
    closed = Event()
    queue: Queue[tuple[T] | BaseException | None] = Queue(most)

    def is_over() -> bool:
        return closed.is_set() or (stop is not None and stop.is_set())

    def offer(what: tuple[T] | BaseException | None) -> None:
        while not is_over():  # nobody takes any more: then the thread must not wait for ever
            with suppress(Full):
                queue.put(what, timeout=_PATIENCE_SECONDS)
                return

    def make() -> None:
        try:
            for item in items:
                offer((item,))
                if is_over():
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are wanted
            offer(error)

    Thread(target=make, daemon=True, name="reading-ahead").start()
    try:
        while (got := queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:
        closed.set()
