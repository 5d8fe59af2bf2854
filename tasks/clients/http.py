"""HTTP, mostly JSON, with one deadline and one size limit for the whole exchange.

httpx's time-outs are per read: a server that sends one byte a second, of its headers or of its
body, would hold a probe for ever. So a timer ends the connection at the deadline. Redirects are
not followed: a probe must not be sent elsewhere by what it probes. Compression is not asked for
and not undone: a small answer could unfold to gigabytes.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any

import httpx
from pydantic import SecretStr

from tasks.clients.errors import Denied, Malformed, NotFound, Throttled, Transient

_EXCERPT = 200
_BODY_LIMIT = 4 * 1024 * 1024
_TOKEN = re.compile(r"[!-~]{1,4096}")  # what a header can carry: visible ASCII, no spaces
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"  # OpenSSL's name; httpx keeps no class for it
_PLAIN = {"accept-encoding": "identity"}
_DIGITS = 6  # of seconds that anybody may ask us to wait
_TOO_MANY = {420, 429}  # Statuspage says either
_CONNECTED = {"connection.connect_tcp.complete", "connection.start_tls.complete"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code, parsed JSON and the seconds it took."""

    status: int
    value: Any
    seconds: float
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Raw:
    """Status code, body and headers (names in lower case) of an answer that is no JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def call(
    method: str,
    url: str,
    *,
    timeout_seconds: float,
    token: SecretStr | None = None,
    params: Mapping[str, str | int] | None = None,
    json_body: Mapping[str, Any] | None = None,
    accept: frozenset[int] = frozenset({200}),
    body_limit: int = _BODY_LIMIT,
    scheme: str = "Bearer ",
) -> Answer:
    """One request; the answer's body must be JSON of at most `body_limit` bytes (4 MiB).

    `scheme` is what stands before the token. Raises Transient (no answer in time, 5xx outside
    `accept`), Throttled (420, 429), Denied (401, 403, a token
    that no header can carry), NotFound (404) or Malformed (anything else that is not the
    documented answer).
    """
    began = time.monotonic()
    headers = {"accept": "application/json"} | _PLAIN
    if token is not None and token.get_secret_value():
        headers["authorization"] = f"{scheme}{_sendable(token)}"
    wanted = {"params": params, "json": json_body, "headers": headers}
    response, body = _exchange(method, url, wanted, timeout_seconds, body_limit)
    _check_status(response, url, body, accept)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f"expected JSON of {url}, found {body[:_EXCERPT]!r} (status {response.status_code})"
        ) from error
    seconds = time.monotonic() - began
    return Answer(response.status_code, value, seconds, dict(response.headers))


def download(url: str, *, timeout_seconds: float) -> bytes:
    """A body of at most 4 MiB as it is; errors as in `call`."""
    response, body = _exchange("GET", url, {"headers": _PLAIN}, timeout_seconds)
    _check_status(response, url, body, frozenset({200}))
    return body


def post(
    url: str,
    body: bytes,
    *,
    timeout_seconds: float,
    content_type: str = "application/octet-stream",
) -> Raw:
    """Bytes to a protocol that is not JSON; the answer as it is, whatever its status.

    Raises Transient when it does not come in time, Malformed for no URL and over 4 MiB.
    """
    headers = {"content-type": content_type} | _PLAIN
    wanted = {"content": body, "headers": headers}
    response, found = _exchange("POST", url, wanted, timeout_seconds)
    return Raw(response.status_code, found, dict(response.headers))


def _sendable(token: SecretStr) -> str:
    """The token, if a header can carry it; the message never shows it."""
    if _TOKEN.fullmatch(token.get_secret_value()) is None:
        raise Denied(
            "expected a token of visible ASCII without spaces, found other characters: correct it"
        )
    return token.get_secret_value()


@contextmanager
def opened(
    method: str,
    url: str,
    *,
    timeout_seconds: float,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    **wanted: Any,  # noqa: ANN401  httpx's own: params, headers, content, json
) -> Iterator[httpx.Response]:
    """An answer whose body is still to be read; all of it must be over in `timeout_seconds`.

    `tls` replaces the system's trust, `server_name` the name that the certificate must have.
    Raises Transient and Malformed as `call` does; what the status means is the caller's.
    """
    with _deadline(timeout_seconds) as deadline:
        extensions: dict[str, Any] = {"trace": deadline.watch}
        if server_name:
            extensions["sni_hostname"] = server_name
        try:
            with (
                httpx.Client(
                    timeout=timeout_seconds, trust_env=False, verify=True if tls is None else tls
                ) as client,
                client.stream(method, url, **wanted, extensions=extensions) as response,
            ):
                yield response
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Malformed(f"expected a URL, found {url[:_EXCERPT]!r}") from error
        except httpx.TransportError as error:
            if deadline.passed or isinstance(error, httpx.TimeoutException):
                raise Transient(
                    f"expected an answer of {url} within {timeout_seconds} s, found none"
                ) from error
            if _UNTRUSTED in str(error):
                raise Malformed(
                    f"no trusted TLS with {url}: its certificate is not ours"
                ) from error
            raise Transient(f"expected {url} to answer, found {type(error).__name__}") from error
    if deadline.passed:  # a body without a length looks whole when its connection ends
        raise Transient(f"expected the whole answer of {url} in time, found a part")


def _exchange(
    method: str,
    url: str,
    wanted: dict[str, Any],
    timeout_seconds: float,
    body_limit: int = _BODY_LIMIT,
) -> tuple[httpx.Response, bytes]:
    with opened(method, url, timeout_seconds=timeout_seconds, **wanted) as response:
        body = bounded(response, url, body_limit)
    return response, body


class _Deadline:
    """Ends a connection's both directions when the time is over, whoever waits for it."""

    def __init__(self) -> None:
        self.passed = False
        self._stream: Any = None
        self._lock = threading.Lock()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """For httpx to trace: learns of the connection as soon as there is one."""
        if event in _CONNECTED:
            with self._lock:
                self._stream = info["return_value"]
                if self.passed:
                    self._shut()

    def end(self) -> None:
        """The time is over."""
        with self._lock:
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        sock = self._stream.get_extra_info("socket") if self._stream is not None else None
        if sock is not None:
            with suppress(OSError):  # it has ended by itself
                sock.shutdown(SHUT_RDWR)


@contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline()
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()


def bounded(response: httpx.Response, url: str, limit: int) -> bytes:
    """The whole body as it is. Raises Malformed beyond `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > limit:
            raise Malformed(f"expected at most {limit} bytes of {url}, found more")
        chunks.append(chunk)
    return b"".join(chunks)


def _check_status(response: httpx.Response, url: str, body: bytes, accept: frozenset[int]) -> None:
    status = response.status_code
    if status in accept:
        return
    excerpt = f"status {status}: {body[:_EXCERPT]!r}"
    if status in {401, 403}:
        raise Denied(f"expected {url} to accept our token, found {excerpt}")
    if status == httpx.codes.NOT_FOUND:
        raise NotFound(f"expected {url} to exist, found {excerpt}")
    if status in _TOO_MANY:
        raise Throttled(f"expected {url} to answer, found {excerpt}", _retry_after(response))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Transient(f"expected {url} to answer, found {excerpt}")
    raise Malformed(f"expected status {sorted(accept)} of {url}, found {excerpt}")


def _retry_after(response: httpx.Response) -> float:
    """Seconds of the header; 0 without one, and for a date, which nobody whom we ask sends."""
    found = response.headers.get("retry-after", "").strip()
    return float(found) if found.isascii() and found.isdigit() and len(found) < _DIGITS else 0.0
