"""Time-stamp tokens over heads, from an authority that is `openssl ts -reply` behind HTTP."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.clients.errors import Malformed
from tasks.clients.timestamps import verify_token
from tasks.work.log_store import DirectoryLog
from tasks.work.timestamping import Authority, stamp, token_path
from tests.clients import loopback
from tests.domain.ledger.sample_log import chained, sealed_files

pytestmark = pytest.mark.components

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


@pytest.fixture(scope="module")
def stamper(tmp_path_factory: pytest.TempPathFactory) -> TimeStamper:
    return TimeStamper.make(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def log(tmp_path: Path) -> DirectoryLog:
    log = DirectoryLog(tmp_path / "log")
    for path, data in sealed_files(chained(30), older=(10,)).items():
        log.write(path, data)
    return log


def test_a_head_gets_a_token_that_an_auditor_verifies(
    stamper: TimeStamper, log: DirectoryLog
) -> None:
    with serving(stamper) as url:
        assert stamp(log, 30, Authority(url, stamper.root, 10)) == "stored"
    token, note = log.read("timestamps/30.tsr"), log.read("checkpoints/30")
    verify_token(token, note, stamper.root)
    with pytest.raises(Malformed, match="does not verify"):
        verify_token(token, log.read("checkpoints/10"), stamper.root)


def test_a_stamped_head_is_not_stamped_again(stamper: TimeStamper, log: DirectoryLog) -> None:
    with serving(stamper) as url:
        stamp(log, 30, Authority(url, stamper.root, 10))
    gone = Authority("http://127.0.0.1:1", stamper.root, 1)
    assert stamp(log, 30, gone) == "stored"


def test_without_an_authority_there_is_none(log: DirectoryLog) -> None:
    assert stamp(log, 30, None) == "none"
    assert log.paths("timestamps/") == []


def test_an_authority_that_is_away_leaves_it_pending_until_the_next_time(
    stamper: TimeStamper, log: DirectoryLog
) -> None:
    assert stamp(log, 30, Authority("http://127.0.0.1:1", stamper.root, 1)).startswith("pending: ")
    assert log.paths("timestamps/") == []
    with serving(stamper) as url:
        assert stamp(log, 30, Authority(url, stamper.root, 10)) == "stored"


def test_a_token_for_another_query_is_not_taken(stamper: TimeStamper, log: DirectoryLog) -> None:
    """The same head's, even: its nonce is another, so it may be any age."""
    with serving(stamper) as url:
        stamp(log, 30, Authority(url, stamper.root, 10))
    old = log.read("timestamps/30.tsr")
    with serving(stamper, replay=old) as url:
        said = stamp(log, 10, Authority(url, stamper.root, 10))
    assert "does not verify" in said
    assert token_path(10) not in log.paths("timestamps/")


def test_a_token_of_an_authority_that_nobody_named_is_not_taken(
    stamper: TimeStamper, log: DirectoryLog, tmp_path: Path
) -> None:
    other = TimeStamper.make(tmp_path / "other")
    with serving(other) as url:
        assert "does not verify" in stamp(log, 30, Authority(url, stamper.root, 10))
    assert log.paths("timestamps/") == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (loopback.http(200, b"hello", "content-type: application/timestamp-reply"), "not verify"),
        (loopback.http(200, b"", "content-type: application/timestamp-reply"), "not verify"),
        (loopback.http(200, b"<html>"), "found status 200"),
        (loopback.http(503, b""), "503"),
        (loopback.http(403, b""), "403"),
    ],
)
def test_each_odd_answer_leaves_it_pending(
    stamper: TimeStamper, log: DirectoryLog, answer: bytes, told: str
) -> None:
    with loopback.answering(loopback.sending(answer)) as port:
        said = stamp(log, 30, Authority(f"http://127.0.0.1:{port}", stamper.root, 5))
    assert said.startswith("pending: ")
    assert told in said
    assert log.paths("timestamps/") == []
