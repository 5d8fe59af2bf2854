"""Valkey servers of their own, with the configuration that a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr

from deployments.lab.cache import CacheServer
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tasks.sections.systems import CacheSettings


@contextmanager
def valkey(path: Path) -> Iterator[CacheServer]:
    """One that runs."""
    directory = StateDirectory.take(path)
    processes = Processes(directory)
    server = CacheServer(path / "cache", processes)
    try:
        server.start()
        yield server
    finally:
        processes.stop_all()
        directory.release()


def configure(server: CacheServer, **settings: str) -> None:
    with redis.Redis.from_url(server.url) as admin:
        for name, value in settings.items():
            admin.config_set(name.replace("_", "-"), value)


def settings_for(server: CacheServer, **more: Any) -> CacheSettings:
    return CacheSettings(url=SecretStr(server.url), timeout_seconds=1.0, **more)
