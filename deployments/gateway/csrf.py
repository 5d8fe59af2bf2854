"""That a browser was asked by our own pages: same origin, and the token that only they show.

Two independent proofs, both needed. Sec-Fetch-Site and Origin are written by the browser, not by
the page that asks; the token is in our forms, which no other site can read.
"""

import hmac
from urllib.parse import urlsplit

from fastapi import Request

from deployments.gateway.answers import Turned
from deployments.gateway.forms import field
from tasks.domain.alertmanager import clean
from tasks.settings import settings

HEADER = "X-CSRF-Token"
FIELD = "csrf"
_SHOWN = 80
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port."""


def check_origin(request: Request) -> None:
    """Raises Turned 403 unless the browser says that the request comes from our own pages.

    Ours is the origin of `gateway.url`, or of the Host that was asked, whatever the scheme: TLS
    ends in front of us.
    """
    site = request.headers.get("sec-fetch-site")
    origins = request.headers.getlist("origin")
    if site is None and not origins:
        found = "neither Origin nor Sec-Fetch-Site"
    elif site not in {None, "same-origin"}:
        found = f"a request that is {clean(str(site), _SHOWN)}"
    elif all(_is_ours(origin, request.headers.get("host", "")) for origin in origins):
        return
    else:
        found = clean(", ".join(origins), _SHOWN)
    raise Turned(
        403,
        "another site",
        "a form of the gateway's own pages",
        found,
        "open the page anew; the administrator: set RUNBOOK_GATEWAY__URL to what browsers use",
    )


async def check_token(request: Request, expected: str) -> None:
    """Raises Turned 403 unless the header or the form field is exactly the token."""
    given = request.headers.get(HEADER, "") or await field(request, FIELD)
    if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
        found = "another one" if given else "none"
        raise Turned(403, "form too old", "the CSRF token of your login", found, "open it anew")


def _is_ours(origin: str, host: str) -> bool:
    asked = _origin(origin)
    if asked is None:
        return False
    return asked in {_origin(settings().gateway.url), _origin(f"{asked[0]}://{host}")}


def _origin(url: str) -> Origin | None:
    """None for what is no origin of a page: `null`, other schemes, nonsense."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]
