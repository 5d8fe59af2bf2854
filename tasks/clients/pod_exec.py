"""Run a program in a pod: what `kubectl exec` does, over the websocket of the API server.

The kubernetes package knows whom to ask and as whom (kubeconfig, service account). The stream is
read here and not by its `stream()`, which keeps every byte in memory, merges standard output with
standard error and replaces a method of its client meanwhile. Channels of v4/v5.channel.k8s.io:
1 standard output, 2 standard error, 3 the Status at the end, 255 (v5) a channel was closed.
"""

import json
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import websocket

from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.domain.errors import BadInput
from tasks.settings import KubernetesSettings

if TYPE_CHECKING:
    from kubernetes.client import Configuration

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
    configuration = _configuration(cluster)
    authorization = configuration.auth_settings().get("BearerToken", {}).get("value")
    socket = websocket.WebSocket(sslopt=_tls(configuration))
    try:
        with _translated(pod):
            socket.connect(  # type: ignore[no-untyped-call]  # untyped, as all of this package
                _address(str(configuration.host), pod, command),
                timeout=cluster.timeout_seconds,
                header=[f"authorization: {authorization}"] if authorization else [],
                subprotocols=_PROTOCOLS,
                redirect_limit=0,  # the token is for this server alone
            )
        yield socket
    finally:
        # close() would wait for an answer, or leave the socket open
        socket.shutdown()  # type: ignore[no-untyped-call]


def _address(host: str, pod: Pod, command: Sequence[str]) -> str:
    wanted = [("command", part) for part in command]
    wanted += [("container", pod.container)] if pod.container else []
    wanted += [("stdout", "true"), ("stderr", "true")]
    scheme, _, rest = host.rstrip("/").partition("://")
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


def _configuration(cluster: KubernetesSettings) -> "Configuration":
    """Server and identity. Raises BadInput when there is none, or one that gives the token away."""
    from kubernetes import client, config  # noqa: PLC0415  a third of a second, only when needed

    found = client.Configuration()
    try:
        if cluster.config_file is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            file = None if cluster.config_file is None else str(cluster.config_file)
            config.load_kube_config(  # type: ignore[no-untyped-call]
                file,
                cluster.context or None,
                client_configuration=found,
                persist_config=False,
            )
    except (config.ConfigException, OSError) as error:
        raise BadInput(
            f"expected a Kubernetes configuration, found none: {str(error)[:_EXCERPT]}: set "
            "RUNBOOK_KUBERNETES__CONFIG_FILE"
        ) from error
    place = urlsplit(str(found.host))
    if place.scheme != "https" and not _is_loopback(place.hostname or ""):
        raise BadInput(
            f"expected an API server by https, found {str(found.host)[:200]!r}: the token would "
            "be readable on the way"
        )
    if place.scheme == "https" and not found.verify_ssl:
        raise BadInput(
            "expected the API server's certificate to be verified, found insecure-skip-tls-verify: "
            "anybody on the way could take the token; name its certificate-authority"
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(configuration: "Configuration") -> dict[str, Any]:
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED}
    named = {
        "ca_certs": configuration.ssl_ca_cert,
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return options | {name: value for name, value in named.items() if value}
