"""A prefix of a bucket, brought into a local directory: only what differs, by digest.

What a sealer or a logger writes is fetched as it is listed; strays wait for the end, so that none
of them can take a name from the log. Local files that are not ours are never written over, nor are
files of a log, which never change: whose copy is the right one, only the proof can tell. One that
stands where another object must go is set aside under another name.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Event, Lock

from tasks.clients.bulk import BulkReader, Listed
from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.clients.local_errors import DiskFull
from tasks.clients.local_folder import LocalFile, LocalFolder
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.local_paths import Places, RefusedKey, Why, is_of_a_log
from tasks.work.disk_room import Room
from tasks.work.local_copies import set_aside
from tasks.work.reading_ahead import ahead
from tasks.work.recovery_state import Kept, RecoveryState, object_id

READERS = 16

_BATCH = 32
_BATCH_BYTES = 8 * 1024 * 1024
_IN_FLIGHT = 4 * READERS
_PAGES_AHEAD = 64
_MOST_REFUSED = 1000
_HELD_BYTES = 64 * 1024 * 1024
_HELD_EACH = 400
"""Memory of a stray besides its name, which is there twice."""


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
    `refused` names the first thousand of `refused_count` keys, those of the log before all others.
    `log_files`: objects with names of a log that are listed, `log_files_left` of them not brought.
    """

    fetched: int = 0
    fetched_bytes: int = 0
    unchanged: int = 0
    unchanged_bytes: int = 0
    folder_marks: int = 0
    refused_count: int = 0
    log_files: int = 0
    log_files_left: int = 0
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
        self._places = Places(folds=folder.own.folds_names())
        self._room = Room(folder)
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
        """What to bring. Of more strays than can be held the store is asked a second time."""
        held: list[_Wanted] | None = []
        held_bytes = 0
        for page in ahead(self._counted(), _PAGES_AHEAD, stop):
            for listed in page:
                path = listed.key.removeprefix(self._prefix)
                if _is_folder_mark(path, listed):
                    self.result.folder_marks += 1
                    self._drop(listed)
                elif is_of_a_log(path):
                    self.result.log_files += 1
                    yield from self._placed(_Wanted(path, listed))
                elif held is not None:
                    held.append(_Wanted(path, listed))
                    held_bytes += _HELD_EACH + 2 * len(path)
                    if held_bytes > _HELD_BYTES:
                        held = None
        for stray in self._strays_again(stop) if held is None else held:
            yield from self._placed(stray)

    def _strays_again(self, stop: Event) -> Iterator[_Wanted]:
        for page in ahead(self._reader.pages(self._prefix), _PAGES_AHEAD, stop):
            for listed in page:
                path = listed.key.removeprefix(self._prefix)
                if not _is_folder_mark(path, listed) and not is_of_a_log(path):
                    yield _Wanted(path, listed)

    def _placed(self, wanted: _Wanted) -> Iterator[_Wanted]:
        why = self._places.claim(wanted.path)
        if why is None:
            yield wanted
        else:
            self._refuse(wanted, why)
            self._drop(wanted.listed)

    def _refuse(self, wanted: _Wanted, why: Why) -> None:
        self.result.refused_count += 1
        if len(self.result.refused) < _MOST_REFUSED:
            self.result.refused.append(RefusedKey(wanted.listed.key, why))
        if is_of_a_log(wanted.path):
            self.result.log_files_left += 1

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
        self.result.log_files_left += sum(is_of_a_log(each.path) for each in batch.failed)
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
        with self._room.new_file(listed.size) as file:
            etag = self._reader.download(listed, file)
            content = file.content
            if content != found:
                if found is not None and self._stays(path, found):
                    batch.aside.append((path, set_aside(self._folder, path, found)))
                self._folder.put(file, path)
        batch.kept.append(Kept(path, object_id(etag, content.size), content.sha256))
        batch.fetched.append(content.size)

    def _stays(self, path: str, found: LocalFile) -> bool:
        """Whether a local file must not be lost: all but strays of ours, which may change."""
        return is_of_a_log(path) or self._state.made(path) != found.sha256


def _is_folder_mark(path: str, listed: Listed) -> bool:
    return not listed.size and (path.endswith("/") or not path)


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
