"""Files below a directory of a pod: listed, looked at and copied by `find`, `head` and `cat`.

Only regular files, at most four directories deep. Names are an attacker's to choose: they come
NUL separated, and go back as single arguments after `--`, never through a shell.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_plus

from tasks.clients.errors import Denied, Malformed, NotFound, Transient
from tasks.clients.pod_exec import CommandFailed, Pod, output_of
from tasks.domain.backup_listing import file_time
from tasks.domain.errors import BadInput
from tasks.sections.systems import KubernetesSettings

_DEPTH = "4"
_LISTING_BYTES = 16 * 1024 * 1024
_ADDRESS_BYTES = 4096  # of the names in one `stat`: they travel in the URL, proxies allow 8 KiB
_TIME = re.compile(r"(-?[0-9]{1,20})(\.[0-9]{1,12})?")
_SIZE = re.compile(r"[0-9]{1,18}")
_NOWHERE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PodFile:
    """A regular file; `name` below the directory, bytes that are no UTF-8 as lone surrogates."""

    name: str
    size: int
    modified: datetime


class PodFiles:
    """One directory of one pod."""

    def __init__(self, cluster: KubernetesSettings, pod: Pod, directory: str) -> None:
        self._cluster = cluster
        self._pod = pod
        self._directory = directory.rstrip("/") or "/"

    def __str__(self) -> str:
        return f"{self._pod}:{self._directory}"

    def listed(self) -> list[PodFile]:
        """Every regular file. Raises NotFound without the directory or `find`."""
        try:
            return self._listed_at_once("-printf", r"%P\0%s\0%T@\0")
        except CommandFailed as error:
            if "printf" not in error.complaint:
                raise self._explained(error) from error
        return self._listed_plainly()

    def head(self, name: str, size: int) -> bytes:
        """The file's first `size` bytes."""
        return b"".join(self._output(["head", "-c", str(size), "--", self._path(name)], size))

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        """The whole file as it comes. Raises Malformed beyond `limit` bytes."""
        return self._output(["cat", "--", self._path(name)], limit)

    def _listed_at_once(self, *how: str) -> list[PodFile]:
        fields = self._fields(self._find(*how))
        if len(fields) % 3:
            raise Malformed(f"{self}: expected name, size and time of each file, found a rest")
        return [
            PodFile(name, self._size(size), self._time(time))
            for name, size, time in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
        ]

    def _listed_plainly(self) -> list[PodFile]:
        """By a `find` without -printf (busybox): names first, then sizes and times in order."""
        try:
            found = self._fields(self._find("-print0"))
        except CommandFailed as error:
            raise self._explained(error) from error
        within = self._directory.rstrip("/") + "/"
        names = [path.removeprefix(within) for path in found]
        listed = [PodFile(name, 0, _NOWHERE) for name in names if not _sendable(name)]
        for some in _batches([name for name in names if _sendable(name)], within):
            command = ["stat", "-c", "%s %Y", "--", *(within + name for name in some)]
            lines = b"".join(self._output(command, _LISTING_BYTES)).decode("ascii", "replace")
            pairs = [line.split(" ") for line in lines.splitlines()]
            if len(pairs) != len(some) or any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004  size, time
                raise Transient(f"{self}: its files changed while they were listed: try again")
            listed += [
                PodFile(name, self._size(size), self._time(time))
                for name, (size, time) in zip(some, pairs, strict=True)
            ]
        return listed

    def _find(self, *how: str) -> bytes:
        place = self._directory.rstrip("/") + "/"  # follows the directory itself when it is a link
        command = ["find", place, "-maxdepth", _DEPTH, "-type", "f", *how]
        return b"".join(output_of(self._cluster, self._pod, command, _LISTING_BYTES))

    def _output(self, command: list[str], limit: int) -> Iterator[bytes]:
        try:
            yield from output_of(self._cluster, self._pod, command, limit)
        except CommandFailed as error:
            raise self._explained(error) from error

    def _explained(self, error: CommandFailed) -> NotFound | Denied | Malformed:
        said = error.complaint
        if "executable file not found" in said or "no such file or directory" in said.lower():
            return NotFound(f"{self}: {error}")
        if "ermission denied" in said:
            return Denied(f"{self}: the container's user may not read it: {error}")
        return Malformed(f"{self}: {error}")

    def _path(self, name: str) -> str:
        if not _sendable(name) or name.startswith("/") or ".." in name.split("/") or not name:
            raise BadInput(f"expected a file below {self}, found {ascii(name)[:200]}")
        return f"{self._directory.rstrip('/')}/{name}"

    def _fields(self, output: bytes) -> list[str]:
        if output and not output.endswith(b"\x00"):
            raise Malformed(f"{self}: expected fields that end with NUL, found a cut one")
        return [each.decode("utf-8", "surrogateescape") for each in output.split(b"\x00")[:-1]]

    def _size(self, text: str) -> int:
        if _SIZE.fullmatch(text) is None:
            raise Malformed(f"{self}: expected a file's size, found {ascii(text)[:80]}")
        return int(text)

    def _time(self, text: str) -> datetime:
        found = _TIME.fullmatch(text)
        if found is None:
            raise Malformed(f"{self}: expected a file's time, found {ascii(text)[:80]}")
        return file_time(int(found[1]))


def _sendable(name: str) -> bool:
    """Whether an argument of the API can hold the name: UTF-8, no NUL."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in name


def _batches(names: list[str], within: str) -> Iterator[list[str]]:
    batch: list[str] = []
    used = 0
    for name in names:
        needed = len(quote_plus(within + name)) + len("&command=")
        if batch and used + needed > _ADDRESS_BYTES:
            yield batch
            batch, used = [], 0
        batch.append(name)
        used += needed
    if batch:
        yield batch
