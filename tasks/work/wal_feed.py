"""WAL from the object store to a recovering server: fetched in bulk, ahead of what it asks for.

The server asks for one segment at a time by running `restore_command`. A program that fetches it
then, costs a start and a round trip each; here the command is a few lines of shell that take the
file from a local directory, where it lies already. Files tell both sides of each other:

    wanted/NAME   the server's: it asked for NAME just now
    ready/NAME    ours: fetched, unpacked and checked
    absent/NAME   ours: the archive does not have it; the log ends here, as far as anybody knows
    failed        ours: it should be there and is not; recovery ends at once
"""

import os
import shlex
import zlib
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import zstandard

from tasks.clients.object_store import ObjectStore
from tasks.clients.server_user import give_to_server, make_server_directory, server_uid
from tasks.domain.errors import BadInput, NotProven, RunbookError
from tasks.domain.wal import Chain, Segment, history_timeline
from tasks.domain.wal_pages import HEADER_BYTES, FirstPage, check_segment, read_first_page
from tasks.work.base_backups import WalArchive

_AHEAD_BYTES = 384 * 1024 * 1024
_KEPT_BEHIND = 2
_PARALLEL = 4
_LOOK_SECONDS = 0.005
_GZIP = b"\x1f\x8b"
SPARE_BYTES = 1024 * 1024
"""More than a segment may be around one that cannot be compressed."""

# $PPID is the server's own process, because the command is run by `exec`: when it is gone, so are
# we. 126 and above ends recovery at once; 1 says that there is no such file.
_TAKE = """\
# take a WAL file that was fetched: DIRECTORY NAME TARGET
while [ -d "/proc/$PPID" ]; do
    : > "$1/wanted/$2"
    if [ -e "$1/ready/$2" ]; then
        ln "$1/ready/$2" "$3" 2>/dev/null || cp "$1/ready/$2" "$3" || exit 126
        exit 0
    fi
    [ -e "$1/failed" ] && exit 126
    [ -e "$1/absent/$2" ] && exit 1
    sleep 0.01
done
exit 126
"""


