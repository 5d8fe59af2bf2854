"""Routing as policy: which part of the runbook an alert starts, and on what terms.

The policy is a file, tasks/domain/routing.toml unless an operator has one of their own. Its routes
are tried in their order and the first one whose matchers all match takes the alert; the last route
has no matchers, so every alert is taken by one. A file that says what cannot be is refused whole.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from typing import Any, Self

from tasks.domain.alert import Alert
from tasks.domain.policy_file import read_rules
from tasks.domain.routes import TRIAGE, Remedy, Route, Rule, decision
from tasks.domain.severity import assess_routed

__all__ = [
    "DEFAULT",
    "DPO_CLOCK",
    "DPO_LIMIT",
    "SECURITY",
    "TRIAGE",
    "Remedy",
    "Route",
    "RoutingPolicy",
    "Rule",
    "shipped_text",
]

SECURITY = "security"
"""The component whose alerts are told to the security team at once."""

DPO_CLOCK = "dpo"
"""Name of the one-hour clock of "Notify DPO within 1 hour"."""

DPO_LIMIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """A policy that holds together. `digest`: SHA-256 of its text, in hex."""

    rules: tuple[Rule, ...]
    digest: str
    _nameless: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Most routes ask for one alert by name: only those of the alert's own name are looked at.
        names = {rule.alert_name for rule in self.rules} - {None}
        by_name = {
            str(name): tuple(rule for rule in self.rules if rule.alert_name in {None, name})
            for name in names
        }
        nameless = tuple(rule for rule in self.rules if rule.alert_name is None)
        object.__setattr__(self, "_nameless", nameless)
        object.__setattr__(self, "_by_name", by_name)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From TOML, as routing.toml explains it. BadInput names the route and the field."""
        return cls(read_rules(text), hashlib.sha256(text.encode(errors="replace")).hexdigest())

    def route(self, alert: Alert) -> Route:
        """The route of an alert; every alert has one."""
        return self.rule(alert).route_of(alert)

    def decide(self, alert: Alert) -> dict[str, Any]:
        """The whole decision about an alert, with the severity that it justifies by itself."""
        route = self.route(alert)
        return decision(route, assess_routed(alert, route.severity, route.name).severity)

    def rule(self, alert: Alert) -> Rule:
        """The first rule that takes the alert; the last one takes all."""
        rules = self._by_name.get(alert.name, self._nameless)
        return next(rule for rule in rules if rule.takes(alert.labels))


def shipped_text() -> str:
    """The shipped policy as it is written: what one's own begins from."""
    return resources.files(__package__).joinpath("routing.toml").read_text(encoding="utf-8")


DEFAULT = RoutingPolicy.parse(shipped_text())
"""The shipped policy."""
