"""The exporters of the system under care: `/NAME/metrics` of one small server in the lab's process.

In production each is a program of its own: redis_exporter, postgres_exporter, the kubelet, the
privacy engine.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deployments.lab.environment import LOOPBACK, free_port

_PARTS = 2


@dataclass
class Gauges:
    """Values by series (`name` or `name{label="value"}`), as Prometheus scrapes them."""

    values: dict[str, float]

    def as_text(self) -> str:
        """The exposition format; every series is untyped."""
        return "".join(f"{series} {value}\n" for series, value in self.values.items())


@dataclass
class Exporter:
    """Serves the metrics of each job, asked for anew at each scrape."""

    jobs: Mapping[str, Callable[[], str]]
    port: int = field(default_factory=free_port)
    _server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        """Host and port, as Prometheus wants them."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Serve, in threads."""
        jobs = self.jobs

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = self.path.strip("/").split("/")
                job = jobs.get(parts[0]) if len(parts) == _PARTS else None
                body = job().encode() if job else b""
                self.send_response(200 if job else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="exporters", daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
