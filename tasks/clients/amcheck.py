"""pg_amcheck: whether tables and B-tree indexes are what PostgreSQL itself would have written."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients.dump_tools import find_program
from tasks.clients.errors import NotFound, Transient
from tasks.clients.kept_process import Bounds, printed, start_kept
from tasks.clients.postgres import connect, environment

_JOBS = 2
_MOST_FINDINGS = 100
_FINDING_LIMIT = 300
_OUTPUT_BYTES = 64 * 1024 * 1024
_COMPLAINT_BYTES = 4096
_COMPLAINTS_MB = 16
_MEMORY_MB = 4096
_CORRUPT = 2  # exit status of pg_amcheck
_USABLE = """
SELECT coalesce(bool_and(has_function_privilege(p.oid, 'EXECUTE')), false), count(*)
  FROM pg_extension e
  JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                  AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
  JOIN pg_proc p ON p.oid = d.objid AND p.proname IN ('verify_heapam', 'bt_index_check')
 WHERE e.extname = 'amcheck'
"""
_INSTALL = "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog"
_MAY_INSTALL = """
SELECT rolsuper AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')
  FROM pg_roles WHERE rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """`findings` in pg_amcheck's words; `skipped` says why nothing was checked, else empty."""

    findings: tuple[str, ...] = ()
    skipped: str = ""


def check(dsn: str, *, install: bool, binaries: Path | None, timeout_seconds: float) -> Checked:
    """Check every table and B-tree index of the database; nothing but locks for reading is taken.

    `install`: make the extension where it lacks and we may, in a database that is thrown away.
    Raises Transient when time ran out.
    """
    with connect(dsn, timeout_seconds=10) as connection:
        reason = _unusable(connection, install=install)
    if reason:
        return Checked(skipped=reason)
    try:
        program = find_program("pg_amcheck", binaries)
    except NotFound as error:
        return Checked(skipped=str(error))
    command = [str(program), f"--jobs={_JOBS}", "--no-password", environment(dsn)["PGDATABASE"]]
    with tempfile.TemporaryFile() as complaints:
        process = start_kept(
            command,
            env={"PATH": os.defpath, **environment(dsn), "LC_ALL": "C", "PGAPPNAME": "runbook"},
            stdout=subprocess.PIPE,
            stderr=complaints,
            bounds=Bounds(_MEMORY_MB, int(timeout_seconds) + 1, _COMPLAINTS_MB),
        )
        try:
            found = printed(process, timeout_seconds, _OUTPUT_BYTES).decode(errors="replace")
        except TimeoutError as error:
            raise Transient(
                f"expected pg_amcheck to end within {timeout_seconds:.0f} s, found it {error}"
            ) from error
        if process.returncode == _CORRUPT:
            return Checked(_findings(found))
        if process.returncode == 0:
            return Checked()
        complaints.seek(0)
        said = complaints.read(_COMPLAINT_BYTES).decode(errors="replace")
    return Checked(skipped=f"pg_amcheck failed: {' '.join(said.split())[:_FINDING_LIMIT]}")


def _unusable(connection: Connection[TupleRow], *, install: bool) -> str:
    row = connection.execute(_USABLE).fetchone()
    usable, there = row if row is not None else (False, 0)
    if usable:
        return ""
    may = connection.execute(_MAY_INSTALL).fetchone()
    if install and may is not None and may[0]:
        connection.execute(_INSTALL)
        return ""
    if there:
        return "the extension amcheck is there, but its functions are not granted to this role"
    return (
        "the extension amcheck is not installed and this role may not install it: a superuser can, "
        "and grant its functions; the drill checks the same backup with it"
    )


def _findings(said: str) -> tuple[str, ...]:
    """One finding per relation and its message, which pg_amcheck prints on a line of its own."""
    found: list[str] = []
    for line in said.splitlines():
        if line.startswith((" ", "\t")) and found:
            found[-1] = f"{found[-1]} {line.strip()}"[:_FINDING_LIMIT]
        elif line.strip() and len(found) < _MOST_FINDINGS:
            found.append(line.strip()[:_FINDING_LIMIT])
    return tuple(found)
