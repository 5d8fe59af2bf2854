"""pg_dump and pg_restore, run as processes: argument lists, time limits, no password in sight.

The connection travels in libpq's environment variables, because arguments are readable by every
user of the machine. The environment holds nothing else of ours.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.clients.postgres import environment

_INSTALLED = Path("/usr/lib/postgresql")
_EXCERPT = 1000
_TRANSIENT = ("could not connect", "connection to server", "server closed the connection")
_DAMAGED = (
    "does not appear to be a valid archive",
    "could not read from input file",
    "unexpected end of file",
    "could not uncompress",
    "unexpected data",
    "corrupt",
)


def find_program(name: str, directory: Path | None) -> Path:
    """The program in `directory`; without one the newest installed, else the one on PATH.

    Raises NotFound, saying where it was looked for.
    """
    if directory is not None:
        places = [directory / name]
    else:
        versions = [each for each in _INSTALLED.glob("*/bin") if each.parent.name.isdigit()]
        versions.sort(key=lambda each: int(each.parent.name), reverse=True)
        on_path = shutil.which(name)
        places = [each / name for each in versions] + ([Path(on_path)] if on_path else [])
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise NotFound(
        f"expected the program {name} in {directory or f'{_INSTALLED}/*/bin or on PATH'}, found "
        "none: install the PostgreSQL client or set RUNBOOK_DATABASE__CLIENT_BINARIES"
    )


def restore_archive(
    archive: Path,
    dsn: str,
    *,
    role: str,
    jobs: int,
    timeout_seconds: float,
    binaries: Path | None,
) -> None:
    """Load a custom-format archive into the (empty) database of `dsn`, as `role`.

    Raises Malformed when the archive cannot be read, Transient when the server went away or time
    ran out, Denied when the role lacks a right; the database is then half loaded.
    """
    program = find_program("pg_restore", binaries)
    database = environment(dsn)["PGDATABASE"]
    arguments = [
        str(program),
        f"--jobs={jobs}",
        "--no-owner",
        f"--role={role}",
        "--exit-on-error",
        f"--dbname={database}",
        "--",
        str(archive),
    ]
    _run(arguments, dsn, timeout_seconds)


def dump_database(dsn: str, target: Path, *, timeout_seconds: float, binaries: Path | None) -> None:
    """Write the database of `dsn` into `target` in the custom format, compressed."""
    program = find_program("pg_dump", binaries)
    arguments = [str(program), "--format=custom", "--compress=gzip:1", f"--file={target}"]
    _run(arguments, dsn, timeout_seconds)


def _run(arguments: list[str], dsn: str, timeout_seconds: float) -> None:
    """Run to the end or kill the whole group: `pg_restore --jobs` has children of its own."""
    inherited = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ
    }
    process = subprocess.Popen(
        arguments,
        env={**inherited, **environment(dsn), "LC_ALL": "C", "PGAPPNAME": "runbook"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    program = Path(arguments[0]).name
    try:
        _, complaint = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise Transient(
            f"expected {program} to end within {timeout_seconds:.0f} s, found it still at work: "
            "stopped; look at the server's load, then try again"
        ) from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        raise _failure(program, process.returncode, complaint.decode(errors="replace"))


def _failure(program: str, status: int, complaint: str) -> ClientError:
    text = " ".join(complaint.split())[:_EXCERPT]
    message = f"expected {program} to succeed, found status {status}: {text}"
    if any(mark in complaint for mark in _DAMAGED):
        return Malformed(f"{message}; choose another backup")
    if "permission denied" in complaint or "must be owner" in complaint:
        return Denied(f"{message}; grant it and try again")
    if any(mark in complaint for mark in _TRANSIENT):
        return Transient(message)
    return Malformed(message)
