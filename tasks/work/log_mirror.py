"""A prefix of a bucket, brought into a local directory: only what differs, by digest.

What a sealer or a logger writes is fetched as it is listed; strays wait for the end, so that none
of them can take a name from the log. Local files that are not ours are never written over: one
that stands where an object must go is set aside under another name, the others are listed.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from queue import Full, Queue
from threading import Event, Lock, Thread
from typing import TypeVar

from tasks.clients.bulk import BulkReader, Listed
from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.clients.local_folder import DiskFull, LocalFile, LocalFolder
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.local_paths import Places, RefusedKey, is_of_a_log
from tasks.work.recovery_state import Kept, RecoveryState, object_id

READERS = 16
SPARE_BYTES = 16 * 1024 * 1024
"""Room that is left on the disk: a full one hurts others more than us."""

_BATCH = 32
_BATCH_BYTES = 8 * 1024 * 1024
_IN_FLIGHT = 4 * READERS
_PAGES_AHEAD = 200
_PATIENCE_SECONDS = 0.5
_ASIDE_MARK = 12

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """How far it is. Bytes and files that are due are known for sure once `listed` is True."""

    files: int = 0
    bytes: int = 0
    files_due: int = 0
    bytes_due: int = 0
    listed: bool = False


Progress = Callable[[Done], None]


@dataclass(frozen=True, slots=True)
class Failed:
    """An object that was not brought, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Mirrored:
    """What was done. `fetched_bytes` came over the network; sizes are those of the objects.

    `aside`: (path, new path) of local files that stood in the way; `extra`: local files that are
    neither listed nor ours; `gone`: ours, of objects that are no longer listed; they stay.
    """

    fetched: int = 0
    fetched_bytes: int = 0
    unchanged: int = 0
    unchanged_bytes: int = 0
    folder_marks: int = 0
    refused: list[RefusedKey] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    stopped: str = ""
    """Why it ended before everything was brought: the disk is full."""

    @property
    def files(self) -> int:
        """Objects that lie in the target now, whole."""
        return self.fetched + self.unchanged


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: str
    listed: Listed


@dataclass(slots=True)
class _Batch:
    """What one reader did."""

    kept: list[Kept] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)
    stopped: RunbookError | None = None


