"""Run a program in a pod: what `kubectl exec` does, over the websocket of the API server.

Whom to ask and as whom, `kubernetes_identity` knows (kubeconfig, service account). The stream is
read here and not by its `stream()`, which keeps every byte in memory, merges standard output with
standard error and replaces a method of its client meanwhile. Channels of v4/v5.channel.k8s.io:
1 standard output, 2 standard error, 3 the Status at the end, 255 (v5) a channel was closed.
"""

import json
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

import websocket

from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.clients.kubernetes_identity import Access
from tasks.domain.errors import BadInput
from tasks.sections.systems import KubernetesSettings

_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
_OUTPUT, _COMPLAINT, _STATUS = 1, 2, 3
_KEPT = 4096  # bytes of standard error, and of a Status
_EXCERPT = 300
_POD = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})(?:/([a-z0-9-]{1,63}))?")
_FIRST_SERVER_ERROR = 500


class CommandFailed(ClientError):
    """The program ran and said no, or could not be run at all (`status` None)."""

    def __init__(self, text: str, status: int | None, complaint: str) -> None:
        super().__init__(text)
        self.status = status
        self.complaint = complaint


@dataclass(frozen=True, slots=True)
class Pod:
    """A container of a pod; without `container` the pod's first."""

    namespace: str
    name: str
    container: str = ""

    @classmethod
    def parse(cls, text: str) -> "Pod":
        """From `namespace/pod` or `namespace/pod/container`."""
        found = _POD.fullmatch(text)
        if found is None:
            raise BadInput(f"expected namespace/pod[/container], found {text[:80]!r}")
        return cls(found[1], found[2], found[3] or "")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def output_of(
    cluster: KubernetesSettings, pod: Pod, command: Sequence[str], limit: int
) -> Iterator[bytes]:
    """Standard output of the program, in pieces as they come; no shell is involved.

    Raises CommandFailed when it ends badly, Malformed beyond `limit` bytes, Denied (pods/exec),
    NotFound (the pod), Transient when the stream breaks off or stands still.
    """
    with _connected(cluster, pod, command) as socket:
        written = 0
        complaint = status = b""
        for channel, data in _frames(socket, pod):
            if channel == _OUTPUT:
                written += len(data)
                if written > limit:
                    raise Malformed(
                        f"{pod}: expected at most {limit} bytes of {command[0]}, found more"
                    )
                yield data
            elif channel == _COMPLAINT:
                complaint = (complaint + data)[:_KEPT]
            elif channel == _STATUS:
                status = (status + data)[:_KEPT]
        _require_success(pod, command[0], status, complaint.decode("utf-8", "replace").strip())


def _frames(socket: websocket.WebSocket, pod: Pod) -> Iterator[tuple[int, bytes]]:
    """Channel and bytes of each message until the server closes."""
    while True:
        try:
            opcode, data = socket.recv_data()
        except websocket.WebSocketConnectionClosedException:
            return
        except (websocket.WebSocketException, OSError) as error:
            raise Transient(f"{pod}: the stream broke off: {str(error)[:_EXCERPT]}") from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return
        if data:
            yield data[0], data[1:]


def _require_success(pod: Pod, program: str, status: bytes, complaint: str) -> None:
    if not status:
        raise Transient(f"{pod}: the stream ended before {program} did: read it again")
    try:
        said = json.loads(status)
        outcome, message = said.get("status"), str(said.get("message", ""))[:_EXCERPT]
        causes = (said.get("details") or {}).get("causes") or []
        codes = [each.get("message", "") for each in causes if each.get("reason") == "ExitCode"]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise Malformed(f"{pod}: expected a Status, found {status[:_EXCERPT]!r}") from error
    if outcome == "Success":
        return
    number = int(codes[0]) if codes and re.fullmatch("[0-9]{1,3}", str(codes[0])) else None
    text = f"{pod}: {program} failed: {complaint[:_EXCERPT] or message}"
    raise CommandFailed(text, number, complaint or message)


@contextmanager
def _connected(
    cluster: KubernetesSettings, pod: Pod, command: Sequence[str]
) -> Iterator[websocket.WebSocket]:
    access = Access(cluster)
    authorization = access.authorization()
    tls = {"context": access.tls, "server_hostname": access.server_name}
    socket = websocket.WebSocket(sslopt={name: value for name, value in tls.items() if value})
    try:
        with _translated(pod):
            socket.connect(  # type: ignore[no-untyped-call]  # untyped, as all of this package
                _address(access.host, pod, command),
                timeout=cluster.timeout_seconds,
                header=[f"authorization: {authorization}"] if authorization else [],
                subprotocols=_PROTOCOLS,
                redirect_limit=0,  # the token is for this server alone
            )
        yield socket
    finally:
        # close() would wait for an answer, or leave the socket open
        socket.shutdown()  # type: ignore[no-untyped-call]  # the client library has no types


def _address(host: str, pod: Pod, command: Sequence[str]) -> str:
    wanted = [("command", part) for part in command]
    wanted += [("container", pod.container)] if pod.container else []
    wanted += [("stdout", "true"), ("stderr", "true")]
    scheme, _, rest = host.partition("://")
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}?{urlencode(wanted)}"


@contextmanager
def _translated(pod: Pod) -> Iterator[None]:
    try:
        yield
    except websocket.WebSocketBadStatusException as error:
        raise _refusal(pod, error) from error
    except ssl.SSLError as error:
        raise Malformed(f"{pod}: no trusted TLS with the API server: {error.reason}") from error
    except (
        websocket.WebSocketTimeoutException,
        websocket.WebSocketConnectionClosedException,
        websocket.WebSocketAddressException,
        OSError,
    ) as error:
        text = f"{pod}: the API server cannot be reached: {str(error)[:_EXCERPT]}"
        raise Transient(text) from error
    except (websocket.WebSocketException, ValueError) as error:
        text = f"{pod}: expected the API server to run a program: {str(error)[:_EXCERPT]}"
        raise Malformed(text) from error


def _refusal(pod: Pod, error: websocket.WebSocketBadStatusException) -> ClientError:
    status = int(error.status_code)
    body = error.resp_body or b""
    text = (body if isinstance(body, bytes) else str(body).encode())[:_EXCERPT]
    said = text.decode("utf-8", "replace")
    if status in {401, 403}:
        return Denied(
            f"{pod}: the API server answered {status}: grant the verbs get and create on pods/exec "
            f"in namespace {pod.namespace} to the account that runs this"
        )
    if status == 404:  # noqa: PLR2004  HTTP's number
        return NotFound(f"{pod}: there is no such pod")
    if status == 429 or status >= _FIRST_SERVER_ERROR:  # noqa: PLR2004  HTTP's number
        return Transient(f"{pod}: the API server answered {status}: {said}")
    return Malformed(f"{pod}: expected to run a program, found {status}: {said}")
