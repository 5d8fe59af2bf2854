"""How every page is made: templates that escape, times with their offset, headers that forbid.

Text of strangers passes `visible` before it comes here (what it hides from the eye is shown) and
is escaped here (what it would be to the browser). No page loads anything from anywhere else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deployments.gateway.pages.static_files import address_of
from tasks.domain.journaled import UNKNOWN, moment
from tasks.domain.untrusted import short_hash, visible

_TEMPLATES = Path(__file__).parent.parent / "templates"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every page. The referrer stays among us: a form's Origin would else be "null"."""

SEVERITY_NAMES: Mapping[str, str] = {"P0": "critical", "P1": "high", "P2": "medium", "P3": "low"}


def page(template: str, status: int = 200, **context: object) -> HTMLResponse:
    """A whole page; every name that the template uses must be given."""
    text = _environment().get_template(template).render(now=datetime.now(UTC), **context)
    return HTMLResponse(text, status_code=status, headers=dict(HEADERS))


def wants_page(request: Request) -> bool:
    """Whether a browser asks, which must be told in a page, and not in JSON."""
    return "text/html" in request.headers.get("accept", "")


def stamp(at: datetime) -> str:
    """`2026-11-26 03:04:05 +00:00`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} +00:00"


def age(seconds: float) -> str:
    """`12 s`, `12 min`, `3 h 4 min`, `2 d 3 h`; never negative."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _relative(at: datetime) -> str:
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"{age(seconds)} ago" if seconds >= 0 else f"in {age(-seconds)}"


def _when(value: object) -> Markup:
    """An instant with its offset, and in its title how long ago that is."""
    at = moment(value)
    if at is None:
        return Markup("{}").format(UNKNOWN)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), _relative(at), stamp(at)
    )


def _ago(value: object) -> Markup:
    """How long ago (or in how long), and in its title the instant with its offset."""
    at = moment(value)
    if at is None:
        return Markup("{}").format(UNKNOWN)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), stamp(at), _relative(at)
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "when": _when,
        "ago": _ago,
        "visible": visible,
        "short_hash": short_hash,
    }
    environment.globals |= {"static": address_of, "severity_names": SEVERITY_NAMES}
    return environment
