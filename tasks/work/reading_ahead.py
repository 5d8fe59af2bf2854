"""Items made in a thread that is some way ahead of whoever takes them."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

_PATIENCE_SECONDS = 0.5

T = TypeVar("T")


def ahead(items: Iterator[T], most: int, stop: Event) -> Iterator[T]:
    """The same items, at most so many ahead. Once `stop` is set no more are made."""
    queue: Queue[tuple[T] | BaseException | None] = Queue(most)

    def offer(what: tuple[T] | BaseException | None) -> None:
        while not stop.is_set():  # nobody takes any more: then the thread must not wait for ever
            with suppress(Full):
                queue.put(what, timeout=_PATIENCE_SECONDS)
                return

    def make() -> None:
        try:
            for item in items:
                offer((item,))
                if stop.is_set():
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are wanted
            offer(error)

    Thread(target=make, daemon=True, name="bulk-list").start()
    while (got := queue.get()) is not None:
        if isinstance(got, BaseException):
            raise got
        yield got[0]
