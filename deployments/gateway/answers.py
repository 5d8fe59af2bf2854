"""The one shape of a refusal, and the bearer token of a request."""

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse

_TOKEN_LIMIT = 512


def refusal(
    status: int, error: str, expected: str, found: str, next_step: str = ""
) -> JSONResponse:
    """What was expected, what was found and what to do next, as JSON."""
    body = {"error": error, "expected": expected, "found": found, "next": next_step}
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status_code=status, headers=headers)


def bearer(request: Request) -> str:
    """The bearer token; empty when there is none or it is absurdly long."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= _TOKEN_LIMIT else ""
