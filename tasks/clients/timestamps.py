"""RFC 3161 time-stamp tokens: asked for over HTTP, made and verified by the `openssl` program.

A token is a third party's signature over a SHA-256 and a time. `openssl ts` is the tool with which
an auditor verifies it as well, so what we accept they accept.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from tasks.clients import http
from tasks.clients.errors import Denied, Malformed, NotFound, Transient

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
_MAX_REPLY = 64 * 1024
_OPENSSL_SECONDS = 20.0
_EXCERPT = 300


def request_token(url: str, data: bytes, roots: Path, *, timeout_seconds: float) -> bytes:
    """The authority's reply (DER of a TimeStampResp) over the SHA-256 of `data`, verified.

    It answers exactly our query, nonce included, and its signer's certificate leads to one of
    `roots` (PEM). Raises Transient when the authority does not answer, Denied when it refuses,
    Malformed when the reply does not verify, NotFound without openssl.
    """
    with tempfile.TemporaryDirectory() as directory:
        file, query, reply = (Path(directory) / name for name in ("data", "query", "reply"))
        file.write_bytes(data)
        _openssl("-query", "-data", file, "-sha256", "-cert", "-out", query)
        answer = http.post(
            url, query.read_bytes(), timeout_seconds=timeout_seconds, content_type=_QUERY
        )
        _check_answer(url, answer)
        reply.write_bytes(answer.body)
        _openssl("-verify", "-queryfile", query, "-in", reply, "-CAfile", roots)
        return answer.body


def verify_token(token: bytes, data: bytes, roots: Path) -> None:
    """Malformed unless the token is one over the SHA-256 of `data` that leads to the roots."""
    with tempfile.TemporaryDirectory() as directory:
        file, reply = Path(directory) / "data", Path(directory) / "reply"
        file.write_bytes(data)
        reply.write_bytes(token)
        _openssl("-verify", "-data", file, "-in", reply, "-CAfile", roots)


def _check_answer(url: str, answer: http.Raw) -> None:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if answer.status == 200 and kind == _REPLY and len(answer.body) <= _MAX_REPLY:  # noqa: PLR2004
        return
    said = f"expected a time-stamp reply of {url}, found status {answer.status}, {kind[:60]!r}"
    if answer.status == 429 or answer.status >= 500:  # noqa: PLR2004  too many; not now
        raise Transient(said)
    if answer.status in {401, 403}:
        raise Denied(said)
    raise Malformed(said)


def _openssl(*arguments: str | Path) -> None:
    try:
        ended = subprocess.run(
            ["openssl", "ts", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_OPENSSL_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath)},  # ours holds the sealer's secrets
        )
    except FileNotFoundError as error:
        raise NotFound("expected the program openssl, found none: install it") from error
    except subprocess.TimeoutExpired as error:
        raise Transient(f"openssl did not end in {_OPENSSL_SECONDS:.0f} s") from error
    if ended.returncode != 0:
        words = " ".join((ended.stderr or ended.stdout).split())[:_EXCERPT]
        raise Malformed(f"the time-stamp token does not verify: {words}")
