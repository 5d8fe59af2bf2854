"""The one shape of a refusal, and the bearer token of a request."""

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse

_TOKEN_LIMIT = 512


class Turned(Exception):
    """A request that goes no further: who asks, or how, is not what it must be (401, 403, 429)."""

    def __init__(
        self,
        status: int,
        error: str,
        expected: str,
        found: str,
        next_step: str = "",
        *,
        retry_after: int = 0,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.expected = expected
        self.found = found
        self.next_step = next_step
        self.retry_after = retry_after

    def answer(self) -> JSONResponse:
        """As programs read it."""
        answer = refusal(self.status, self.error, self.expected, self.found, self.next_step)
        answer.headers.update(self.headers())
        return answer

    def headers(self) -> dict[str, str]:
        """What goes with the answer in any form."""
        return {"Retry-After": str(self.retry_after)} if self.retry_after else {}


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