class WalFeed:
    """Fetches the `chain` of an archive into `directory` until closed.

    `in_base`: names that the base brings along; `system`: the cluster's identifier, or 0 for that
    of the first segment. `failure` is why recovery was ended, `replayed` how many segments were
    asked for so far, `hole` the last that it asked for and that is missing before others.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        archive: WalArchive,
        chain: Chain,
        directory: Path,
        *,
        in_base: Collection[str],
        system: int,
    ) -> None:
        self.failure: RunbookError | None = None
        self.replayed = 0
        self.hole: str | None = None
        self._directory, self._archive, self._chain = directory, archive, chain
        self._in_base, self._system = frozenset(in_base), system
        self._like: FirstPage | None = None
        self._read = store.reader(bucket, archive.size + SPARE_BYTES)
        names = [each.name(archive.size) for each in chain.reachable]
        self._numbers = {name: i for i, name in enumerate(names) if name in archive.stored}
        self._stored = set(self._numbers.values())  # the first may be in the base only
        self._fetched: dict[int, Future[None]] = {}
        self._position = 0
        self._ahead = max(4, _AHEAD_BYTES // archive.size)
        self._over = Event()
        self._make_directories()
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="wal-fetch")
        self._thread = Thread(target=self._run, name="wal-feed", daemon=True)
        self._thread.start()

    @property
    def command(self) -> str:
        """The `restore_command`; % stands for itself only when doubled."""
        parts = (self._directory / "take.sh", self._directory)
        quoted = " ".join(shlex.quote(str(part)) for part in parts).replace("%", "%%")
        return f'exec /bin/sh {quoted} "%f" "%p"'

    def close(self) -> None:
        """Fetch no more."""
        self._over.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _make_directories(self) -> None:
        self._directory.mkdir(mode=0o710)
        uid = server_uid()
        if uid is not None:
            os.chown(self._directory, -1, uid)
        for name in ("ready", "absent"):
            (self._directory / name).mkdir(mode=0o750)
            if uid is not None:
                os.chown(self._directory / name, -1, uid)
        (self._directory / "incoming").mkdir(mode=0o700)
        make_server_directory(self._directory / "wanted")
        script = self._directory / "take.sh"
        script.write_text(_TAKE, encoding="ascii")
        script.chmod(0o755)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                for entry in list(os.scandir(self._directory / "wanted")):
                    with suppress(FileNotFoundError):
                        Path(entry.path).unlink()
                    self._asked_for(entry.name)
                self._look_ahead()
                self._over.wait(_LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001  the server would wait for us for ever
            self._fail(error)

    def _asked_for(self, name: str) -> None:
        """Answer one request; what is being fetched is answered by its arrival."""
        number = self._numbers.get(name)
        if number is not None:
            self._position = number
            self.replayed = max(self.replayed, number + 1)
            self._look_ahead()
            fetch = self._fetched[number]
            if fetch.done() and (error := fetch.exception()) is not None:
                self._fail(error)
        elif history_timeline(name) is not None:
            self._give_history(name)
        else:
            # The server reads ahead of what it replays: its target may lie before the hole. If
            # not, it ends at once, because nothing shows that it reached its target.
            if name not in self._in_base and self._is_in_gap(name):
                self.hole = name
            (self._directory / "absent" / Path(name).name).touch()

    def _is_in_gap(self, name: str) -> bool:
        try:
            asked = Segment.parse(name, self._archive.size)
        except BadInput:
            return False
        return any(gap.first.number <= asked.number <= gap.last.number for gap in self._chain.gaps)

    def _give_history(self, name: str) -> None:
        number = history_timeline(name)
        known = any(each.number == number for each in self._archive.timelines)
        if not known:
            (self._directory / "absent" / name).touch()
            return
        try:
            self._place(name, self._read(self._archive.stored[name].key))
        except RunbookError as error:
            self._fail(error)

    def _look_ahead(self) -> None:
        """Have fetched what comes next, forget what lies behind."""
        until = min(len(self._chain.reachable), self._position + self._ahead)
        for number in range(self._position, until):
            if number in self._stored and number not in self._fetched:
                self._fetched[number] = self._pool.submit(self._fetch, number)
        for number in [each for each in self._fetched if each < self._position - _KEPT_BEHIND]:
            if self._fetched[number].done():
                del self._fetched[number]
                name = self._chain.reachable[number].name(self._archive.size)
                (self._directory / "ready" / name).unlink(missing_ok=True)

    def _fetch(self, number: int) -> None:
        segment = self._chain.reachable[number]
        name = segment.name(self._archive.size)
        stored = self._read(self._archive.stored[name].key)
        data = unwrapped(stored, name, self._archive.size)
        page = read_first_page(data[:HEADER_BYTES], name)
        like = FirstPage(page.magic, 0, 0, self._system or page.system, self._archive.size)
        if self._like is None:
            self._like = like
        check_segment(segment, len(data), page, self._like)
        self._place(name, data)

    def _place(self, name: str, data: bytes) -> None:
        incoming = self._directory / "incoming" / name
        incoming.write_bytes(data)
        incoming.chmod(0o600)
        give_to_server(incoming)
        incoming.replace(self._directory / "ready" / name)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            if isinstance(error, RunbookError):
                self.failure = error
            else:
                self.failure = NotProven(f"expected to fetch WAL, found {error!r:.300}")
        (self._directory / "failed").touch()


def unwrapped(stored: bytes, name: str, size: int) -> bytes:
    """The segment without its compression, told by content, at most a byte more than `size`.

    Raises NotProven when it is damaged or cut off.
    """
    try:
        if stored.startswith(zstandard.FRAME_HEADER):
            with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
                return reader.read(size + 1)
        if stored.startswith(_GZIP):
            return zlib.decompressobj(wbits=31).decompress(stored, size + 1)
    except (zstandard.ZstdError, zlib.error) as error:
        raise NotProven(f"WAL segment {name} is damaged: {error!s:.100}") from error
    return stored
