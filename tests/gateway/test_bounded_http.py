"""Heads of strangers, byte by byte, against the real server."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from deployments.gateway import bounded_http
from deployments.gateway.bounded_http import HEAD_BYTES

pytestmark = pytest.mark.components


def connect(gateway: str) -> socket.socket:
    address = urlsplit(gateway)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def until_closed(connection: socket.socket) -> bytes:
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return answer


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(gateway: str) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        try:
            while sent < 50 * 1024 * 1024:
                connection.sendall(b"X-Filler: " + b"y" * 8000 + b"\r\n")
                sent += 8012
        except ConnectionError:
            pass
    assert sent < 10 * 1024 * 1024  # some of it lay in the kernel's buffers


def test_a_head_over_the_limit_hears_431(gateway: str) -> None:
    with connect(gateway) as connection:
        head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"y" * (HEAD_BYTES + 1)
        connection.sendall(head)
        assert until_closed(connection).startswith(b"HTTP/1.1 431")


def test_a_large_body_behind_a_small_head_is_no_large_head(gateway: str) -> None:
    body = b"z" * (10 * HEAD_BYTES)
    with httpx.Client(base_url=gateway) as client:
        for _ in range(3):  # on one connection
            assert client.post("/alerts", content=body).status_code == 401


def test_head_that_does_not_come_in_time_frees_its_connection(
    gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.5)
    with connect(gateway) as silent, connect(gateway) as half:
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost")
        began = time.monotonic()
        assert until_closed(silent) == until_closed(half) == b""
        assert time.monotonic() - began < 5


def test_two_requests_on_one_connection_each_have_their_time_and_size(gateway: str) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"y" * 20_000 + b"\r\n\r\n"
    with connect(gateway) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
