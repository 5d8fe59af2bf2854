"""The verbs by which a person says something about incidents: acknowledge, close, hold."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import click

from deployments.console import Gateway, explain_refusal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.clients.errors import Malformed
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible

_LENGTH = re.compile(r"([0-9]{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def acknowledge(gateway: Gateway, incident: str) -> int:
    """Say that somebody has seen it."""
    return _say(gateway, f"{_path(incident)}/acknowledge", {}, "acknowledged")


def close(gateway: Gateway, incident: str, reason: str) -> int:
    """End an incident; its report is written then."""
    return _say(gateway, f"{_path(incident)}/close", {"reason": reason}, "closed")


def hold(gateway: Gateway, incident: str | None, scope: str, reason: str, review: str) -> int:
    """Refuse every change of the scope: for one incident's sake, or in one opened for it."""
    review_at = read_review(review, datetime.now(UTC))
    body = {"scope": scope, "reason": reason, "review_at": review_at.isoformat()}
    until = f"{scope} held, to be reviewed at {review_at:%Y-%m-%d %H:%M} UTC"
    return _say(gateway, _holds(incident), body, until)


def lift(gateway: Gateway, incident: str | None, scope: str, reason: str) -> int:
    """Let the changes of the scope go on."""
    body = {"scope": scope, "reason": reason}
    return _say(gateway, f"{_holds(incident)}/lift", body, f"hold on {scope} lifted")


def read_review(text: str, now: datetime) -> datetime:
    """An instant in ISO 8601 with its offset, or how long from now: 30m, 2h, 1d."""
    length = _LENGTH.fullmatch(text)
    if length is not None:
        return now + timedelta(**{_UNITS[length[2]]: int(length[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadInput(
            "expected a review time such as 30m, 2h, 1d or 2026-03-14T06:00:00+00:00, found "
            f"{text[:40]!a}"
        )
    return at


def _path(incident: str) -> str:
    return f"/incidents/{quote(incident, safe='')}"


def _holds(incident: str | None) -> str:
    return "/holds" if incident is None else f"{_path(incident)}/holds"


def _say(gateway: Gateway, path: str, body: dict[str, str], what: str) -> int:
    answer = gateway.post(path, body)
    if not isinstance(answer.value, dict):
        raise Malformed(f"expected an object of {path}, found something else: is the URL right?")
    if answer.status != 200:  # noqa: PLR2004 - HTTP OK
        explain_refusal(answer.value)
        return COULD_NOT_TELL
    incident, by = (visible(answer.value.get(key)) for key in ("incident", "by"))
    click.echo(f"{incident}: {visible(what)} by {by}")
    return GOOD
