"""The life of one container, step by step: created, running, waiting for its image or its turn.

No input or output: `Container.step` looks at the time and the behaviour and says what happened.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from deployments.lab.kubernetes.behaviours import Behaviour
from deployments.lab.kubernetes.clock import stamp
from deployments.lab.kubernetes.kinds import Json

_BACK_OFF = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)  # kubelet's, from the second crash on
_FORGIVEN_AFTER = 600.0
_PULL_AGAIN = 10.0
_OOM_CODE = 137
_MOST_LINES = 100_000


class State(StrEnum):
    """Where a container stands."""

    CREATING = "ContainerCreating"
    NO_IMAGE = "no image"
    RUNNING = "running"
    BACK_OFF = "CrashLoopBackOff"
    ENDED = "terminated"


@dataclass(frozen=True, slots=True)
class Happening:
    """For an event: its reason, what is said, and whether it is a warning."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    code: int
    reason: str
    started: float
    finished: float
    identity: str
    log: tuple[tuple[float, str], ...]


@dataclass(slots=True)
class Container:
    """What the kubelet knows. `wake` is when to look again."""

    name: str
    image: str
    pull_policy: str
    restarts_for_ever: bool
    since: float
    pod: str
    """As messages name it: `name_namespace(uid)`."""
    state: State = State.CREATING
    ready: bool = False
    restarts: int = 0
    last: Ended | None = None
    identity: str = ""
    log: list[tuple[float, str]] = field(default_factory=list)
    wake: float | None = None
    missing: bool = False
    _crashes: int = 0
    """In a row: a run of ten minutes makes the next one the first."""
    _probed: bool = False

    def step(self, now: float, how: Behaviour, *, missing: bool) -> Iterator[Happening]:
        """What happens up to now, one thing after the other."""
        self.missing = missing
        self.wake = None
        if self.state is State.CREATING:
            if now < self.since + how.starts_in:
                self.wake = self.since + how.starts_in
                return
            yield from self._started_or_not(now, how)
        elif self.state is State.NO_IMAGE:
            if not missing or now >= self.since + _PULL_AGAIN:
                yield from self._started_or_not(now, how)
            else:
                self.wake = self.since + _PULL_AGAIN
        elif self.state is State.BACK_OFF:
            turn = self.since + self._pause()
            if now < turn:
                self.wake = turn
                return
            yield from self._restarted(now, how)
        if self.state is State.RUNNING:
            yield from self._running(now, how)

    def waiting(self) -> Json | None:
        """Its `state.waiting`, if it waits."""
        if self.state is State.CREATING:
            return {"reason": "ContainerCreating"}
        if self.state is State.BACK_OFF:
            pause = int(self._pause())
            text = f"back-off {_minutes(pause)} restarting failed container={self.name}"
            return {"reason": "CrashLoopBackOff", "message": f"{text} pod={self.pod}"}
        if self.state is not State.NO_IMAGE:
            return None
        if self.pull_policy == "Never":
            return {"reason": "ErrImageNeverPull", "message": self._never()}
        text = f'Back-off pulling image "{self.image}"'
        return {"reason": "ImagePullBackOff", "message": text}

    def kill(self, now: float, code: int, reason: str) -> None:
        """The run ends; what comes next is seen at the next step."""
        self._crashes = 1 if now - self.since >= _FORGIVEN_AFTER else self._crashes + 1
        log = tuple(self.log)
        self.last = Ended(code, reason, self.since, now, self.identity, log)
        self.log = []
        self.since = now
        self.ready = False
        self._probed = False
        self.state = State.BACK_OFF if self.restarts_for_ever else State.ENDED

    def write(self, now: float, *lines: str) -> None:
        """To its standard output."""
        self.log += [(now, line) for line in lines]
        del self.log[:-_MOST_LINES]

    def _started_or_not(self, now: float, how: Behaviour) -> Iterator[Happening]:
        self.since = now
        if not self.missing:
            text = f'Container image "{self.image}" already present on machine'
            yield Happening("Pulled", text)
            yield from self._started(now, how)
            return
        self.state = State.NO_IMAGE
        self.wake = now + _PULL_AGAIN
        if self.pull_policy == "Never":
            yield Happening("ErrImageNeverPull", self._never(), warning=True)
            yield Happening("Failed", "Error: ErrImageNeverPull", warning=True)
        else:
            text = f'Failed to pull image "{self.image}": rpc error: code = NotFound'
            yield Happening("Failed", text, warning=True)
            yield Happening("BackOff", f'Back-off pulling image "{self.image}"')

    def _started(self, now: float, how: Behaviour) -> Iterator[Happening]:
        self.state = State.RUNNING
        self.since = now
        self.identity = f"containerd://{secrets.token_hex(32)}"
        self.write(now, *how.log)
        yield Happening("Created", f"Created container: {self.name}")
        yield Happening("Started", f"Started container {self.name}")

    def _restarted(self, now: float, how: Behaviour) -> Iterator[Happening]:
        self.restarts += 1
        yield from self._started(now, how)

    def _running(self, now: float, how: Behaviour) -> Iterator[Happening]:
        dies = how.exits_after is not None and not (how.once and self._crashes)
        if how.exits_after is not None and dies:
            end = self.since + how.exits_after
            if now >= end:
                yield from self._died(now, how)
                return
            self.wake = end
        ripe = self.since + how.ready_in
        if how.ready and now < ripe and not self.ready:
            self.wake = ripe if self.wake is None else min(ripe, self.wake)
            return
        if not how.ready and now >= ripe and (self.ready or not self._probed):
            self._probed = True
            yield Happening("Unhealthy", how.unready_because, warning=True)
        self.ready = how.ready and (self.ready or now >= ripe)

    def _died(self, now: float, how: Behaviour) -> Iterator[Happening]:
        self.write(now, *how.last_words)
        reason = "OOMKilled" if how.oom else "Completed" if how.exit_code == 0 else "Error"
        self.kill(now, _OOM_CODE if how.oom else how.exit_code, reason)
        if self.state is not State.BACK_OFF:
            return
        if self._pause() == 0:
            self.wake = now
            return
        self.wake = now + self._pause()
        text = f"Back-off restarting failed container {self.name} in pod {self.pod}"
        yield Happening("BackOff", text, warning=True)

    def _pause(self) -> float:
        return _BACK_OFF[min(max(self._crashes - 1, 0), len(_BACK_OFF) - 1)]

    def _never(self) -> str:
        return f'Container image "{self.image}" is not present with pull policy of Never'


def terminated(ended: Ended) -> Json:
    """As `state.terminated` or `lastState.terminated`."""
    return {
        "exitCode": ended.code,
        "reason": ended.reason,
        "startedAt": stamp(ended.started),
        "finishedAt": stamp(ended.finished),
        "containerID": ended.identity,
    }


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}m{seconds % 60}s" if seconds >= 60 else f"{seconds}s"  # noqa: PLR2004
