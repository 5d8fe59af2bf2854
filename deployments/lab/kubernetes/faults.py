"""The faults that can be set on a simulated cluster: of its pods, and of its API server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.containers import State
from deployments.lab.kubernetes.controllers import Controllers
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.misbehaviour import Misbehaviour, Trouble
from deployments.lab.kubernetes.service import Service
from deployments.lab.kubernetes.serving import Server
from deployments.lab.kubernetes.store import Store


class PodFaults:
    """Pods are meant by app (`celery-workers`) or by a pattern of names (`*-pod`)."""

    __slots__ = ()
    store: Store
    controllers: Controllers
    clock: Clock
    pods: Callable[[str], list[Json]]

    def image_is_missing(self, image: str) -> None:
        """Nobody can start a container of it any more."""
        with self.store.changed:
            self.controllers.behaviours.missing.add(image)

    def image_is_there(self, image: str) -> None:
        """Those that wait for it start."""
        with self.store.changed:
            self.controllers.behaviours.missing.discard(image)
            self.controllers.kubelet.look_again()
            self.controllers.settle()

    def behave(self, who: str, **how: Any) -> None:  # noqa: ANN401  Behaviour's own fields
        """Change how pods behave, those that are and those to come: the fields of Behaviour."""
        with self.store.changed:
            found = self.controllers.behaviours.by_pod
            found[who] = {**found.pop(who, {}), **how}
            self.controllers.kubelet.look_again()
            self.controllers.settle()

    def image_behaves(self, image: str, **how: Any) -> None:  # noqa: ANN401  Behaviour's own fields
        """The same for every container of an image: a bad release."""
        with self.store.changed:
            found = self.controllers.behaviours.by_image
            found[image] = {**found.get(image, {}), **how}
            self.controllers.kubelet.look_again()
            self.controllers.settle()

    def recover(self, who: str) -> None:
        """As before any `behave`."""
        with self.store.changed:
            self.controllers.behaviours.by_pod.pop(who, None)
            self.controllers.kubelet.look_again()
            self.controllers.settle()

    def crash_loop(
        self, who: str, *, after: float = 2.0, code: int = 1, last_words: Sequence[str] = ()
    ) -> None:
        """They exit again and again."""
        words = tuple(last_words)
        self.behave(who, exits_after=after, exit_code=code, oom=False, last_words=words)

    def kill_for_memory(self, who: str, *, after: float = 2.0, once: bool = False) -> None:
        """The kernel kills them for their memory."""
        self.behave(who, exits_after=after, oom=True, once=once)

    def not_ready(self, who: str, because: str = "") -> None:
        """Their readiness probe fails."""
        self.behave(who, ready=False, **({"unready_because": because} if because else {}))

    def fail_probes(self, app: str, failing: Mapping[str, str]) -> None:
        """Of an app's pods the readiness probes of these fail (uid, why), and of no others."""
        with self.store.changed:
            if self.controllers.behaviours.probed.get(app, {}) == failing:
                return
            self.controllers.behaviours.probed[app] = dict(failing)
            self.controllers.kubelet.look_again()
            self.controllers.settle()

    def file_systems_wait_for_pods(self) -> None:
        """A claim that is enlarged gets its room only when another pod mounts it."""
        with self.store.changed:
            self.controllers.volumes.wait_for_pods = True

    def pending(
        self, who: str, because: str = "0/1 nodes are available: 1 Insufficient cpu."
    ) -> None:
        """No node takes those that are still to come."""
        self.behave(who, pending=because)

    def uses(self, who: str, *, cpu: str, memory: str) -> None:
        """What the metrics say of each container."""
        self.behave(who, cpu=cpu, memory=memory)

    def log(self, who: str, *lines: str, container: str = "") -> None:
        """More lines in the logs of running containers."""
        with self.store.changed:
            for pod in self.pods(who):
                for name, each in self.controllers.kubelet.containers(pod).items():
                    if each.state is State.RUNNING and container in {"", name}:
                        each.write(self.clock.seconds(), *lines)


class ApiFaults:
    """What clients of the API server have to live with."""

    __slots__ = ()
    store: Store
    controllers: Controllers
    service: Service
    server: Server

    def misbehave(
        self,
        trouble: Trouble,
        where: str = "",
        *,
        seconds: float = 1.0,
        code: int = 503,
        times: int = 0,
    ) -> None:
        """Requests whose `METHOD path?query` contains `where` meet it, all or the next `times`."""
        self.server.misbehave(Misbehaviour(trouble, where, seconds, code, times))

    def recover_api(self) -> None:
        """No trouble any more."""
        self.server.behave()

    def take_metrics_away(self) -> None:
        """metrics.k8s.io is not served: the plain 404."""
        with self.store.changed:
            self.controllers.usage.present = False

    def bring_metrics_back(self) -> None:
        """It is served again."""
        with self.store.changed:
            self.controllers.usage.present = True

    def compact(self) -> None:
        """Forget all older versions: watches and pages of before get 410."""
        with self.store.changed:
            self.store.forget()

    def send_bookmarks(self) -> None:
        """To every watch that allows them, now."""
        self.service.watches.mark()

    def cut_watches(self) -> None:
        """Every watch ends before its time, as when the server prefers to start it anew."""
        self.service.watches.cut()

    def drop_connections(self) -> None:
        """Every open connection breaks off, as when the server is restarted."""
        self.server.close_connections()

    @property
    def asked(self) -> list[str]:
        """`METHOD path?query` of every request so far."""
        return self.server.asked
