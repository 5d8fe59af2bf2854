"""One alert of an Alertmanager notification. Everything in it is hostile input."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlertStatus(StrEnum):
    """As Alertmanager spells it."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert, identified by fingerprint + startsAt + status (duplicates are by design)."""

    fingerprint: str
    status: AlertStatus
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """The alertname label; empty when the sender left it out."""
        return self.labels.get("alertname", "")

    @property
    def category(self) -> str:
        """The served system's category label; empty when absent."""
        return self.labels.get("category", "")

    def label(self, name: str) -> str:
        """A label's value, empty when absent."""
        return self.labels.get(name, "")
