"""Unpack a base backup's tar, as it streams in, into a directory that nobody else writes to.

The tar is hostile until its files are checked against the signed manifest: `domain.tar_headers`
lets only plain files and directories inside the target through, and the bytes are bounded.
"""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tasks.clients.server_user import give_to_server
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.tar_headers import BLOCK_BYTES, Member, read_header

_DIRECTORIES = 10_000  # members that no manifest lists: one for each database, and a few


class _Source:
    """A stream of pieces, read by numbers of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def take(self, most: int) -> memoryview:
        """Up to `most` of the next bytes without copying; empty at the end."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return memoryview(b"")
            self._piece = memoryview(following)
        taken, self._piece = self._piece[:most], self._piece[most:]
        return taken

    def exactly(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes. Raises BadInput when the stream ends before."""
        while size:
            taken = self.take(size)
            if not taken:
                raise BadInput("expected the rest of a file, found the end: the tar is cut off")
            size -= len(taken)
            yield taken


def unpack(
    content: Iterator[bytes],
    directory: Path,
    *,
    limit: int,
    files: int,
    leave_out: Collection[str] = (),
    tell: Callable[[int], None] | None = None,
) -> int:
    """Write the tar's files into `directory`, the server's own; the bytes of them all.

    `leave_out`: paths that are read and not written. `limit`: bytes of all files together, `files`
    how many of them; `tell` is given the bytes so far. Raises NotProven when the tar is damaged,
    would write elsewhere, or holds more; what was written by then stays for the caller to remove.
    """
    source = _Source(content)
    total = members = 0
    try:
        while (member := _next(source)) is not None:
            total, members = total + member.padded, members + 1
            _require_bounded(total, members, limit, files)
            _write(source, member, directory, leave_out)
            if tell is not None:
                tell(total)
        while source.take(1 << 20):  # so that a layer around it is checked to its end
            pass
    except (BadInput, FileExistsError, NotADirectoryError) as error:
        raise NotProven(
            f"backup corrupt: {error}: choose an older backup; production is untouched"
        ) from error
    return total


def _require_bounded(total: int, members: int, limit: int, files: int) -> None:
    if total > limit:
        raise BadInput(f"expected at most {limit} bytes in it, found more")
    if members > files + _DIRECTORIES:
        raise BadInput(f"expected at most {files} files in it, found more")


def _next(source: _Source) -> Member | None:
    return read_header(b"".join(source.exactly(BLOCK_BYTES)))


def _write(source: _Source, member: Member, directory: Path, leave_out: Collection[str]) -> None:
    path = directory.joinpath(*member.parts)
    content = source.exactly(member.size)
    if "/".join(member.parts) in leave_out:
        for _ in content:
            pass
    elif member.is_directory:
        _make_directory(path, directory)
    else:
        _make_directory(path.parent, directory)
        # never through a link, never over a file that is there
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as file:
            for piece in content:
                file.write(piece)
        give_to_server(path)
    for _ in source.exactly(member.padded - member.size):
        pass


def _make_directory(path: Path, top: Path) -> None:
    if path == top or path.is_dir():
        return
    _make_directory(path.parent, top)
    path.mkdir(mode=0o700)
    give_to_server(path)
