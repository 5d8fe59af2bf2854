"""A server of the lab and the pods that stand for it: one runs exactly while the other does.

The server runs while a pod's container does. When all of them hang it hangs as well (SIGSTOP:
connections are taken and never answered), or is gone while its pods are still there. A container
that starts anew starts the server anew, if it is the only one or the server did not serve.
"""

import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.containers import State
from deployments.lab.kubernetes.documents import is_ready
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.processes import Child

_TIMED_OUT = "Readiness probe failed: context deadline exceeded"
_REFUSED = "Readiness probe failed: connect: connection refused"


class Ailing(StrEnum):
    """How the program in a container ails; only another container mends it."""

    HANGS = "hangs"
    GONE = "gone"


class Server(Protocol):
    """What is started and stopped: audit API, Valkey, PostgreSQL."""

    @property
    def child(self) -> Child | None:
        """The process, if it was started."""

    def start(self) -> None:
        """Start, and wait until it serves."""

    def stop(self) -> None:
        """Stop, so that it can be started again."""


@dataclass
class ServerPods:
    """The pods of one app and their server. `alone`: a new container is a new server."""

    app: str
    server: Server
    cluster: Cluster
    note: Callable[[str], None]
    alone: bool = False
    ailing: dict[str, Ailing] = field(default_factory=dict)
    """By the container's identity."""
    _container: str = ""
    _frozen: bool = False

    def beat(self) -> None:
        """Bring server and pods together."""
        running = self.running()
        self.ailing = {one: how for one, how in self.ailing.items() if one in running.values()}
        well = {uid: one for uid, one in running.items() if one not in self.ailing}
        if well and (self._frozen or not self.serves or self._is_other(well)):
            self.cluster.fail_probes(self.app, dict.fromkeys(running, _REFUSED))
            self._halt()
            self.server.start()
            self.note(f"{self.app}: started, {len(well)} of {len(running)} pods serve")
        elif not well and Ailing.HANGS in self.ailing.values():
            self._freeze()
        elif not well:
            self._halt()
        if self.alone and well:
            self._container = next(iter(well.values()))
        failing = {uid: self._why(one) for uid, one in running.items() if one in self.ailing}
        self.cluster.fail_probes(self.app, failing)

    @property
    def serves(self) -> bool:
        """Whether the server answers."""
        child = self.server.child
        return child is not None and child.alive and not self._frozen

    def running(self) -> dict[str, str]:
        """Of each pod whose containers all run, and that is not being taken away: uid, identity."""
        found: dict[str, str] = {}
        with self.cluster.store.changed:
            for pod in self.cluster.pods(self.app):
                known = self.cluster.controllers.kubelet.containers(pod).values()
                if known and all(each.state is State.RUNNING for each in known):
                    found[pod["metadata"]["uid"]] = next(iter(known)).identity
        return found

    def ready(self) -> list[Json]:
        """Its pods that take requests."""
        return [each for each in self.cluster.pods(self.app) if is_ready(each)]

    def ail(self, pods: Collection[str], how: Ailing = Ailing.HANGS) -> None:
        """The programs in these pods (by name; none: in all) hang or are gone from now on."""
        running = self.running()
        for pod in self.cluster.pods(self.app):
            head = pod["metadata"]
            if head["uid"] in running and (not pods or head["name"] in pods):
                self.ailing[running[head["uid"]]] = how

    def recover(self) -> None:
        """They serve again, without another container."""
        self.ailing.clear()

    def _is_other(self, well: dict[str, str]) -> bool:
        return self.alone and bool(self._container) and self._container not in well.values()

    def _why(self, container: str) -> str:
        return _TIMED_OUT if self.ailing[container] is Ailing.HANGS else _REFUSED

    def _freeze(self) -> None:
        child = self.server.child
        if self._frozen or child is None or not child.alive:
            return
        os.killpg(child.popen.pid, signal.SIGSTOP)
        self._frozen = True
        self.note(f"{self.app}: hangs")

    def _halt(self) -> None:
        child = self.server.child
        if child is None:
            return
        if self._frozen:
            child.kill()  # a stopped process takes no other signal
            self._frozen = False
        self.server.stop()
        self.note(f"{self.app}: stopped")