def mirror(
    reader: BulkReader,
    prefix: str,
    folder: LocalFolder,
    state: RecoveryState,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> Mirrored:
    """Bring everything below the prefix; with `dry_run` only say what would be brought.

    A full disk ends it (`stopped`), and so does a store that is away or refuses (Transient,
    Denied): what has its name by then is whole, remembered, and not fetched again by the next run.
    """
    run = _Run(reader, prefix, folder, state, progress, dry_run=dry_run)
    try:
        run.bring()
    except DiskFull as error:
        run.result.stopped = str(error)
    else:
        run.look_around()
    return run.result


class _Run:
    def __init__(
        self,
        reader: BulkReader,
        prefix: str,
        folder: LocalFolder,
        state: RecoveryState,
        progress: Progress | None,
        *,
        dry_run: bool,
    ) -> None:
        self._reader = reader
        self._prefix = prefix
        self._folder = folder
        self._state = state
        self._progress = progress
        self._dry_run = dry_run
        self._places = Places()
        self._strays: list[_Wanted] = []
        self._files = self._bytes = 0
        self._files_due = self._bytes_due = 0
        self._is_listed = False
        self._comparing = Lock()
        self.result = Mirrored()

    def bring(self) -> None:
        """List and fetch at the same time."""
        stop = Event()
        with ThreadPoolExecutor(READERS, thread_name_prefix="bulk") as pool:
            running: set[Future[_Batch]] = set()
            try:
                for batch in _batches(self._wanted(stop)):
                    running.add(pool.submit(self._take, batch))
                    if len(running) >= _IN_FLIGHT:
                        self._collect(running)
                while running:
                    self._collect(running)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                for each in running:  # what was done is remembered, also by a run that ends here
                    if each.done() and not each.cancelled() and each.exception() is None:
                        self._add(each.result())
                raise

    def look_around(self) -> None:
        """What else lies in the target."""
        for path in self._folder.walk():
            if path in self._places:
                continue
            ours = self._state.made(path) is not None
            (self.result.gone if ours else self.result.extra).append(path)
        moved = {new for _, new in self.result.aside}
        self.result.extra = sorted(set(self.result.extra) - moved)
        self.result.gone.sort()

    def _wanted(self, stop: Event) -> Iterator[_Wanted]:
        for page in _ahead(self._counted(), stop):
            for listed in page:
                path = listed.key.removeprefix(self._prefix)
                if not listed.size and (path.endswith("/") or not path):
                    self.result.folder_marks += 1
                    self._drop(listed)
                elif is_of_a_log(path):
                    yield from self._placed(_Wanted(path, listed))
                else:
                    self._strays.append(_Wanted(path, listed))
        for stray in self._strays:
            yield from self._placed(stray)
        self._strays.clear()

    def _placed(self, wanted: _Wanted) -> Iterator[_Wanted]:
        why = self._places.claim(wanted.path)
        if why is None:
            yield wanted
        else:
            self.result.refused.append(RefusedKey(wanted.listed.key, why))
            self._drop(wanted.listed)

    def _drop(self, listed: Listed) -> None:
        self._files_due -= 1
        self._bytes_due -= listed.size

    def _counted(self) -> Iterator[list[Listed]]:
        """The listing, which runs ahead, so that soon it is known how much there is to do."""
        for page in self._reader.pages(self._prefix):
            self._files_due += len(page)
            self._bytes_due += sum(each.size for each in page)
            yield page
        self._is_listed = True

    def _collect(self, running: set[Future[_Batch]]) -> None:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        running -= done
        stopped: RunbookError | None = None
        for each in done:
            batch = each.result()
            self._add(batch)
            stopped = stopped or batch.stopped
        if self._progress is not None:
            self._progress(
                Done(self._files, self._bytes, self._files_due, self._bytes_due, self._is_listed)
            )
        if stopped is not None:
            raise stopped

    def _add(self, batch: _Batch) -> None:
        self.result.failed += batch.failed
        self.result.aside += batch.aside
        self.result.fetched += len(batch.fetched)
        self.result.fetched_bytes += sum(batch.fetched)
        self.result.unchanged += len(batch.unchanged)
        self.result.unchanged_bytes += sum(batch.unchanged)
        self._files += len(batch.fetched) + len(batch.unchanged) + len(batch.failed)
        self._bytes += sum(batch.fetched) + sum(batch.unchanged)
        self._state.keep(batch.kept)

    def _take(self, wanted: list[_Wanted]) -> _Batch:
        """In a reader's thread. What ends the run is in `stopped`: what went before is kept."""
        batch = _Batch()
        for each, found in self._compared(wanted, batch):
            try:
                self._bring(each, found, batch)
            except (NotFound, Conflict, Malformed, BadInput) as error:
                batch.failed.append(Failed(each.path, str(error)[:300]))
            except RunbookError as error:
                batch.stopped = error
                break
        return batch

    def _compared(
        self, wanted: list[_Wanted], batch: _Batch
    ) -> list[tuple[_Wanted, LocalFile | None]]:
        """What differs from what lies there.

        Small files by one thread at a time: more would only wait for each other's interpreter lock.
        """
        is_small = sum(each.listed.size for each in wanted) < _BATCH_BYTES
        differing: list[tuple[_Wanted, LocalFile | None]] = []
        with self._comparing if is_small else nullcontext():
            for each in wanted:
                try:
                    found = self._folder.look(each.path)
                except BadInput as error:
                    batch.failed.append(Failed(each.path, str(error)[:300]))
                    continue
                except RunbookError as error:
                    batch.stopped = error
                    return []
                listed = each.listed
                if self._state.is_current(each.path, listed.etag, listed.size, found):
                    batch.unchanged.append(listed.size)
                else:
                    differing.append((each, found))
        return differing

    def _bring(self, wanted: _Wanted, found: LocalFile | None, batch: _Batch) -> None:
        listed, path = wanted.listed, wanted.path
        if self._dry_run:
            batch.fetched.append(listed.size)
            return
        if listed.size + SPARE_BYTES > self._folder.free_bytes():
            raise DiskFull(
                f"{self._folder.root}: expected room for {listed.size:,} bytes and "
                f"{SPARE_BYTES:,} to spare, found {self._folder.free_bytes():,}: make room and run "
                "it again; it goes on from here"
            )
        with self._folder.new_file() as file:
            etag = self._reader.download(listed, file)
            content = file.content
            if content != found:
                aside = put_over(self._folder, self._state, path, found)
                batch.aside += [(path, aside)] if aside else []
                self._folder.put(file, path)
        batch.kept.append(Kept(path, object_id(etag, content.size), content.sha256))
        batch.fetched.append(content.size)


def put_over(
    folder: LocalFolder, state: RecoveryState, path: str, found: LocalFile | None
) -> str | None:
    """Make way for what goes to `path`: a file there that is not ours is renamed; its new path."""
    if found is None or state.made(path) == found.sha256:
        return None
    return folder.set_aside(path, f"found-{found.sha256[:_ASIDE_MARK]}")


def _batches(wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    batch: list[_Wanted] = []
    size = 0
    for each in wanted:
        batch.append(each)
        size += each.listed.size
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ahead(items: Iterator[T], stop: Event) -> Iterator[T]:
    """The same items, made in a thread of their own that is some way ahead."""
    queue: Queue[tuple[T] | BaseException | None] = Queue(_PAGES_AHEAD)

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
