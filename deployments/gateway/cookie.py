"""The cookie of a login: for this host, for no script, and never along from another site."""

from fastapi import Request, Response

from tasks.settings import settings
from tasks.work.sessions import VALID_FOR

_NAME = "runbook_session"
_LIMIT = 512


def secret_of(request: Request) -> str:
    """The session's secret; empty when there is none or it is absurdly long."""
    secret = request.cookies.get(_name(), "")
    return secret if len(secret) <= _LIMIT else ""


def give(response: Response, secret: str) -> None:
    """Have the browser keep the secret for as long as the session may last."""
    response.set_cookie(
        _name(),
        secret,
        max_age=int(VALID_FOR.total_seconds()),
        path="/",
        secure=_is_https(),
        httponly=True,
        samesite="strict",
    )


def take(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(_name(), path="/", secure=_is_https(), httponly=True, samesite="strict")


def _name() -> str:
    """With `__Host-` no sister host, and nobody on plain HTTP, can plant a cookie of ours."""
    return f"__Host-{_NAME}" if _is_https() else _NAME


def _is_https() -> bool:
    return settings().gateway.url.lower().startswith("https://")
