"""Prefect on the responder's PostgreSQL: the server, one process worker, and our gateway.

Importing Prefect takes seconds of processor time, so nothing here imports it: each part is a
process of its own.
"""

import json
import signal
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deployments.lab.environment import LOOPBACK, PROJECT, clean_environment
from deployments.lab.processes import Child, Processes
from deployments.lab.prometheus import answers

POOL = "responder"

_SERVER_SECONDS = 120.0  # a server on an empty database migrates first, on a busy machine
_GATEWAY_SECONDS = 120.0  # as of the server
_DEPLOY_SECONDS = 180.0


def client_environment(port: int, home: Path) -> dict[str, str]:
    """What flows, the worker and the gateway need to know of the server."""
    return {
        "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_CLI_COLORS": "false",
        "DO_NOT_TRACK": "1",
    }


def server_environment(port: int, home: Path, dsn: str, *, migrated: bool) -> dict[str, str]:
    """What the server's own processes need. `dsn` is of the database that is Prefect's own.

    `migrated` is for a copy of the template: nothing to migrate, no block types to register.
    """
    first_time = "false" if migrated else "true"
    return {
        **clean_environment(),
        **client_environment(port, home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": dsn.replace(
            "postgresql://", "postgresql+asyncpg://", 1
        ),
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": first_time,
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_API_BLOCKS_REGISTER_ON_START": first_time,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # no schedules: a copy of an old template would begin with all that is late by then
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    }


def start_server(
    processes: Processes,
    port: int,
    home: Path,
    environment: Mapping[str, str],
    *,
    services: bool = True,
) -> Child:
    """Start the API and UI and wait for them. Without `services` those run somewhere else."""
    server = processes.start(
        "prefect-server",
        [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(port)),
            *(() if services else ("--no-services",)),
        ],
        environment=environment,
        directory=home,
        stop_signal=signal.SIGKILL,  # what it knows is in PostgreSQL
    )
    server.wait_ready(lambda: answers(f"http://{LOOPBACK}:{port}/api/health"), _SERVER_SECONDS)
    return server


def deploy(processes: Processes, port: int, home: Path) -> None:
    """Make the work pool and, where there is a prefect.yaml, every deployment in it."""
    environment = {**clean_environment(), **client_environment(port, home)}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    processes.run(
        "prefect work-pool create",
        [*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"],
        environment=environment,
        seconds=_DEPLOY_SECONDS,
    )
    if (PROJECT / "prefect.yaml").exists():
        processes.run(
            "prefect deploy",
            [*prefect, "deploy", "--all", "--prefect-file", str(PROJECT / "prefect.yaml")],
            environment=environment,
            directory=PROJECT,
            seconds=_DEPLOY_SECONDS,
        )


def start_worker(processes: Processes, environment: Mapping[str, str], name: str = "lab") -> Child:
    """The process worker, for schedules and the UI's own runs. It polls; nobody waits for it."""
    return processes.start(
        "prefect-worker",
        [
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", POOL, "--type", "process", "--name", name, "--limit", "2"),
        ],
        environment={**clean_environment(), **environment},
        directory=PROJECT,
        stop_signal=signal.SIGKILL,  # only the end of the lab stops it
    )


def start_gateway(
    processes: Processes, environment: Mapping[str, str], url: str, name: str = "gateway"
) -> Child:
    """Our service with its warm children; ready when it answers."""
    gateway = processes.start(
        name,
        [sys.executable, "-m", "deployments.gateway"],
        environment={**clean_environment(), **environment},
        directory=PROJECT,
        grace_seconds=8.0,
    )
    gateway.wait_ready(lambda: _is_complete(f"{url}/readyz"), _GATEWAY_SECONDS)
    return gateway


def _is_complete(url: str) -> bool:
    """Whether the gateway would start a run at once."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:  # noqa: S310  our own, on loopback
            return bool(json.load(answer)["complete"])
    except (OSError, ValueError, KeyError):
        return False
