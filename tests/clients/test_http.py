"""JSON over HTTP, from servers that do not mean well: one deadline, one size, our own errors."""

import gzip
import json
import socket
import threading
import time

import pytest
from pydantic import SecretStr

from tasks.clients import http
from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Throttled, Transient
from tests.clients import loopback
from tests.clients.loopback import answering, dripping, sending

LIMIT = 4 * 1024 * 1024
SECRET = "personal-token-of-ada"


def call(port: int, timeout_seconds: float = 5.0, **wanted: object) -> http.Answer:
    url = f"http://127.0.0.1:{port}/path"
    return http.call("GET", url, timeout_seconds=timeout_seconds, **wanted)


def test_a_json_answer_comes_with_its_status_value_and_seconds() -> None:
    body = json.dumps({"status": "ok", "n": [1, None, "ä"]}).encode()
    with answering(sending(loopback.http(200, body, "x-lab: one"))) as port:
        answer = call(port)
    assert (answer.status, answer.value) == (200, {"status": "ok", "n": [1, None, "ä"]})
    assert answer.headers["x-lab"] == "one"
    assert 0 < answer.seconds < 5


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n", b"x-slow: 1\r\n"),
        (b"H", b""),
    ],
    ids=["body", "body without a length", "headers", "nothing more"],
)
def test_bytes_that_drip_slowly_end_at_the_deadline(start: bytes, piece: bytes) -> None:
    with answering(dripping(start, piece, seconds=0.2, count=30)) as port:
        began = time.monotonic()
        with pytest.raises(Transient, match=r"0\.7 s|in time"):
            call(port, timeout_seconds=0.7)
        took = time.monotonic() - began
    assert 0.6 < took < 0.7 + 0.5


def test_silence_just_before_the_deadline_does_not_win_a_second_one() -> None:
    with answering(
        dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"1", seconds=0.6, count=1)
    ) as port:
        began = time.monotonic()
        with pytest.raises(Transient):
            call(port, timeout_seconds=0.7)
        assert time.monotonic() - began < 0.7 + 0.5


def test_a_body_that_ends_early_is_not_taken_for_the_whole() -> None:
    with (
        answering(sending(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}")) as port,
        pytest.raises(Transient),
    ):
        call(port)


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
def test_a_body_is_taken_up_to_four_mebibytes(size: int, *, fits: bool) -> None:
    body = b'"' + b"x" * (size - 2) + b'"'
    with answering(sending(loopback.http(200, body))) as port:
        if fits:
            assert len(call(port).value) == size - 2
            return
        with pytest.raises(Malformed, match="at most 4194304 bytes"):
            call(port)


def test_a_body_without_end_is_given_up_at_the_limit_and_not_at_the_deadline() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65_536)

    with answering(flood) as port:
        began = time.monotonic()
        with pytest.raises(Malformed, match="found more"):
            call(port, timeout_seconds=20)
        assert time.monotonic() - began < 10


def test_a_small_answer_that_would_unfold_to_a_large_one_stays_folded() -> None:
    folded = gzip.compress(b" " * 50_000_000)
    with (
        answering(sending(loopback.http(200, folded, "content-encoding: gzip"))) as port,
        pytest.raises(Malformed, match="expected JSON"),
    ):
        call(port)


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Sign in</title>",
        b"",
        b"\xff\xfe\x00",
        b'{"a": 1',
        b"[" * 1_000_000,
        b"1" * 100_000,
    ],
    ids=["HTML", "nothing", "no text", "half", "deep", "a number of 100,000 digits"],
)
def test_what_is_not_json_is_malformed_with_a_short_excerpt(body: bytes) -> None:
    with (
        answering(sending(loopback.http(200, body))) as port,
        pytest.raises(Malformed, match="expected JSON") as error,
    ):
        call(port)
    assert len(str(error.value)) < 400


