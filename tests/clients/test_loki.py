"""Lines around a moment, from what answers like Loki and from what answers nonsense."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from tasks.clients import loki
from tasks.clients.errors import ClientError, Denied, Malformed, Transient
from tasks.sections.components import LokiSettings
from tests.clients import loopback
from tests.clients.loopback import answering, sending

ONSET = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
NOW = ONSET + timedelta(minutes=10)
SECOND = 1_000_000_000


class Kept:
    """A server that keeps lines and answers query_range as Loki's documentation says."""

    def __init__(self, *lines: tuple[int, str], token: str = "") -> None:
        self.lines = sorted(lines)
        self.asked: list[dict[str, str]] = []
        self.token = token

    def answer(self, path: str) -> dict[str, Any]:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.asked.append(asked)
        start, end, limit = (int(asked[name]) for name in ("start", "end", "limit"))
        within = [(at, text) for at, text in self.lines if start <= at < end]  # end is exclusive
        if asked["direction"] == "backward":
            within.reverse()
        values = [[str(at), text] for at, text in within[:limit]]
        stream = {"stream": {"pod": "api-1", "container": "api", "level": "x"}, "values": values}
        return {"data": {"resultType": "streams", "result": [stream] if values else []}}


@contextmanager
def serving(kept: Kept) -> Iterator[LokiSettings]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("authorization", "") == (
                f"Bearer {kept.token}" if kept.token else ""
            )
            body = json.dumps(kept.answer(self.path)).encode()
            self.send_response(200 if right else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield LokiSettings(url=url, token=SecretStr(kept.token), lines=10, minutes_before=30)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def nanoseconds(minutes: float) -> int:
    return int((ONSET + timedelta(minutes=minutes)).timestamp()) * SECOND


def test_the_last_lines_before_the_onset_and_the_first_since_come_together() -> None:
    lines = [(nanoseconds(minute), f"line {minute}") for minute in range(-40, 11)]
    kept = Kept(*lines)
    with serving(kept) as here:
        found = loki.around(here, ONSET, NOW)
    minutes = sorted(int(line.text.split()[1]) for line in found.lines)
    assert minutes == list(range(-10, 10))  # ten of each, the nearest to the onset
    assert found.cut
    assert {line.source for line in found.lines} == {"api-1/api"}
    assert min(line.at for line in found.lines if line.at) == ONSET - timedelta(minutes=10)
    assert kept.asked[0]["query"] == here.query


def test_nothing_is_asked_twice_and_nothing_is_cut_when_there_is_little() -> None:
    kept = Kept((nanoseconds(-1), "a"), (nanoseconds(0), "b"), (nanoseconds(1), "c"))
    with serving(kept) as here:
        found = loki.around(here, ONSET, NOW)
    assert sorted(line.text for line in found.lines) == ["a", "b", "c"]
    assert not found.cut


def test_an_onset_that_is_now_or_later_asks_only_for_what_was_before() -> None:
    kept = Kept((nanoseconds(5), "x"))
    with serving(kept) as here:
        found = loki.around(here, NOW, NOW)
    assert ([line.text for line in found.lines], len(kept.asked)) == (["x"], 1)


def test_the_token_is_sent_and_a_wrong_one_is_denied() -> None:
    kept = Kept((nanoseconds(1), "x"), token="right")
    with serving(kept) as here:
        assert loki.around(here, ONSET, NOW).lines
        with pytest.raises(Denied) as refused:
            loki.around(here.model_copy(update={"token": SecretStr("wrong")}), ONSET, NOW)
    assert "wrong" not in str(refused.value)


def streams(*values: object, stream: object = None) -> bytes:
    found = [{"stream": stream if stream is not None else {}, "values": list(values)}]
    return json.dumps({"data": {"resultType": "streams", "result": found}}).encode()


def asked(body: bytes, status: int = 200, **other: Any) -> loki.Around:
    with answering(sending(loopback.http(status, body))) as port:
        here = LokiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=2, lines=10, **other)
        return loki.around(here, ONSET, NOW)


def test_lines_with_metadata_and_without_labels_are_read() -> None:
    found = asked(streams([str(nanoseconds(1)), "\ud800 odd \x00", {"trace": "x"}]))
    assert {line.text for line in found.lines} == {"\ud800 odd \x00"}
    assert {line.source for line in found.lines} == {""}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"<html>sign in</html>",
        b'{"data": {"resultType": "streams", "result": {}}}',
        b'{"data": {"resultType": "matrix", "result": []}}',
        streams(["1"]),
        streams(["x", "line"]),
        streams([f"{10**40}", "line"]),
        streams(["1", 7]),
        streams(7),
        streams(["1", "x"], stream=["pod"]),
        streams(*[["1", "x"]] * 11),
    ],
)
def test_an_answer_of_another_shape_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        asked(body)


@pytest.mark.parametrize(("status", "ours"), [(500, Transient), (429, Transient), (400, Malformed)])
def test_an_error_of_loki_is_an_error(status: int, ours: type[ClientError]) -> None:
    with pytest.raises(ours):
        asked(b"too many outstanding requests", status)


def test_two_questions_take_no_longer_than_one_time_out() -> None:
    def slow(connection: Any) -> None:
        time.sleep(0.4)
        connection.sendall(loopback.http(200, streams()))

    with answering(slow) as port:
        here = LokiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=0.6)
        began = time.monotonic()
        with pytest.raises(Transient):
            loki.around(here, ONSET, NOW)
        assert time.monotonic() - began < 1.2
