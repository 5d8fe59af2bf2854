"""What stands for the two pods: the lab's PostgreSQL and Valkey, asked by real programs."""

import os
import sys
from pathlib import Path

from deployments.lab.environment import LOOPBACK
from deployments.lab.kubernetes import df, redis_cli
from deployments.lab.kubernetes.programs import Program
from deployments.lab.postgres import SUPERUSER, binaries


def postgres_pod(port: int, password: str = "", user: str = SUPERUSER) -> Program:
    """`pg_isready`, `psql`, `pg_restore` and the rest, which find the server by environment."""
    return Program(
        {
            "PATH": f"{binaries()}:{os.environ['PATH']}",
            "LC_ALL": "C",
            "PGHOST": LOOPBACK,
            "PGPORT": str(port),
            "PGUSER": user,
            "PGPASSWORD": password,
        }
    )


def with_volume(program: Program, directory: Path, volume: Path) -> Program:
    """The same with a `df` of its own, which shows what the file `volume` says."""
    _install(directory, "df", df.__file__)
    known = dict(program.environment)
    known |= {"PATH": f"{directory}:{known['PATH']}", "LAB_VOLUME": str(volume)}
    return Program(known, program.prefix)


def redis_pod(directory: Path, port: int, password: str = "") -> Program:
    """`redis-cli`, written into a directory of the caller's."""
    _install(directory, "redis-cli", redis_cli.__file__)
    return Program(
        {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "LC_ALL": "C",
            "LAB_REDIS_PORT": str(port),
            "REDISCLI_AUTH": password,
        }
    )


def _install(directory: Path, name: str, source: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / name
    text = Path(source).read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable} -I\n{text}", encoding="utf-8")
    program.chmod(0o755)
