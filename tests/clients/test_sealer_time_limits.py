"""A rebuild may take much longer than a sealing, and is waited for."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tasks.clients import sealer
from tasks.clients.errors import Transient
from tasks.sections.house import SealerSettings

_TEXTS = ("origin", "root", "note", "statement", "sha256", "timestamp")
_COUNTS = ("size", "put_back", "left", "lost", "added")


class _Slow(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        time.sleep(1)
        body = json.dumps(dict.fromkeys(_TEXTS, "x") | dict.fromkeys(_COUNTS, 1)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # whoever asked may not have waited
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[SealerSettings]:
    """A sealer that takes a second for everything; a sealing may take a quarter of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield SealerSettings(url=f"http://127.0.0.1:{server.server_port}", timeout_seconds=0.25)
    server.shutdown()
    server.server_close()
    serving.join()


def test_a_rebuild_may_take_longer_than_a_sealing(slow: SealerSettings) -> None:
    with pytest.raises(Transient):
        sealer.seal(slow, "audit")
    answer = sealer.rebuild(slow, "audit", "INC-1", ["tile/0/001"], mode="in place")
    assert (answer.put_back, answer.statement) == (1, "x")
    hasty = slow.model_copy(update={"rebuild_timeout_seconds": 0.25})
    with pytest.raises(Transient):
        sealer.rebuild(hasty, "audit", "INC-1", ["tile/0/001"], mode="in place")
