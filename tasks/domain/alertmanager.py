"""Alertmanager's webhook, version 4: from hostile bytes to alerts, or a named complaint.

Unknown fields are accepted (0.32 and 0.34 add some). With `max_alerts` the group's `status` and
common labels are computed after the cut, so only each alert's own status and labels are read.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.errors import BadInput

VERSION = "4"
ALERTS_LIMIT = 5000
TEXT_LIMIT = 1024
CUT_MARK = " [cut]"
_PAIRS_LIMIT = 128
_NAME_LIMIT = 128
_DEPTH_LIMIT = 16
_TOO_DEEP = f"body: expected JSON nested at most {_DEPTH_LIMIT} deep, found deeper"
_CONTAINERS = (dict, list)
_YEARS = range(1970, 3000)  # Go's zero time and the end of the calendar are no beginnings

_FINGERPRINT = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
# Controls and lone surrogates: they forge log lines, terminals and rows, and cannot be stored.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery. `truncated` alerts were left out by the sender's `max_alerts`."""

    group_key: str
    receiver: str
    truncated: int
    alerts: tuple[Alert, ...]


def parse(body: bytes) -> Notification:
    """The alerts of one notification. Raises BadInput that names the first wrong field."""
    event = _object("body", _load(body))
    version = event.get("version")
    if version != VERSION:
        _complain("version", f'"{VERSION}"', version)
    alerts = event.get("alerts")
    if not isinstance(alerts, list):
        _complain("alerts", "a list", alerts)
    if len(alerts) > ALERTS_LIMIT:
        _complain("alerts", f"at most {ALERTS_LIMIT} alerts (set max_alerts)", len(alerts))
    return Notification(
        group_key=_text("groupKey", event.get("groupKey", "")),
        receiver=_text("receiver", event.get("receiver", "")),
        truncated=_count("truncatedAlerts", event.get("truncatedAlerts", 0)),
        alerts=tuple(_alert(f"alerts[{place}]", alert) for place, alert in enumerate(alerts)),
    )


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text of a stranger, fit to be stored and shown: printable, and cut with a marker."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text  # nearly all of it, and a fifth of the time
    printable = _UNPRINTABLE.sub("\ufffd", text[: limit + 1])
    return printable if len(text) <= limit else printable[: limit - len(CUT_MARK)] + CUT_MARK


def whole_milliseconds(moment: datetime) -> datetime:
    """A startsAt as Alertmanager's API says it: its webhook says the same one to the nanosecond."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


def _load(body: bytes) -> object:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"body: expected UTF-8, found byte {error.start} that is not") from error
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:  # a thousand deep, or so
        raise BadInput(_TOO_DEEP) from error
    except ValueError as error:
        raise BadInput(f"body: expected JSON, found none: {str(error)[:120]}") from error
    _check_depth(document)
    return document


def _check_depth(document: object) -> None:
    """A level at a time, containers only: what is nested less deeply costs one look per value."""
    level = [document] if isinstance(document, _CONTAINERS) else []
    for _ in range(_DEPTH_LIMIT):
        level = [
            value
            for container in level
            for value in (container.values() if isinstance(container, dict) else container)
            if isinstance(value, _CONTAINERS)
        ]
        if not level:
            return
    raise BadInput(_TOO_DEEP)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _alert(field: str, value: object) -> Alert:
    alert = _object(field, value)
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        _complain(f"{field}.fingerprint", "1 to 64 letters, digits or _.:-", fingerprint)
    status = alert.get("status")
    if not isinstance(status, str) or status not in {"firing", "resolved"}:
        _complain(f"{field}.status", '"firing" or "resolved"', status)
    return Alert(
        fingerprint=fingerprint,
        status=AlertStatus(status),
        starts_at=_moment(f"{field}.startsAt", alert.get("startsAt")),
        labels=_pairs(f"{field}.labels", alert.get("labels")),
        annotations=_pairs(f"{field}.annotations", alert.get("annotations", {})),
    )


def _pairs(field: str, value: object) -> dict[str, str]:
    pairs = _object(field, value)
    if len(pairs) > _PAIRS_LIMIT:
        _complain(field, f"at most {_PAIRS_LIMIT} entries", len(pairs))
    cleaned = {}
    for name, text in pairs.items():
        if not name or len(name) > _NAME_LIMIT:
            _complain(field, f"names of 1 to {_NAME_LIMIT} characters", name)
        shown = clean(name)
        if not isinstance(text, str):
            _complain(f"{field}.{shown}", "a string", text)
        cleaned[shown] = clean(text)
    return cleaned


def _moment(field: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None and moment.year in _YEARS:
            return whole_milliseconds(moment)
    except (ValueError, OverflowError):
        moment = None
    return _complain(field, "an RFC 3339 time with its zone, from 1970 on", value)


def _text(field: str, value: object) -> str:
    return clean(value) if isinstance(value, str) else _complain(field, "a string", value)


def _count(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _complain(field, "a count", value)
    return value


def _object(field: str, value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _complain(field, "an object", value)


def _complain(field: str, expected: str, found: object) -> NoReturn:
    shown = clean(repr(found), 80) if isinstance(found, str | int) else type(found).__name__
    raise BadInput(f"{field}: expected {expected}, found {shown}")
