"""Alerts that fire and that nobody is told of: silenced by a person, or inhibited by a rule.

A silence that was set for other work may hide what an incident is about. Read from Alertmanager's
JSON (v2); texts are hostile, and are kept as one printable line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.json_fields import Fields, complain
from tasks.domain.untrusted import visible

_ALERTS = 20_000
_SILENCES = 20_000
_IDS = 1000
_SHOWN = 10
_NAME = 80
_COMMENT = 160


@dataclass(frozen=True, slots=True)
class Silence:
    """Who hid what until when (UTC), and why by their own words."""

    id: str
    by: str
    comment: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class HiddenAlert:
    """An alert that fires. `silences` are those that hide it; none of them: a rule inhibits it."""

    name: str
    severity: str
    silences: tuple[Silence, ...]

    def __str__(self) -> str:
        """For people: what is hidden, by whom and until when."""
        if not self.silences:
            return f"{self.name} is inhibited by another alert"
        first = self.silences[0]
        until = f" until {first.ends_at:%Y-%m-%d %H:%M} UTC" if first.ends_at else ""
        more = f" and {len(self.silences) - 1} more" if len(self.silences) > 1 else ""
        why = f": {first.comment}" if first.comment else ""
        return f"{self.name} is silenced by {first.by or 'nobody named'}{until}{more}{why}"

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        return {
            "alert": self.name,
            "severity": self.severity,
            "silences": [
                {
                    "id": each.id,
                    "by": each.by,
                    "comment": each.comment,
                    "ends_at": each.ends_at and each.ends_at.isoformat(),
                }
                for each in self.silences[:_SHOWN]
            ],
        }


def read_hidden(alerts: object, silences: object) -> tuple[HiddenAlert, ...]:
    """Alerts that are suppressed, from the answers of `alerts` and `silences`. Raises BadInput.

    The silenced ones first, by name: those a person can change at once.
    """
    known = {each.id: each for each in _silences(silences)}
    hidden = [_hidden(each, known) for each in _objects("alerts", alerts, _ALERTS)]
    found = [each for each in hidden if each is not None]
    return tuple(sorted(found, key=lambda each: (not each.silences, each.name)))


def _silences(silences: object) -> Iterable[Silence]:
    for each in _objects("silences", silences, _SILENCES):
        yield Silence(
            id=visible(each.text("id"), _NAME),
            by=visible(each.text("createdBy"), _NAME),
            comment=visible(each.text("comment"), _COMMENT),
            ends_at=each.moment("endsAt"),
        )


def _hidden(alert: Fields, known: dict[str, Silence]) -> HiddenAlert | None:
    status = alert.within("status")
    by = [visible(each, _NAME) for each in status.texts("silencedBy", _IDS)]
    if not by and not status.texts("inhibitedBy", _IDS):
        return None
    labels = alert.within("labels")
    silences = [known.get(each, Silence(each, "", "", None)) for each in by]
    return HiddenAlert(
        name=visible(labels.text("alertname"), _NAME) or "an alert without a name",
        severity=visible(labels.text("severity"), _NAME),
        silences=tuple(silences),
    )


def _objects(where: str, value: object, limit: int) -> Iterable[Fields]:
    if not isinstance(value, list):
        complain(where, "a list", value)
    if len(value) > limit:
        complain(where, f"at most {limit} entries", len(value))
    return [Fields.of(f"{where}[{place}]", each) for place, each in enumerate(value)]
