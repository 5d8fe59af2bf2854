"""The audit API of the system under care, as the runbook calls it."""

from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.settings import ApiSettings

_HEALTH_CODES = frozenset({200, 503})


def health(api: ApiSettings) -> http.Answer:
    """`GET /health`: {status, timestamp}; 503 is an answer too."""
    return http.call(
        "GET", f"{api.url}/health", timeout_seconds=api.timeout_seconds, accept=_HEALTH_CODES
    )


def get(api: ApiSettings, path: str, **params: str | int) -> dict[str, Any]:
    """`GET /api/v1/<path>`, an object.

    Raises Malformed when the answer is JSON but not an object.
    """
    answer = http.call(
        "GET",
        f"{api.url}/api/v1/{path}",
        timeout_seconds=api.timeout_seconds,
        token=api.token,
        params=params,
    )
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found {type(answer.value).__name__}")
    return answer.value
