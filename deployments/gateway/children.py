"""The warm children as their parent sees them: processes behind sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.gateway.outbox import Row


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

    def order(self, row: Row, run: str, entrypoint: str) -> None:
        """Let the child claim the run and execute it."""
        self.row, self.run = row, run
        message = json.dumps({"run": run, "entrypoint": entrypoint}).encode() + b"\n"
        self.channel.sendall(message)

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
