"""What stands for the two pods: the lab's PostgreSQL and Valkey, asked by real programs."""

import os
import sys
from pathlib import Path

from deployments.lab.environment import LOOPBACK
from deployments.lab.kubernetes import redis_cli
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


def redis_pod(directory: Path, port: int, password: str = "") -> Program:
    """`redis-cli`, written into a directory of the caller's."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "redis-cli"
    source = Path(redis_cli.__file__).read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable} -I\n{source}", encoding="utf-8")
    program.chmod(0o755)
    return Program(
        {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "LC_ALL": "C",
            "LAB_REDIS_PORT": str(port),
            "REDISCLI_AUTH": password,
        }
    )
