"""The responder scaled out, as a cluster would run it: each part apart, and any of them mortal.

Prefect's API without services, its services in a process of their own, both on PostgreSQL and on
Valkey for what they tell each other; two workers; two gateways. `replicas` has them by name: kill
one, and restart it as Kubernetes would.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deployments.lab import prefect_server, template
from deployments.lab.cache import CacheServer
from deployments.lab.environment import LOOPBACK, PROJECT, free_port
from deployments.lab.errors import LabError
from deployments.lab.memory import family
from deployments.lab.processes import Child, Processes
from deployments.lab.stack import Lab, Options
from tasks.clients.leftovers import end

API, SERVICES = "prefect-api", "prefect-services"
GATEWAYS = ("gateway", "gateway-2")
WORKERS = ("worker-1", "worker-2")

_HEARTBEATS = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Of the runs of workers: the shortest that Prefect allows."""

_PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
_CREATE_SECONDS = 60.0
_GONE_SECONDS = 5.0


@dataclass(slots=True)
class Replica:
    """One process that may die. `begin` starts it and waits for as long as it is not ready."""

    begin: Callable[[], Child]
    child: Child

    def kill(self) -> None:
        """SIGKILL to all of it, as when a node is lost: no part can still say that another died.

        A worker's runs are in sessions of their own; one that loses only its worker ends itself.
        """
        if self.child.alive:
            own = self.child.popen.pid
            os.kill(own, signal.SIGSTOP)
            left = end(family({own}) - {own}, _GONE_SECONDS)
            self.child.kill()
            if left:
                raise LabError(f"expected all of {self.child.name} to die, found {left}")

    @property
    def pids(self) -> set[int]:
        """Its process and all below it; none when it is dead."""
        return family({self.child.popen.pid}) if self.child.alive else set()

    def restart(self) -> None:
        """Another process in its place, at the same address."""
        self.child = self.begin()


class ScaledOut(Lab):
    """A lab whose responder has no part that only exists once, but for its databases."""

    def __init__(
        self,
        options: Options | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(options, progress)
        self.ports[GATEWAYS[1]] = free_port()
        self.replicas: dict[str, Replica] = {}

    @property
    def gateway_url(self) -> str:
        """A gateway that lives: the part of a Kubernetes Service."""
        living = (each for each in GATEWAYS if each in self.replicas and self._lives(each))
        return self.address_of(next(living, GATEWAYS[0]))

    def address_of(self, gateway: str) -> str:
        """The base URL of this one gateway."""
        return f"http://{LOOPBACK}:{self.ports[gateway]}"

    def _lives(self, name: str) -> bool:
        return self.replicas[name].child.alive

    def _start_server(self) -> None:
        home, port = self.path / "prefect", self.ports["prefect"]
        home.mkdir()
        self.broker = CacheServer(self.path / "broker", self.processes, name="prefect-broker")
        self.broker.start()
        dsn = self.responder.dsn(template.PREFECT_ROLE, template.PREFECT_DATABASE)
        environment = {
            **prefect_server.server_environment(port, home, dsn, migrated=True),
            **shared_by(self.broker.url),
        }
        self._run(
            API,
            partial(
                prefect_server.start_server,
                *(self.processes, port, home, environment),
                services=False,
            ),
        )
        self._run(SERVICES, partial(_start_services, self.processes, environment, home))
        self.processes.run(
            "automation",
            [sys.executable, "-m", "deployments.dead_runs"],
            environment=environment,
            directory=PROJECT,
            seconds=_CREATE_SECONDS,
        )

    def _start_responders(self) -> None:
        environment = {**self.responders_environment, **_HEARTBEATS}
        for name in WORKERS:
            begin = partial(prefect_server.start_worker, self.processes, environment, name)
            self._run(name, begin)
        with ThreadPoolExecutor(len(GATEWAYS)) as threads:  # each imports for ten seconds
            list(threads.map(self._start_gateway, GATEWAYS))
        self.gateway = self.replicas[GATEWAYS[0]].child

    def _start_gateway(self, name: str) -> None:
        url = self.address_of(name)
        environment = {
            **self.responders_environment,
            "RUNBOOK_GATEWAY__LISTEN": url.removeprefix("http://"),
        }
        self._run(
            name, partial(prefect_server.start_gateway, self.processes, environment, url, name)
        )

    def _run(self, name: str, begin: Callable[[], Child]) -> None:
        self.replicas[name] = Replica(begin, begin())


def _start_services(processes: Processes, environment: Mapping[str, str], home: Path) -> Child:
    """What the API does not do itself: events to the database, automations, late runs, leases."""
    return processes.start(
        SERVICES,
        [*_PREFECT, "server", "services", "start"],
        environment=environment,
        directory=home,
        stop_signal=signal.SIGKILL,  # what it knows is in PostgreSQL and in the broker
    )


def shared_by(url: str) -> dict[str, str]:
    """Prefect's settings for servers that are several processes and share what `url` names."""
    return {
        "PREFECT_REDIS_MESSAGING_URL": url,
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": url,
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
        "PREFECT_SERVER_DOCKET_URL": url,
    }
