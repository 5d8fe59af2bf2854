"""The warm children as their parent sees them: processes behind sockets."""

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from deployments.gateway.advance import HandOver
from deployments.gateway.outbox import P0, Row

log = logging.getLogger("gateway.dispatcher")

_RESTART_SECONDS = 2.0  # between two starts, so that a child that cannot start does not spin


@dataclass(slots=True)
class Child:
    """A child process. It is free when it has said that it is warm and has no order."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    warm: bool = False
    row: Row | None = None
    run: str = ""
    cancelled: bool = False
    kill_at: float | None = None
    _received: bytes = field(default=b"", repr=False)

    @classmethod
    def start(cls, modules: Sequence[str]) -> "Child":
        """Start a child; must be called in a thread that lives as long as the child may.

        The kernel's parent-death signal comes when the thread that forked ends.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "deployments.gateway.child"]
        try:
            with theirs:
                process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(os.getpid()), *modules],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is the gateway's to handle
                )
        except OSError:
            ours.close()
            raise
        ours.settimeout(0)
        return cls(process, ours)

    @property
    def free(self) -> bool:
        """Whether an order would start at once."""
        return self.warm and self.row is None

    @property
    def lives(self) -> bool:
        """Whether the process is there: asked of the kernel, not of what was heard."""
        return self.process.poll() is None

    def order(self, row: Row, what: HandOver, holder: str) -> None:
        """Let the child claim the run and execute it, as long as `holder` has the row."""
        self.row, self.run = row, what.run
        order = {"row": row.id, "holder": holder, **asdict(what)}
        self.channel.sendall(json.dumps(order).encode() + b"\n")

    def messages(self) -> tuple[list[dict[str, Any]], bool]:
        """What the child has said since, and whether it still lives."""
        alive = True
        try:
            while chunk := self.channel.recv(65536):
                self._received += chunk
            alive = False
        except BlockingIOError:
            pass
        except ConnectionError:
            alive = False
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines], alive

    def end_order(self) -> None:
        """Forget the order: it is done."""
        self.row, self.run = None, ""

    def terminate(self, grace_seconds: float) -> None:
        """Ask the flow to stop; `kill_if_late` makes it so."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace_seconds
            self.process.send_signal(signal.SIGTERM)

    def kill_if_late(self) -> None:
        """Kill a child that was asked to stop and has not."""
        if self.kill_at is not None and time.monotonic() > self.kill_at:
            self.process.kill()

    def bury(self) -> None:
        """Make sure that it is dead, and free what it held."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class WarmChildren:
    """As many children as wanted, replaced when they die. Iterating it is safe in any thread."""

    def __init__(
        self, wanted: int, modules: Sequence[str], selector: selectors.BaseSelector
    ) -> None:
        self._wanted = wanted
        self._modules = tuple(modules)
        self._selector = selector
        self._children: list[Child] = []
        self._next_start = 0.0

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._children))

    def __len__(self) -> int:
        return len(self._children)

    def busy(self) -> list[tuple[Row, Child]]:
        """Those that have an order, with its row."""
        return [(child.row, child) for child in self._children if child.row is not None]

    @property
    def one_is_kept(self) -> bool:
        """Whether the next one that is free is kept for P0: all others but one are at work.

        A single child is kept for nobody.
        """
        others = sum(row.priority > P0 for row, _ in self.busy())
        return self._wanted > 1 and others >= self._wanted - 1

    def keep(self) -> None:
        """Start those that are missing; in the thread that lives as long as they may."""
        now = time.monotonic()
        if now < self._next_start or len(self._children) >= self._wanted:
            return
        if any(not child.lives for child in self._children):
            return  # its socket says so in a moment
        self._next_start = now + _RESTART_SECONDS
        while len(self._children) < self._wanted:
            try:
                self.add(Child.start(self._modules))
            except OSError:  # no process or descriptor left: those that live keep their leases
                log.exception("no child could be started")
                return

    def add(self, child: Child) -> None:
        """Listen to it from now on."""
        self._children.append(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def bury(self, child: Child) -> None:
        """Forget one that is dead, or as good as that."""
        self._selector.unregister(child.channel)
        child.bury()
        self._children.remove(child)
