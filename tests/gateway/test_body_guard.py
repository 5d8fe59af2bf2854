"""What a stranger or a slow sender can make the gateway read: little, and not for long."""

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from deployments.gateway.app import build_app
from deployments.gateway.body_guard import BODY_LIMIT, BodyGuard
from tasks.domain.facts import FactKind
from tasks.work import incidents, journal, people
from tests.gateway.stack import served, until_true

pytestmark = pytest.mark.components

People = Callable[[str, str], httpx.Client]
PATHS = [
    "/incidents/INC-1/notes",
    "/incidents/INC-1/acknowledge",
    f"/incidents/INC-1/plans/{'0' * 64}/approve",
    f"/incidents/INC-1/plans/{'0' * 64}/deny",
]
GIANT = 200 * 1024 * 1024


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def can_send(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x" * 100)
    except ConnectionError:
        return False
    return True


def head(path: str, length: int, token: str = "") -> bytes:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\n{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("path", PATHS)
def test_stranger_hears_401_before_the_first_byte_of_the_body(gateway: str, path: str) -> None:
    with connected(gateway) as stranger:
        stranger.sendall(head(path, GIANT))
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")


def test_connection_of_a_stranger_who_goes_on_sending_is_closed_soon(gateway: str) -> None:
    with connected(gateway) as stranger:
        stranger.sendall(head(PATHS[0], GIANT))
        until_true(lambda: not can_send(stranger), 5)


def test_stranger_who_sends_it_all_reads_the_refusal(gateway: str) -> None:
    answer = httpx.post(gateway + PATHS[0], content=b"x" * 5_000_000)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("body", [b"{", b'{"txt": 1}', b"\xff"])
def test_unknown_token_with_a_wrong_body_is_401(gateway: str, body: bytes) -> None:
    headers = {"Authorization": "Bearer wrong", "Content-Type": "application/json"}
    for path in PATHS:
        assert httpx.post(gateway + path, content=body, headers=headers).status_code == 401


@pytest.mark.parametrize("announced", [True, False])
def test_body_over_the_limit_is_413_and_recorded_nowhere(
    person: People, *, announced: bool
) -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna")
    body = b'{"text": "t", ' + b" " * BODY_LIMIT + b"}"

    def chunks() -> Iterator[bytes]:
        yield body

    answer = person("rosa", "responder").post(
        f"/incidents/{incident}/notes", content=body if announced else chunks()
    )
    assert answer.status_code == 413
    assert set(answer.json()) == {"error", "expected", "found", "next"}
    assert [fact.kind for fact in journal.read(incident).facts] == [FactKind.OPENED]


def test_body_exactly_at_the_limit_is_read(person: People) -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna")
    body = b'{"text": "t"}'.ljust(BODY_LIMIT)
    headers = {"Content-Type": "application/json"}
    rosa = person("rosa", "responder")
    answer = rosa.post(f"/incidents/{incident}/notes", content=body, headers=headers)
    assert answer.status_code == 200


@pytest.mark.usefixtures("database")
def test_body_that_drips_is_408_after_the_time() -> None:
    token = people.add_person("rosa", "responder", timedelta(hours=1))
    with served(BodyGuard(build_app(), body_seconds=0.3)) as url, connected(url) as slow:
        slow.sendall(head(PATHS[0], 100, token=token) + b"{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_senders_of_alerts_have_their_own_larger_limit(sender: httpx.Client) -> None:
    body = b'{"version": "4", "alerts": []}'.ljust(BODY_LIMIT * 2)
    assert sender.post("/alerts", content=body).status_code == 200