def test_a_redirect_is_not_followed() -> None:
    reached = threading.Event()

    def elsewhere(_: socket.socket) -> None:
        reached.set()

    with answering(elsewhere) as other:
        location = f"location: http://127.0.0.1:{other}/"
        for status in (301, 302, 303, 307, 308):
            with (
                answering(sending(loopback.http(status, b"", location))) as port,
                pytest.raises(Malformed, match=f"found status {status}"),
            ):
                call(port)
    assert not reached.is_set()


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        (400, Malformed),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (409, Malformed),
        (422, Malformed),
        (420, Throttled),
        (429, Throttled),
        (500, Transient),
        (502, Transient),
        (503, Transient),
    ],
)
def test_a_status_becomes_our_error_and_an_accepted_one_an_answer(
    status: int, ours: type[ClientError]
) -> None:
    body = json.dumps({"error": "why", "padding": "x" * 5000}).encode()
    with answering(sending(loopback.http(status, body))) as port:
        with pytest.raises(ours, match=f"status {status}") as error:
            call(port)
        accepted = call(port, accept=frozenset({status}))
    assert type(error.value) is ours
    assert len(str(error.value)) < 400
    assert (accepted.status, accepted.value["error"]) == (status, "why")


def test_a_refused_connection_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Transient, match="to answer, found ConnectError"):
        call(port)


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000],
    ids=["closes at once", "another protocol", "headers without end"],
)
def test_what_is_not_http_is_transient(answer: bytes) -> None:
    with answering(sending(answer)) as port, pytest.raises(Transient, match="to answer"):
        call(port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "http://",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://[::1/",
        "http://127.0.0.1:port/",
        "http://a\x00b/",
    ],
    ids=repr,
)
def test_what_is_no_url_is_malformed_and_not_worth_a_second_try(url: str) -> None:
    with pytest.raises(Malformed, match="expected a URL"):
        http.call("GET", url, timeout_seconds=2)
    with pytest.raises(Malformed, match="expected a URL"):
        http.download(url, timeout_seconds=2)


@pytest.mark.parametrize("token", ["geheim-ä", "two words", "line\nbreak", "nul\x00", "x" * 5000])
def test_a_token_that_no_header_can_carry_is_denied_and_never_shown(token: str) -> None:
    with pytest.raises(Denied) as error:
        call(1, token=SecretStr(token))
    assert token not in str(error.value)


def test_token_and_json_body_reach_the_server_as_they_are() -> None:
    heard: list[bytes] = []

    def record(connection: socket.socket) -> None:
        connection.settimeout(0.3)
        try:
            heard.append(connection.recv(65_536))
        except TimeoutError:
            heard.append(b"")
        connection.sendall(loopback.http(200, b"{}"))

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            record(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    http.call(
        "POST",
        f"http://127.0.0.1:{listening.getsockname()[1]}/path",
        timeout_seconds=5,
        token=SecretStr(SECRET),
        params={"limit": 3},
        json_body={"reason": "ä"},
    )
    thread.join()
    listening.close()
    (request,) = heard
    assert request.startswith(b"POST /path?limit=3 HTTP/1.1\r\n")
    assert f"authorization: bearer {SECRET}".encode() in request.lower()
    assert request.lower().count(b"accept-encoding: identity") == 1


def test_no_error_shows_the_token() -> None:
    for status in (401, 404, 500, 302):
        with (
            answering(sending(loopback.http(status, b"{}"))) as port,
            pytest.raises(ClientError) as error,
        ):
            call(port, token=SecretStr(SECRET))
        assert SECRET not in str(error.value)


def test_a_download_is_the_bytes_as_sent() -> None:
    content = bytes(range(256)) * 100
    with answering(sending(loopback.http(200, content))) as port:
        got = http.download(f"http://127.0.0.1:{port}/report.pdf", timeout_seconds=5)
    assert got == content


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("retry-after: 7", 7.0),
        ("retry-after: 0", 0.0),
        ("retry-after: -7", 0.0),
        ("retry-after: 99999999999999999999", 0.0),
        ("retry-after: Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("x-other: 7", 0.0),
    ],
)
def test_who_asks_too_often_learns_for_how_long_to_wait(header: str, seconds: float) -> None:
    asked = answering(sending(loopback.http(429, b"{}", header)))
    with asked as port, pytest.raises(Throttled) as error:
        call(port)
    assert error.value.seconds == seconds
