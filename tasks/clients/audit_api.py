"""The audit API of the system under care, as the runbook calls it."""

import re
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.sections.systems import ApiSettings

MERKLE = "audit/merkle/verify"

_HEALTH_CODES = frozenset({200, 503})
_ROOT = re.compile(r"[0-9a-f]{64}", re.ASCII)


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


def merkle_head(api: ApiSettings) -> tuple[int, bytes]:
    """The head that the API shows: number of records, and root; Malformed when it shows none."""
    said = get(api, MERKLE)
    size, root = said.get("tree_size"), said.get("root_hash")
    counts = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 62
    if not counts or not isinstance(root, str) or not _ROOT.fullmatch(root):
        raise Malformed(
            "expected tree_size and root_hash (64 hex digits) of the audit API, found"
            f" {ascii(size)[:40]} and {ascii(root)[:80]}"
        )
    return int(size or 0), bytes.fromhex(root)
