"""Programs that end with us, with everything that they start, and within bounds."""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, cast

from tasks.clients import warden

_GONE_SECONDS = 10.0
_MEGABYTE = 1024 * 1024
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of each process that the program becomes or starts: address space, time at work, files."""

    memory_mb: int | None = None
    cpu_seconds: int | None = None
    file_mb: int | None = None

    def arguments(self) -> list[str]:
        """As the warden takes them."""
        memory = None if self.memory_mb is None else self.memory_mb * _MEGABYTE
        files = None if self.file_mb is None else self.file_mb * _MEGABYTE
        return ["-" if each is None else str(each) for each in (memory, self.cpu_seconds, files)]


@cache
def _forker(_owner: int) -> ThreadPoolExecutor:
    """Starts everything: the kernel tells of a parent's end when the *thread* ends that forked.

    So it is one thread, which lives as long as this process (and not in a forked copy of it).
    """
    return ThreadPoolExecutor(1, thread_name_prefix="forker")


def start_kept(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    uid: int | None = None,
    directory: Path = Path("/"),
    bounds: Bounds = Bounds(),
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start the program (an absolute path and arguments) as `uid`, or as we are, in `directory`.

    The process returned is its warden's: it ends as the program does, passes SIGINT and SIGQUIT on
    to it, and at SIGTERM kills all of the program's family.
    """
    script = [sys.executable, "-I", "-S", warden.__file__, str(os.getpid())]
    user = "-" if uid is None else str(uid)
    arguments = [*script, user, str(directory), *bounds.arguments(), *map(str, command)]

    def fork() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            env=dict(env),
            cwd="/",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=pass_fds,
        )

    return _forker(os.getpid()).submit(fork).result()


def printed(process: subprocess.Popen[bytes], seconds: float, limit: int) -> bytes:
    """What it prints until it ends. Raises TimeoutError after `seconds` or more than `limit` bytes.

    Then, as after any error, it is ended with all that it started.
    """
    until = time.monotonic() + seconds
    out, found = cast("IO[bytes]", process.stdout), bytearray()
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while True:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"still at work after {seconds:.0f} s")
                piece = os.read(out.fileno(), _PIECE)
                if not piece:
                    break
                found += piece
                if len(found) > limit:
                    raise TimeoutError(f"still at work after {limit} bytes of output")
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still at work after {seconds:.0f} s") from error
    finally:
        end_kept(process)
        out.close()
    return bytes(found)


def end_kept(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started, now."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GONE_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()
