"""An API server on loopback that answers what a test says and keeps what it was asked."""

import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.sections.systems import KubernetesSettings

TOKENS = {"looker": "token-that-reads", "mender": "token-that-mends"}


@dataclass(frozen=True)
class Asked:
    """One request. `body` is decoded JSON."""

    method: str
    path: str
    params: dict[str, str]
    token: str
    content_type: str
    body: Any


Reply = tuple[int, Any]
Answering = Callable[[Asked], Reply]


@dataclass
class Replies:
    """`answer` decides; a list of replies is used up one by one. Bodies that are bytes stay so."""

    port: int = 0
    certificate: Path | None = None
    answer: Answering = lambda _: (404, b"404 page not found\n")
    asked: list[Asked] = field(default_factory=list)

    def says(self, *replies: Reply) -> None:
        """One after the other; the last one for ever."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def settings(self, directory: Path, *, trusted: bool = True, **more: Any) -> KubernetesSettings:
        """A kubeconfig with two contexts: `look` and `mend`."""
        file = directory / "kubeconfig"
        scheme = "https" if self.certificate else "http"
        cluster = {"server": f"{scheme}://127.0.0.1:{self.port}"}
        if self.certificate and trusted:
            cluster["certificate-authority"] = str(self.certificate)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "look",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": who, "user": {"token": TOKENS[who]}} for who in TOKENS],
            "contexts": [
                {"name": name, "context": {"cluster": "c", "user": who}}
                for name, who in (("look", "looker"), ("mend", "mender"))
            ],
        }
        file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        wanted = {"remediate_context": "mend", "api_seconds": 5.0} | more
        return KubernetesSettings(config_file=file, **wanted)


def status(code: int, reason: str, message: str, **more: Any) -> Reply:
    """A failure as the API server writes it."""
    said = {"kind": "Status", "status": "Failure", "reason": reason, "code": code}
    return code, said | {"message": message} | more


@contextmanager
def replying(tls: Path | None = None) -> Iterator[Replies]:
    """A server that ends with the block; with a directory for its certificate, by https."""
    state = Replies()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            place = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            sent = self.rfile.read(length)
            request = Asked(
                self.command,
                place.path,
                dict(parse_qsl(place.query)),
                self.headers.get("authorization", "").removeprefix("Bearer "),
                self.headers.get("content-type", ""),
                json.loads(sent) if sent else None,
            )
            state.asked.append(request)
            code, said = state.answer(request)
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the base class's names

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            return  # the client left, as a test wants it

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        state.certificate = _certificate(tls)
        context.load_cert_chain(state.certificate, tls / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield state
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _certificate(directory: Path) -> Path:
    """For 127.0.0.1, signed by itself; its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api server of a test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (directory / "key.pem").write_bytes(private)
    file = directory / "certificate.pem"
    file.write_bytes(certificate.public_bytes(pem))
    return file
