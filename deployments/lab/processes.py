"""Child processes of the lab: started so that none can outlive it, stopped in reverse order.

Three nets, because each has a hole: the kernel's parent-death signal (grandchildren do not have
it), the keeper (a process that sees our end of a pipe close and sweeps; it can be killed too), and
the sweep of the next lab in the same state directory (it comes late).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deployments.lab.environment import PROJECT
from deployments.lab.errors import LabError
from deployments.lab.state import StateDirectory
from deployments.lab.sweeping import LITTER, MARK, REGISTRY, sweep
from tasks.clients import launcher

_LAUNCHER = Path(launcher.__file__)
_TAIL_BYTES = 2000


@dataclass(slots=True)
class Child:
    """A running program. `log` holds what it printed."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals
    grace_seconds: float

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self.popen.poll() is None

    def last_words(self) -> str:
        """The end of its log, for error messages."""
        text = self.log.read_bytes()[-_TAIL_BYTES:] if self.log.exists() else b""
        return text.decode(errors="replace").strip()

    def kill(self) -> None:
        """SIGKILL to the process and its session: what a fault or an impatient stop does."""
        if self.alive:  # a number that was reaped may belong to somebody else by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def stop(self) -> None:
        """Ask to end, wait for the grace time, then kill."""
        if self.alive:
            self.popen.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(self.grace_seconds)
        self.kill()

    def wait_ready(self, probe: Callable[[], bool], seconds: float) -> None:
        """Until `probe` says yes. LabError with its last words when it dies or takes longer."""
        until = time.monotonic() + seconds
        while True:
            if not self.alive:
                raise LabError(
                    f"expected {self.name} to start, found it ended with "
                    f"{self.popen.returncode}:\n{self.last_words()}"
                )
            if probe():
                return
            if time.monotonic() > until:
                raise LabError(
                    f"expected {self.name} to be ready in {seconds:.0f} s, found it is not:\n"
                    f"{self.last_words()}"
                )
            time.sleep(0.02)


class Processes:
    """The children of one lab. Starting is safe from any thread."""

    def __init__(self, directory: StateDirectory) -> None:
        self.state = directory.path
        self._lock = directory.lock
        self._registry = self.state / REGISTRY
        self._logs = self.state / "logs"
        self._logs.mkdir(exist_ok=True)
        self._children: list[Child] = []
        self._closed = False
        # The parent-death signal comes when the *thread* that forked ends: so one thread, which
        # lives as long as we do, forks for all.
        self._forker = ThreadPoolExecutor(1, thread_name_prefix="lab-forker")
        self._keeper_pipe, self._keeper = self._start_keeper()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        uid: int | None = None,
        directory: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        grace_seconds: float = 3.0,
    ) -> Child:
        """Start a program in a session of its own, its output in `logs/<name>.log`.

        `death_signal` is what the kernel sends it when the lab dies.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            popen = self._fork(
                self._wrapped(command, uid, death_signal),
                environment,
                directory or self.state,
                output,
                subprocess.STDOUT,
            )
        child = Child(name, popen, log, stop_signal, grace_seconds)
        self._children.append(child)
        return child

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        uid: int | None = None,
        directory: Path | None = None,
        seconds: float = 60.0,
    ) -> str:
        """Run a program to its end and return what it printed. LabError when it fails."""
        popen = self._fork(
            self._wrapped(command, uid, signal.SIGKILL),
            environment,
            directory or self.state,
            subprocess.PIPE,
            subprocess.PIPE,
        )
        try:
            output, errors = popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.communicate()
            raise LabError(
                f"expected {name} to end in {seconds:.0f} s, found it running"
            ) from error
        if popen.returncode != 0:
            words = (errors or output)[-_TAIL_BYTES:].decode(errors="replace").strip()
            raise LabError(f"expected {name} to work, found exit {popen.returncode}:\n{words}")
        return output.decode()

    def leaves(self, sockets: Sequence[Path]) -> None:
        """Note sockets that a child leaves behind outside of the state directory."""
        with (self.state / LITTER).open("a", encoding="utf-8") as listed:
            listed.writelines(f"{socket}\n" for socket in sockets)

    def forget(self, child: Child) -> None:
        """No longer ours to stop: it was stopped and something else took its place."""
        self._children.remove(child)

    def pids(self) -> list[int]:
        """The living children, without their descendants."""
        return [child.popen.pid for child in self._children if child.alive]

    def stop_all(self) -> None:
        """Stop every child, the last started first, then whatever they left behind.

        Nothing starts any more: threads that are still starting parts get a LabError.
        """
        self._closed = True
        for child in reversed(list(self._children)):
            child.stop()
        self._children.clear()
        sweep(self.state)
        self._forker.shutdown()
        with contextlib.suppress(BrokenPipeError):
            os.write(self._keeper_pipe, b"stopped")
        os.close(self._keeper_pipe)
        self._keeper.wait()

    def _wrapped(
        self, command: Sequence[str | Path], uid: int | None, death: signal.Signals
    ) -> list[str]:
        user = "-" if uid is None else str(uid)
        start = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), user]
        return [*start, str(int(death)), str(self._registry), *map(str, command)]

    def _fork(
        self,
        command: list[str],
        environment: Mapping[str, str],
        directory: Path,
        output: int | IO[bytes],
        errors: int,
    ) -> subprocess.Popen[bytes]:
        if self._closed:
            raise LabError("expected a running lab, found it stopped")

        def fork() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                env={**environment, MARK: str(self.state)},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

        return self._forker.submit(fork).result()

    def _start_keeper(self) -> tuple[int, subprocess.Popen[bytes]]:
        """A process that sweeps our state directory as soon as our end of the pipe closes.

        It inherits the directory's lock, so that no new lab starts there before it has swept.
        """
        theirs, ours = os.pipe()
        # inherited by nobody else: no child may hold our end open
        keeper = subprocess.Popen(
            [sys.executable, "-m", "deployments.lab.keeper", str(self.state)],
            env={"PYTHONPATH": str(PROJECT), "PATH": os.environ.get("PATH", "")},
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock,),
        )
        os.close(theirs)
        return ours, keeper
