"""A time-stamp authority: `openssl ts -reply` behind HTTP."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

_CONFIG = """
[tsa]
default_tsa = main
[main]
serial = {home}/serial
signer_cert = {home}/tsa.pem
certs = {home}/tsa.pem
signer_key = {home}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ordering = yes
tsa_name = no
ess_cert_id_chain = no
"""


@dataclass
class TimeStamper:
    """A time-stamp authority with a root of its own."""

    home: Path
    root: Path

    @classmethod
    def make(cls, home: Path) -> "TimeStamper":
        home.mkdir()
        new_key = ["-newkey", "rsa:2048", "-nodes"]
        stamping = "extendedKeyUsage=critical,timeStamping"
        for name, more in (
            ("root", ["-addext", "basicConstraints=critical,CA:TRUE"]),
            ("tsa", ["-CA", "root.pem", "-CAkey", "root.key", "-addext", stamping]),
        ):
            subprocess.run(
                [
                    *("openssl", "req", "-x509", *new_key, "-subj", f"/CN={name}", "-days", "2"),
                    *("-keyout", f"{name}.key", "-out", f"{name}.pem", *more),
                ],
                cwd=home,
                check=True,
                capture_output=True,
            )
        (home / "serial").write_text("01\n")
        (home / "openssl.cnf").write_text(_CONFIG.format(home=home))
        return cls(home, home / "root.pem")

    def reply(self, query: bytes) -> bytes:
        (self.home / "query").write_bytes(query)
        subprocess.run(
            [
                *("openssl", "ts", "-reply", "-config", "openssl.cnf"),
                *("-queryfile", "query", "-out", "reply"),
            ],
            cwd=self.home,
            check=True,
            capture_output=True,
        )
        return (self.home / "reply").read_bytes()


@contextmanager
def serving(stamper: TimeStamper, *, replay: bytes = b"") -> Iterator[str]:
    """Its URL; with `replay` it always answers that."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/timestamp-query"
            query = self.rfile.read(int(self.headers["content-length"]))
            body = replay or stamper.reply(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
