"""Programs in pods: v4 and v5.channel.k8s.io over a websocket, with real programs of this host.

A message begins with its channel: 1 standard output, 2 standard error, 3 the Status at the end;
v5 says on 255 which channel was closed. As in a real cluster the program goes on when the client
leaves. Standard input is not passed on: the runbook's commands read none.
"""

import contextlib
import json
import os
import selectors
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.requests import Request

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_PIECE = 32 * 1024  # of kubelet's copying
_CLOSES_IN = 2.0


@dataclass(frozen=True, slots=True)
class Program:
    """What stands for a pod's container: its environment, and what comes before each command.

    Programs are found on the environment's PATH; there is never a shell.
    """

    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    )
    prefix: tuple[str, ...] = ()


@dataclass
class Programs:
    """What runs in which pod (by the pod's name); tests read `commands` and set the faults."""

    by_pod: dict[str, Program] = field(default_factory=dict)
    versions: tuple[str, ...] = (V5, V4)
    commands: list[list[str]] = field(default_factory=list)
    cut_after: int | None = None
    """Bytes of standard output after which the connection breaks."""
    silent: bool = False
    redirect: str = ""
    """Where a handshake is sent instead."""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restore(self) -> None:
        """Each pod with this host's programs, no fault, and nothing run so far."""
        self.by_pod = {name: Program() for name in self.by_pod}
        self.versions = (V5, V4)
        self.commands.clear()
        self.cut_after, self.silent, self.redirect = None, False, ""

    def running(self) -> int:
        """How many programs have not ended."""
        return sum(each.poll() is None for each in self._running)

    def end(self) -> None:
        """Kill what still runs."""
        with self._lock:
            self._ended.set()
            for each in self._running:
                if each.poll() is None:
                    each.kill()

    def serve(self, connection: ssl.SSLSocket, request: Request, pod: str) -> None:
        """Take over a connection whose request was admitted, until it closes."""
        protocol = ServerProtocol(
            subprotocols=[Subprotocol(each) for each in self.versions],
            select_subprotocol=lambda _, offered: next(
                (each for each in offered if each in self.versions), None
            ),
            max_size=None,
        )
        head = [f"GET {request.target} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in request.headers.items()]
        protocol.receive_data("\r\n".join([*head, "", ""]).encode())
        handshake = next(iter(protocol.events_received()))
        assert isinstance(handshake, Handshake)  # noqa: S101  for the type checker
        protocol.send_response(protocol.accept(handshake))
        channel = _Channel(connection, protocol)
        channel.flush()
        if protocol.handshake_exc is not None:
            return
        command = request.query["command"]
        self.commands.append(command)
        if self.silent:
            self._ended.wait(60)
            return
        status = self._run(channel, command, self.by_pod.get(pod))
        if status is not None:
            channel.send(3, json.dumps(status).encode())
            channel.close()

    def _run(self, channel: "_Channel", command: list[str], program: Program | None) -> Json | None:
        try:
            if program is None:
                raise FileNotFoundError(command[0])  # noqa: TRY301  a container without programs
            process = subprocess.Popen(
                [*program.prefix, *command],
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except (FileNotFoundError, PermissionError, ValueError):
            return _not_found(command[0])
        with self._lock:
            self._running.append(process)
            if self._ended.is_set():
                process.kill()
        with process:
            if not self._copied(channel, process):
                return None
        if channel.version == V5:
            channel.send(255, b"\x01")
        return _status(process.returncode)

    def _copied(self, channel: "_Channel", process: subprocess.Popen[bytes]) -> bool:
        """Both outputs, to the end; False when the connection was to break before."""
        assert process.stdout is not None  # noqa: S101  for the type checker
        assert process.stderr is not None  # noqa: S101  for the type checker
        sent = 0
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ, 1)
            ready.register(process.stderr, selectors.EVENT_READ, 2)
            ready.register(channel.connection, selectors.EVENT_READ, 0)
            open_pipes = 2
            while open_pipes:
                for key, _ in ready.select():
                    if key.data == 0:
                        if not channel.heard():
                            ready.unregister(channel.connection)
                        continue
                    pipe: IO[bytes] = process.stdout if key.data == 1 else process.stderr
                    data = os.read(pipe.fileno(), _PIECE)
                    if not data:
                        ready.unregister(pipe)
                        open_pipes -= 1
                        continue
                    channel.send(key.data, data)
                    sent += len(data) if key.data == 1 else 0
                    if self.cut_after is not None and sent >= self.cut_after:
                        process.kill()
                        return False
        return True


class _Channel:
    """A websocket on a connection; sending to one that is gone does nothing."""

    def __init__(self, connection: ssl.SSLSocket, protocol: ServerProtocol) -> None:
        self.connection = connection
        self._protocol = protocol
        self._gone = False

    @property
    def version(self) -> str:
        return str(self._protocol.subprotocol or V4)

    def send(self, channel: int, data: bytes) -> None:
        if self._gone:
            return
        self._protocol.send_binary(bytes([channel]) + data)
        self.flush()

    def heard(self) -> bool:
        """Take in what the client sent; False when it has left."""
        while not self._gone:
            try:
                data = self.connection.recv(_PIECE)
            except OSError:
                data = b""
            if not data:
                self._gone = True
                break
            self._protocol.receive_data(data)
            closes = any(
                isinstance(each, Frame) and each.opcode is Opcode.CLOSE
                for each in self._protocol.events_received()
            )
            self.flush()
            self._gone = self._gone or closes
            if not self.connection.pending():
                break
        return not self._gone

    def close(self) -> None:
        if self._gone:
            return
        self._protocol.send_close(1000)
        self.flush()
        self.connection.settimeout(_CLOSES_IN)
        while self.heard():
            pass

    def flush(self) -> None:
        with contextlib.suppress(ProtocolError):
            for data in self._protocol.data_to_send():
                if data and not self._gone:
                    try:
                        self.connection.sendall(data)
                    except OSError:
                        self._gone = True


def _not_found(program: str) -> Json:
    why = (
        "error executing command in container: failed to exec in container: OCI runtime exec "
        "failed: exec failed: unable to start container process: exec: "
        f'"{program}": executable file not found in $PATH: unknown'
    )
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {why}",
        "reason": "InternalError",
        "details": {"causes": [{"message": why}]},
        "code": 500,
    }


def _status(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    code = 128 - code if code < 0 else code  # ended by a signal
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
