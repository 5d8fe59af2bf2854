"""The alerts of an incident for a page: one line per fingerprint, all of it the senders' words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.alert_state import AlertState
from tasks.domain.incident import Incident
from tasks.domain.journaled import UNKNOWN, mapping, moment, text
from tasks.domain.untrusted import visible

_SHOWN = 50
_PAIRS = 40
_NAME_LIMIT = 120


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert; `labels` and `annotations` are (name, value) pairs, cut to what a page bears."""

    name: str
    state: str
    starts_at: datetime | None
    heard: int
    summary: str
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AlertCount:
    """Distinct alerts, and how many of them still fire as far as notifications say."""

    distinct: int
    firing: int


def count(incident: Incident) -> AlertCount:
    """Of the journaled alerts, by their fingerprint."""
    newest = {_fingerprint(data): data for data in incident.alerts}
    firing = sum(data.get("status") == "firing" for data in newest.values())
    return AlertCount(len(newest), firing)


def alerts(incident: Incident, judged: Iterable[AlertState]) -> tuple[list[AlertView], int]:
    """The newest word of each alert, last ones first, and how many are left out.

    `judged` says whether it flaps or is stale, which a notification alone cannot.
    """
    states = {one.fingerprint: one.state.value for one in judged}
    newest: dict[str, Mapping[str, Any]] = {}
    heard: dict[str, int] = {}
    for data in incident.alerts:
        fingerprint = _fingerprint(data)
        newest.pop(fingerprint, None)
        newest[fingerprint] = data
        heard[fingerprint] = heard.get(fingerprint, 0) + 1
    ordered = list(reversed(newest.items()))
    shown = [_view(data, states.get(name, ""), heard[name]) for name, data in ordered[:_SHOWN]]
    return shown, len(ordered) - len(shown)


def _view(data: Mapping[str, Any], state: str, heard: int) -> AlertView:
    labels, annotations = mapping(data.get("labels")), mapping(data.get("annotations"))
    said = text(annotations, "summary", text(annotations, "description", ""))
    return AlertView(
        name=text(data, "name", "alert without a name", _NAME_LIMIT),
        state=state or text(data, "status"),
        starts_at=moment(data.get("starts_at")),
        heard=heard,
        summary=said,
        labels=_pairs(labels),
        annotations=_pairs(annotations),
    )


def _pairs(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    shown = sorted(found.items())[:_PAIRS]
    return tuple((visible(name, _NAME_LIMIT), visible(value)) for name, value in shown)


def _fingerprint(data: Mapping[str, Any]) -> str:
    return text(data, "fingerprint", UNKNOWN, _NAME_LIMIT)
