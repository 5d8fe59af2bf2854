"""pg_dump and pg_restore: into a database, out of one, and an archive as text without a server."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.clients.errors import Malformed, NotFound
from tasks.clients.postgres import connect, environment
from tasks.clients.restore_progress import Progress
from tasks.clients.server_user import server_uid
from tasks.clients.tool_process import Hear, output_of, run

_INSTALLED = Path("/usr/lib/postgresql")
_LIST_SECONDS = 60.0
_LIST_BYTES = 64 * 1024 * 1024
_SESSION = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
"""For sessions that load: what is lost by a crash is made anew, and nobody else is affected."""
_EXTENSION = re.compile(r"^\d+; \d+ \d+ (?:EXTENSION -|COMMENT - EXTENSION) (\S+) ")
_CREATABLE = """
SELECT v.name FROM pg_available_extension_versions v
 WHERE v.name = ANY(%s) AND (v.trusted OR NOT v.superuser
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
"""
_DEFINITIONS_SECONDS = 300.0


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
    told: Callable[[float], None] | None = None,
) -> list[str]:
    """Load an archive (custom, directory or tar) into the (empty) database of `dsn`, as `role`.

    A tar is read by one process whatever `jobs` says: pg_restore cannot do otherwise. What is fast
    and harmless to others is set for its sessions only. `told` hears the share that is done.
    Returns which entries were left out, because only a superuser may make them: extensions that
    are the server's business.

    Raises Malformed when the archive cannot be read, Transient when the server went away or time
    ran out, Denied when the role lacks a right; the database is then half loaded.
    """
    program = find_program("pg_restore", binaries)
    database = environment(dsn)["PGDATABASE"]
    listed = list_archive(archive, binaries=binaries)
    kept, left = _without_foreign_extensions(listed, dsn)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".list") as chosen:
        chosen.write(kept)
        chosen.flush()
        arguments = [
            str(program),
            f"--jobs={1 if is_tar(archive) else jobs}",
            "--no-owner",
            f"--role={role}",
            "--exit-on-error",
            f"--dbname={database}",
            *([f"--use-list={chosen.name}"] if left else []),
            *(["--verbose"] if told else []),
            "--",
            str(archive),
        ]
        hear = _hearing(Progress(archive, listed), told) if told else None
        run(arguments, dsn, timeout_seconds, session=_SESSION, hear=hear)
    return left


def _hearing(progress: Progress, told: Callable[[float], None]) -> Hear:
    """Tells the share that is done, as far as pg_restore and the kernel let it be known."""

    def hear(line: str, pid: int) -> None:
        progress.heard(line)
        share = progress.share(pid)
        if share is not None:
            told(share)

    return hear


def list_archive(archive: Path, *, binaries: Path | None) -> str:
    """The table of contents as `pg_restore --list` prints it. Raises Malformed for no archive."""
    program = find_program("pg_restore", binaries)
    with _read_apart(archive, [str(program), "--list"], _LIST_SECONDS, server_uid()) as out:
        listed = out.read(_LIST_BYTES)
        if out.read(1):
            raise Malformed(
                f"expected at most {_LIST_BYTES} bytes of contents in {archive.name}, found more: "
                "choose another backup"
            )
    return listed.decode(errors="replace")


@contextmanager
def _read_apart(
    archive: Path, command: list[str], timeout_seconds: float, uid: int | None
) -> Iterator[BinaryIO]:
    """What pg_restore prints of an archive that may be hostile to pg_restore itself.

    It reads as user `uid` (None: ours), so that a file which the archive names is none of ours; the
    archive comes through an open descriptor, so that this user need not pass the way to it.
    """
    if archive.is_dir():
        _open_to_others(archive, uid)
        handle = os.open(archive, os.O_RDONLY | os.O_DIRECTORY)
        where = [*command, "--format=directory", "--", f"/proc/self/fd/{handle}"]
        nothing = subprocess.DEVNULL
        try:
            with output_of(
                where, timeout_seconds, stdin=nothing, uid=uid, pass_fds=[handle]
            ) as out:
                yield out
        finally:
            os.close(handle)
    else:
        with (
            archive.open("rb") as file,
            output_of(command, timeout_seconds, stdin=file, uid=uid) as out,
        ):
            yield out


def _open_to_others(archive: Path, uid: int | None) -> None:
    """Let them read a directory of ours: nobody gets to it but through the descriptor."""
    if uid is None:
        return
    for each in (archive, *archive.iterdir()):
        found = each.lstat()
        if found.st_uid != uid and not stat.S_ISLNK(found.st_mode):
            each.chmod(stat.S_IMODE(found.st_mode) | (0o055 if each == archive else 0o044))


def write_definitions(archive: Path, target: Path, *, binaries: Path | None) -> None:
    """Write what an archive would define and grant into `target`, as SQL; runs none of it."""
    program = find_program("pg_restore", binaries)
    arguments = [str(program), "--schema-only", f"--file={target}", "--", str(archive)]
    run(arguments, "", _DEFINITIONS_SECONDS)


def is_tar(archive: Path) -> bool:
    """Whether an archive is a tar: neither a directory nor with the custom format's first bytes."""
    if archive.is_dir():
        return False
    with archive.open("rb") as file:
        return file.read(5) != b"PGDMP"


def _without_foreign_extensions(listed: str, dsn: str) -> tuple[str, list[str]]:
    """The list without extensions that only a superuser may create; and what was left out."""
    wanted = {found[1] for line in listed.splitlines() if (found := _EXTENSION.match(line))}
    if not wanted:
        return listed, []
    with connect(dsn, timeout_seconds=10) as connection:
        rows = connection.execute(_CREATABLE, (sorted(wanted),)).fetchall()
    foreign = wanted - {name for (name,) in rows}
    kept: list[str] = []
    for line in listed.splitlines(keepends=True):
        found = _EXTENSION.match(line)
        kept.append(f";{line}" if found and found[1] in foreign else line)
    return "".join(kept), [f"extension {name}" for name in sorted(foreign)]


def dump_database(dsn: str, target: Path, *, timeout_seconds: float, binaries: Path | None) -> None:
    """Write the database of `dsn` into `target` in the custom format, compressed.

    Without the book of a recovery that is not at its end: nobody else may read it, so it would keep
    every dump from being made.
    """
    program = find_program("pg_dump", binaries)
    arguments = [str(program), "--format=custom", "--compress=gzip:1", f"--file={target}"]
    arguments.append("--exclude-schema=audit_recovery")
    run(arguments, dsn, timeout_seconds)


@contextmanager
def table_as_text(
    archive: Path, table: str, *, timeout_seconds: float, binaries: Path | None
) -> Iterator[BinaryIO]:
    """public.`table` in an archive, columns and rows, as SQL text; no server is asked.

    Raises at the end as `restore_archive` does, but not when the reader has stopped before it.
    """
    program = find_program("pg_restore", binaries)
    command = [str(program), "--schema=public", f"--table={table}", "--file=-"]
    with _read_apart(archive, command, timeout_seconds, server_uid()) as out:
        yield out


@contextmanager
def archive_as_script(
    archive: Path, *, timeout_seconds: float, binaries: Path | None, uid: int | None
) -> Iterator[BinaryIO]:
    """A whole archive as SQL text; no server is asked, nothing of it is run.

    It is read as user `uid` (None: ours). Raises as `table_as_text`.
    """
    program = find_program("pg_restore", binaries)
    command = [
        *(str(program), "--no-owner", "--no-tablespaces", "--no-security-labels", "--file=-"),
    ]
    with _read_apart(archive, command, timeout_seconds, uid) as out:
        yield out
