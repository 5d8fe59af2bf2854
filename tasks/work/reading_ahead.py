"""Items made in a thread that is some way ahead of whoever takes them."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

_PATIENCE_SECONDS = 0.5

T = TypeVar("T")


def ahead(items: Iterator[T], most: int, stop: Event | None = None) -> Generator[T]:
    """The same items, at most so many ahead. None is made any more once `stop` is set.

    Closing this iterator waits until the thread has ended: whatever it reads from may be used again
    then. What making an item raises is raised where it is wanted.
    """
    maker = _Maker(items, most, stop or Event())
    thread = Thread(target=maker.run, daemon=True, name="reading-ahead")
    thread.start()
    try:
        yield from maker.taken()
    finally:
        maker.close()
        thread.join()


class _Maker(Generic[T]):
    """Makes the items in its thread; an error or None after the last one."""

    def __init__(self, items: Iterator[T], most: int, stop: Event) -> None:
        self._items = items
        self._stop = stop
        self._closed = Event()
        self._queue: Queue[tuple[T] | BaseException | None] = Queue(most)

    def run(self) -> None:
        try:
            for item in self._items:
                self._offer((item,))
                if self._is_over():
                    return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are wanted
            self._offer(error)
        finally:
            if isinstance(self._items, Generator):
                self._items.close()  # here, because only one thread may run it

    def taken(self) -> Iterator[T]:
        while (got := self._queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]

    def close(self) -> None:
        self._closed.set()
        with suppress(Empty):  # room for what is still offered, so that it need not wait
            while True:
                self._queue.get_nowait()

    def _is_over(self) -> bool:
        return self._closed.is_set() or self._stop.is_set()

    def _offer(self, what: tuple[T] | BaseException | None) -> None:
        while not self._is_over():  # nobody takes any more: the thread must not wait for ever
            with suppress(Full):
                self._queue.put(what, timeout=_PATIENCE_SECONDS)
                return
