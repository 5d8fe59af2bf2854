"""A small HTTP server for services with a few callers: bounded in connections, bytes and seconds.

The standard library's, because witness and sealer hold keys: little code, little memory. Each
connection has a thread and one deadline for all that it does: socket time-outs alone let a client
that sends a byte now and then hold its thread for ever.
"""

import json
import logging
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

_logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
READ_SECONDS = 10.0
"""From the opening of a connection to the last byte of its request."""


class BadRequest(Exception):
    """The request cannot be taken: `status` says why, the message what was expected."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class BoundedServer(ThreadingHTTPServer):
    """At most MAX_CONNECTIONS at once, more are closed at once; requests must arrive in time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._reading: dict[socket.socket, float] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401  stdlib's
        """False closes the connection: there are too many."""
        del client_address
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                return False
            self._open.add(request)
            self._reading[request] = time.monotonic() + READ_SECONDS
            return True

    def has_arrived(self, request: socket.socket) -> None:
        """The request is read: its answer may take as long as it takes."""
        with self._lock:
            self._reading.pop(request, None)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  stdlib's signature
        """The connection is over."""
        with self._lock:
            self._open.discard(request)
            self._reading.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by serve_forever every half second: end those that are late."""
        now = time.monotonic()
        with self._lock:
            late = [each for each, until in self._reading.items() if until < now]
            for connection in late:
                with suppress(OSError):  # it has ended by itself
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  stdlib's
        """A connection that broke is nobody's business; a bug of ours is logged."""
        del request, client_address
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            _logger.error("a request could not be answered", exc_info=error)


class SmallHandler(BaseHTTPRequestHandler):
    """One request a connection, with a bounded body."""

    body_limit: ClassVar[int] = 64 * 1024
    timeout = READ_SECONDS
    server: BoundedServer

    def body(self) -> bytes:
        """The whole body. BadRequest without a length (411), beyond the limit (413), cut (400)."""
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or "transfer-encoding" in self.headers:
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > len(str(self.body_limit)) or int(length) > self.body_limit:
            raise BadRequest(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {self.body_limit} bytes"
            )
        data = self.rfile.read(int(length))
        if len(data) != int(length):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the body ends early")
        self.server.has_arrived(self.connection)
        return data

    def answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        """Send the whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def answer_text(self, status: HTTPStatus, text: str) -> None:
        """Send a line."""
        self.answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8")

    def answer_json(self, status: HTTPStatus, value: Any) -> None:  # noqa: ANN401  JSON is anything
        """Send a value as JSON."""
        self.answer(status, json.dumps(value).encode() + b"\n", "application/json")

    def version_string(self) -> str:
        """Nothing about what serves."""
        return "runbook"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  stdlib's names
        """Requests are not logged by default; what matters is, by the service itself."""
        _logger.debug(format, *args)


def serve(server: BoundedServer) -> None:
    """Until SIGTERM or Ctrl-C. What is under way then ends with the process, as in a crash."""
    thread = threading.Thread(target=server.serve_forever, name="serving")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    thread.start()
    stopped.wait()
    server.shutdown()
    thread.join()
    server.server_close()
