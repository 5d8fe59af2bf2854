"""HTTPS on loopback: one thread per connection, kept alive, watches in chunks, exec by upgrade."""

import contextlib
import json
import socket
import socketserver
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from deployments.lab.environment import LOOPBACK
from deployments.lab.kubernetes.misbehaviour import Misbehaviour, Trouble
from deployments.lab.kubernetes.programs import Programs
from deployments.lab.kubernetes.refusals import Refusal, refusal
from deployments.lab.kubernetes.requests import Request
from deployments.lab.kubernetes.service import Answer, Service, refused_with

_MOST_BODY = 3 * 2**20  # the real server's limit
_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 120.0
_PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>\n"


class Server(socketserver.ThreadingTCPServer):
    """The listening socket; connections speak TLS from their first byte."""

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, service: Service, programs: Programs, certificate: Path, key: Path) -> None:
        super().__init__((LOOPBACK, 0), _Connection)
        self.service = service
        self.programs = programs
        self.closing = threading.Event()
        self.asked: list[str] = []
        """Method and target of every request, as they came."""
        self.mistakes: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._troubles: list[Misbehaviour] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def misbehave(self, trouble: Misbehaviour) -> None:
        """From now on, until `behave`."""
        with self._lock:
            self._troubles.append(trouble)

    def behave(self) -> None:
        """No trouble any more."""
        with self._lock:
            self._troubles.clear()

    def trouble_with(self, line: str) -> Misbehaviour | None:
        """The first one that means this request; it is used up after its times."""
        with self._lock:
            for place, each in enumerate(self._troubles):
                if each.where not in line:
                    continue
                if each.times == 1:
                    del self._troubles[place]
                elif each.times:
                    self._troubles[place] = replace(each, times=each.times - 1)
                return each
        return None

    def finish_request(self, request: object, client_address: object) -> None:
        """TLS, in the connection's own thread."""
        assert isinstance(request, socket.socket)  # noqa: S101  for the type checker
        request.settimeout(_HANDSHAKE_SECONDS)
        try:
            secured = self._context.wrap_socket(request, server_side=True)
        except OSError:
            return  # somebody who speaks no TLS, or does not trust us
        with secured:
            with self._lock:
                self._open.add(secured)
            try:
                super().finish_request(secured, client_address)
            finally:
                with self._lock:
                    self._open.discard(secured)
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(secured, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A mistake of the simulator's own is kept; a client that left is none."""
        del request, client_address
        self.mistakes.append(traceback.format_exc())

    def close_connections(self) -> None:
        """Every client finds its connection closed.

        Below TLS: SSLSocket.shutdown would let the connection's own thread go on in plain text.
        """
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Server
    connection: ssl.SSLSocket

    def setup(self) -> None:
        super().setup()
        handler: Callable[[], None] = self._respond
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(self, f"do_{method}", handler)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            return  # the client left

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the parent's name
        del format, args

    def _respond(self) -> None:
        try:
            request = self._read()
        except Refusal as refused:
            self.close_connection = True
            self._send(refused_with(refused))
            return
        line = f"{request.method} {request.target}"
        self.server.asked.append(line)
        trouble = self.server.trouble_with(line)
        if trouble is not None and not self._survives(trouble):
            return
        if self.server.service.is_exec(request):
            self._exec(request)
            return
        answer = self.server.service.answer(request)
        if answer.lines is not None:
            self._stream(answer.lines)
        elif trouble is not None and trouble.trouble is Trouble.HALF:
            self._send(answer, cut=True)
        else:
            self._send(answer)

    def _read(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        if not length.isdigit() or "transfer-encoding" in headers:
            raise refusal(400, "expected a Content-Length")
        if int(length) > _MOST_BODY:
            text = f"Request entity too large: limit is {_MOST_BODY}"
            raise refusal(413, text, reason="RequestEntityTooLarge")
        body = self.rfile.read(int(length))
        return Request(self.command, self.path, headers, body)

    def _survives(self, trouble: Misbehaviour) -> bool:
        """Whether an answer follows nevertheless."""
        match trouble.trouble:
            case Trouble.SLOW:
                self.server.closing.wait(trouble.seconds)
                return True
            case Trouble.HALF:
                return True
            case Trouble.HANGS:
                self.server.closing.wait(300)
                self.close_connection = True
            case Trouble.HTML:
                self._send(Answer(200, _PAGE, "text/html"))
            case Trouble.GARBAGE:
                self._send(
                    Answer(200, b'{"kind":"List","items":[{"metadata":\xff', "application/json")
                )
            case Trouble.FAILS:
                text = "the server is currently unable to handle the request"
                self._send(refused_with(refusal(trouble.code, text, reason="ServiceUnavailable")))
            case Trouble.ENDLESS:
                self._endless()
            case Trouble.CLOSES:
                self.close_connection = True
        return False

    def _exec(self, request: Request) -> None:
        self.close_connection = True
        programs = self.server.programs
        if programs.redirect:
            headers = {"Location": programs.redirect}
            self._send(Answer(HTTPStatus.FOUND, b"elsewhere", "text/plain"), headers)
            return
        try:
            pod, _ = self.server.service.admit_exec(request)
            if request.headers.get("upgrade", "").lower() != "websocket":
                raise refusal(400, "unable to upgrade: missing upgrade headers in request")
        except Refusal as refused:
            self._send(refused_with(refused))
            return
        self.connection.settimeout(None)
        programs.serve(self.connection, request, pod["metadata"]["name"])

    def _send(
        self, answer: Answer, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        head = b"".join(self._headers_buffer) + b"\r\n"
        self._headers_buffer: list[bytes] = []
        body = answer.body[: len(answer.body) // 2] if cut else answer.body
        self.wfile.write(head + body)  # in one piece: one packet, one TLS record
        self.close_connection = self.close_connection or cut

    def _stream(self, lines: Iterator[object]) -> None:
        self._chunked_head()
        for line in lines:
            self._chunk(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        if self.server.service.watches.ended:
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _endless(self) -> None:
        self._chunked_head()
        self._chunk(b'{"kind":"List","items":[')
        while not self.server.closing.is_set():
            self._chunk(b'{"metadata":{"name":"more"}},' * 2000)

    def _chunked_head(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@contextmanager
def serving(server: Server) -> Iterator[int]:
    """Its port, while it serves; no thread is left behind."""
    thread = threading.Thread(
        target=server.serve_forever, args=(0.05,), name="cluster-api", daemon=True
    )
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.closing.set()
        server.service.watches.end()
        server.programs.end()
        server.shutdown()
        server.close_connections()
        thread.join()
        server.server_close()
