"""The part of a Kubernetes API server that runs programs in pods, on loopback.

It speaks the websocket protocols v4 and v5.channel.k8s.io as the real one does: a message begins
with its channel, the Status comes last on channel 3, v5 says which channel closed. The programs are
real ones on real files; the "pod" shares this host's file system.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

TOKEN = "the-token-of-the-responder"
_PIECE = 32 * 1024  # of kubelet's copying


@dataclass
class ApiServer:
    """What it knows; tests change it between calls. `programs` come before the host's own."""

    pods: set[str] = field(default_factory=lambda: {"rlhf-audit-trail/postgres-pod"})
    allowed: bool = True
    failing: bool = False
    versions: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    programs: Path | None = None
    cut_after: int | None = None
    silent: bool = False
    redirect: str = ""
    commands: list[list[str]] = field(default_factory=list)
    port: int = 0

    def kubeconfig(self, directory: Path, server: str = "", token: str = TOKEN) -> Path:
        cluster = {"server": server or f"http://127.0.0.1:{self.port}"}
        if server.startswith("https"):
            cluster["insecure-skip-tls-verify"] = True
        file = directory / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return file

    def refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        _, _, _, _, namespace, _, pod, verb = urlsplit(request.path).path.split("/")
        assert verb == "exec"
        if self.redirect:
            answer = connection.respond(HTTPStatus.FOUND, "elsewhere")
            answer.headers["Location"] = self.redirect
            return answer
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        if not self.allowed:
            return connection.respond(HTTPStatus.FORBIDDEN, 'cannot get resource "pods/exec"')
        if self.failing:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "etcd is away")
        if f"{namespace}/{pod}" not in self.pods:
            return connection.respond(HTTPStatus.NOT_FOUND, f'pods "{pod}" not found')
        return None

    def run(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        command = parse_qs(urlsplit(connection.request.path).query)["command"]
        self.commands.append(command)
        if self.silent:
            connection.recv()
        with_status = self._run(connection, command)
        if with_status is not None:
            connection.send(b"\x03" + json.dumps(with_status).encode())

    def _run(self, connection: ServerConnection, command: list[str]) -> dict[str, object] | None:
        path = f"{self.programs}:{os.environ['PATH']}" if self.programs else os.environ["PATH"]
        try:
            process = subprocess.Popen(
                command,
                env={"PATH": path, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            text = f'exec: "{command[0]}": executable file not found in $PATH: unknown'
            return {"status": "Failure", "reason": "InternalError", "message": text}
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            sent = 0
            while piece := process.stdout.read(_PIECE):
                connection.send(b"\x01" + piece)
                sent += len(piece)
                if self.cut_after is not None and sent >= self.cut_after:
                    process.kill()
                    return None
            if complaint := process.stderr.read():
                connection.send(b"\x02" + complaint)
        if connection.subprotocol == "v5.channel.k8s.io":
            connection.send(b"\xff\x01")
        if process.returncode == 0:
            return {"metadata": {}, "status": "Success"}
        code = str(process.returncode)
        return {
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "details": {"causes": [{"reason": "ExitCode", "message": code}]},
        }


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A server that ends with the block."""
    state = ApiServer()

    def handle(connection: ServerConnection) -> None:
        try:
            state.run(connection)
        except ConnectionClosed:
            return  # the client has enough

    def choose(_: ServerConnection, offered: list[Subprotocol]) -> Subprotocol | None:
        return next((each for each in offered if each in state.versions), None)

    with serve(
        handle,
        "127.0.0.1",
        0,
        process_request=state.refusal,
        select_subprotocol=choose,
        subprotocols=[Subprotocol(each) for each in state.versions],
        compression=None,
    ) as server:
        state.port = int(server.socket.getsockname()[1])
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield state
        finally:
            server.shutdown()
            serving.join()
