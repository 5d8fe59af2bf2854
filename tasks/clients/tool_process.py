"""PostgreSQL's programs as processes: bounded in time, nothing left running, errors translated.

The connection travels in libpq's environment variables, because arguments are readable by every
user of the machine. The environment holds nothing else of ours.
"""

import os
import re
import select
import selectors
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from tasks.clients.errors import ClientError, Denied, Malformed, Transient
from tasks.clients.kept_process import Bounds, end_kept, start_kept
from tasks.clients.postgres import environment

_EXCERPT = 1000
_LINES = 200
_PIECE = 64 * 1024
_LOOK_SECONDS = 0.5
_MEMORY_MB = 4096  # address space: libraries and threads count, and a large table of contents
_COMPLAINTS_MB = 16
_WHY = re.compile(r"\b(?:error|fatal|warning|detail|hint):", re.IGNORECASE)
_ROW = re.compile(r"\s*(?:pg_\w+: )?(?:detail|context|hint|command was|query was):", re.IGNORECASE)
_VALUE = re.compile(r": \".*")  # a type complains of what it cannot read by quoting it
_TRANSIENT = ("could not connect", "connection to server", "server closed the connection")
_DAMAGED = (
    "does not appear to be a valid archive",
    "could not read from input file",
    "unexpected end of file",
    "could not uncompress",
    "unexpected data",
    "corrupt",
)

Hear = Callable[[str, int], None]
"""Given each line that a program says, or an empty one now and then, and its process id."""


class ProgramFailed(Malformed):
    """A program's own failure; `complaint` is what it said, without data of rows."""

    def __init__(self, message: str, complaint: str) -> None:
        super().__init__(message)
        self.complaint = complaint


@contextmanager
def output_of(
    arguments: list[str],
    timeout_seconds: float,
    *,
    stdin: BinaryIO | int,
    uid: int | None,
    pass_fds: Sequence[int] = (),
    dsn: str = "",
) -> Iterator[BinaryIO]:
    """What a program prints, as it prints it. Its own failure is raised, and first.

    `dsn`: the server that it is to ask; without one it is told of none.

    When it fails its output ends early, so an error of the reader may only follow from that. It is
    ended as soon as the reader stops, and bounded in memory and in what it complains. Raises
    Transient when time ran out.
    """
    with tempfile.TemporaryFile() as complaints:
        process = start_kept(
            arguments,
            env={**inherited(), **(_asking(dsn) if dsn else {}), "LC_ALL": "C"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=complaints,
            uid=uid,
            directory=Path.cwd(),
            bounds=Bounds(_MEMORY_MB, int(timeout_seconds) + 1, _COMPLAINTS_MB),
            pass_fds=pass_fds,
        )
        out = cast("BufferedReader", process.stdout)
        timed_out = threading.Event()
        late = threading.Timer(timeout_seconds, _end_late, (process, timed_out))
        late.start()
        stopped = True
        error: Exception | None = None
        try:
            try:
                yield out
            except Exception as raised:  # noqa: BLE001  raised again below
                error = raised
            stopped = not _has_ended(out)
            if not stopped:
                process.wait()
        finally:
            late.cancel()
            end_kept(process)
            out.close()
        if timed_out.is_set():
            raise _too_long(Path(arguments[0]).name, timeout_seconds) from error
        if process.returncode != 0 and not stopped:
            complaints.seek(0)
            text = complaints.read(_EXCERPT * 4).decode(errors="replace")
            raise failure(Path(arguments[0]).name, process.returncode, text) from error
        if error is not None:
            raise error


def _end_late(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    process.terminate()


def _has_ended(out: BufferedReader) -> bool:
    """Whether its output is read to the end, which a reader may not have waited for."""
    ready, _, _ = select.select([out], [], [], 0)
    return bool(ready) and not out.peek(1)


def _too_long(program: str, seconds: float) -> Transient:
    return Transient(
        f"expected {program} to end within {seconds:.0f} s, found it still at work: "
        "stopped; look at the server's load, then try again"
    )


def _asking(dsn: str) -> dict[str, str]:
    return {**environment(dsn), "PGAPPNAME": "runbook"}


def inherited() -> dict[str, str]:
    """What a program needs of our own environment."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def run(
    arguments: list[str],
    dsn: str,
    timeout_seconds: float,
    *,
    session: str = "",
    hear: Hear | None = None,
) -> None:
    """Run to the end, or end it with its children: `pg_restore --jobs` has some of its own.

    `session`: settings for its sessions, as `-c name=value`. Raises Transient when time ran out,
    and what `failure` makes of an exit status other than 0.
    """
    process = start_kept(
        arguments,
        env={
            **inherited(),
            **environment(dsn),
            "LC_ALL": "C",
            "PGAPPNAME": "runbook",
            "PGOPTIONS": session,
        },
        stderr=subprocess.PIPE,
        directory=Path.cwd(),
        bounds=Bounds(_MEMORY_MB, int(timeout_seconds) + 1),
    )
    program = Path(arguments[0]).name
    until = time.monotonic() + timeout_seconds
    said = deque[str](maxlen=_LINES)  # the last lines say why; before them --verbose chatters
    try:
        for line in _lines_until(process, until):
            if line:
                said.append(line)
            if hear is not None:
                hear(line, process.pid)
        process.wait(max(0.1, until - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        raise _too_long(program, timeout_seconds) from error
    finally:
        end_kept(process)
        cast("BufferedReader", process.stderr).close()
    if process.returncode != 0:
        complaints = [line for line in said if _WHY.search(line)] or list(said)
        raise failure(program, process.returncode, "\n".join(complaints))


def _lines_until(process: subprocess.Popen[bytes], until: float) -> Iterator[str]:
    """What it writes to stderr, by line; an empty line now and then while it writes nothing.

    Raises TimeoutError when the time is over.
    """
    stderr = cast("BufferedReader", process.stderr)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stderr, selectors.EVENT_READ)
        while True:
            if time.monotonic() > until:
                raise TimeoutError
            if not selector.select(min(_LOOK_SECONDS, max(0.0, until - time.monotonic()))):
                yield ""
                continue
            chunk = stderr.read1(_PIECE)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_PIECE:]
            for line in lines:
                yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def failure(program: str, status: int, complaint: str) -> ClientError:
    """Our error for what a program complained of before it ended, without data of rows."""
    kept = [_VALUE.sub(': "..."', line) for line in complaint.splitlines() if not _ROW.match(line)]
    text = " ".join(" ".join(kept).split())[:_EXCERPT]
    message = f"expected {program} to succeed, found status {status}: {text}"
    if any(mark in complaint for mark in _DAMAGED):
        return ProgramFailed(f"{message}; choose another backup", text)
    if "permission denied" in complaint or "must be owner" in complaint:
        return Denied(f"{message}; grant it and try again")
    if any(mark in complaint for mark in _TRANSIENT):
        return Transient(message)
    return ProgramFailed(message, text)
