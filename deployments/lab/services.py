"""The small Python services of the patient: audit API, writer, users, chat, the sealer's backup.

Each is a process of its own; the backup ends by itself.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.lab.environment import LOOPBACK, clean_environment, free_port
from deployments.lab.postgres import new_password
from deployments.lab.processes import Child, Processes
from deployments.lab.prometheus import answers
from deployments.lab.writer import Acknowledged, acknowledged

_START_SECONDS = 60.0  # imports take a second when the machine is idle, ten when it is not
_JOB_SECONDS = 300.0


@dataclass(slots=True)
class Service:
    """`python -m deployments.lab.<module>` on a port of its own, with a token of its own."""

    name: str
    module: str
    processes: Processes
    variables: dict[str, str] = field(default_factory=dict)
    probe: str = "/health"
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=new_password)
    child: Child | None = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers below 500: a database that is away is an answer too."""
        prefix = f"LAB_{self.name.upper()}"
        self.child = self.processes.start(
            self.name,
            [sys.executable, "-m", f"deployments.lab.{self.module}"],
            environment={
                **clean_environment(),
                **self.variables,
                f"{prefix}_PORT": str(self.port),
                f"{prefix}_TOKEN": self.token,
            },
        )
        self.child.wait_ready(lambda: answers(f"{self.url}{self.probe}"), _START_SECONDS)

    def stop(self) -> None:
        """Stop it, so that it can be started again on the same port."""
        if self.child is not None:
            self.child.stop()
            self.processes.forget(self.child)
            self.child = None


@dataclass(slots=True)
class Writer:
    """The component that never stops reporting events; `log` is what it was told is written."""

    processes: Processes
    api: Service
    log: Path
    rate: int
    seed: int
    child: Child | None = None

    def start(self) -> None:
        """Start; the first batch goes out as soon as Python is up."""
        self.child = self.processes.start(
            "writer",
            [sys.executable, "-m", "deployments.lab.writer"],
            environment={
                **clean_environment(),
                "LAB_API_URL": self.api.url,
                "LAB_API_TOKEN": self.api.token,
                "LAB_WRITER_LOG": str(self.log),
                "LAB_WRITER_RATE": str(self.rate),
                "LAB_SEED": str(self.seed + 1),
            },
        )

    def stop(self) -> None:
        """End between two batches: everything acknowledged is in the log."""
        if self.child is not None:
            self.child.stop()
            self.processes.forget(self.child)
            self.child = None

    def acknowledged(self) -> list[Acknowledged]:
        """What it was told is written, so far."""
        return acknowledged(self.log)


@dataclass(slots=True)
class Users:
    """Those who read: `rate` requests a second at the audit API, whatever it answers."""

    processes: Processes
    api: Service
    rate: float
    child: Child | None = None

    def start(self) -> None:
        """Start; the first request goes out as soon as Python is up."""
        self.child = self.processes.start(
            "users",
            [sys.executable, "-m", "deployments.lab.users"],
            environment={
                **clean_environment(),
                "LAB_API_URL": self.api.url,
                "LAB_API_TOKEN": self.api.token,
                "LAB_USERS_RATE": str(self.rate),
            },
        )


def sealers_job(processes: Processes, module: str, variables: Mapping[str, str]) -> str:
    """Run `python -m deployments.lab.<module>` as the sealer; the last line that it printed."""
    printed = processes.run(
        f"the sealer's {module}",
        [sys.executable, "-m", f"deployments.lab.{module}"],
        environment={**clean_environment(), **variables},
        seconds=_JOB_SECONDS,
    )
    return printed.strip().rpartition("\n")[2]
