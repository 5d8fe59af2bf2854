"""JSON over HTTP with one deadline and one size limit for the whole exchange.

httpx's time-outs are per read: a server that sends one byte a second would hold a probe for ever.
Redirects are not followed: a probe must not be sent elsewhere by what it probes.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from tasks.clients.errors import Denied, Malformed, NotFound, Transient

_EXCERPT = 200
_BODY_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code, parsed JSON and the seconds it took."""

    status: int
    value: Any
    seconds: float
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
) -> Answer:
    """One request; the answer's body must be JSON of at most 4 MiB.

    Raises Transient (no answer in time, 429, 5xx outside `accept`), Denied (401, 403), NotFound
    (404) or Malformed (anything else that is not the documented answer).
    """
    began = time.monotonic()
    headers = {"accept": "application/json"}
    if token is not None and token.get_secret_value():
        headers["authorization"] = f"Bearer {token.get_secret_value()}"
    wanted = {"params": params, "json": json_body, "headers": headers}
    response, body = _exchange(method, url, wanted, timeout_seconds)
    _check_status(response, url, body, accept)
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Malformed(
            f"expected JSON of {url}, found {body[:_EXCERPT]!r} (status {response.status_code})"
        ) from error
    seconds = time.monotonic() - began
    return Answer(response.status_code, value, seconds, dict(response.headers))


def download(url: str, *, timeout_seconds: float) -> bytes:
    """A body of at most 4 MiB as it is; errors as in `call`."""
    response, body = _exchange("GET", url, {}, timeout_seconds)
    _check_status(response, url, body, frozenset({200}))
    return body


def _exchange(
    method: str, url: str, wanted: dict[str, Any], timeout_seconds: float
) -> tuple[httpx.Response, bytes]:
    deadline = time.monotonic() + timeout_seconds
    try:
        with (
            httpx.Client(timeout=timeout_seconds, trust_env=False) as client,
            client.stream(method, url, **wanted) as response,
        ):
            return response, _bounded(response, url, deadline)
    except httpx.TimeoutException as error:
        raise Transient(
            f"expected an answer of {url} within {timeout_seconds} s, found none"
        ) from error
    except httpx.TransportError as error:
        raise Transient(f"expected {url} to answer, found {type(error).__name__}") from error
    except httpx.InvalidURL as error:
        raise Malformed(f"expected a URL, found {url[:_EXCERPT]!r}") from error


def _bounded(response: httpx.Response, url: str, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > _BODY_LIMIT:
            raise Malformed(f"expected at most {_BODY_LIMIT} bytes of {url}, found more")
        if time.monotonic() > deadline:
            raise Transient(f"expected the whole answer of {url} in time, found {size} bytes")
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
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Transient(f"expected {url} to answer, found {excerpt}")
    raise Malformed(f"expected status {sorted(accept)} of {url}, found {excerpt}")
