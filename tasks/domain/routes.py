"""Routes: where one alert goes and on what terms, and whom a route takes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tasks.domain.alert import Alert
from tasks.domain.alertmanager import clean
from tasks.domain.contacts import Contact
from tasks.domain.matchers import Matcher, Operator
from tasks.domain.severity import Severity
from tasks.domain.written import duration_text

TRIAGE = "triage"
"""The procedure of alerts for which the runbook has none: first checks, then a person."""

PROCEDURES = frozenset(
    {
        "api_service",
        "audit_trail",
        "breach",
        "cache",
        "database",
        "database_recovery",
        "emergency",
        "privacy_engine",
        "privacy_incident",
        "rollback",
        "scaling",
        TRIAGE,
    }
)
"""Sections of the runbook that an alert may start: the modules of flows/."""

OWNERS = frozenset(contact.value for contact in Contact) - {
    Contact.REGULATORS.value,
    Contact.AUDITORS.value,
}
"""The runbook's "Emergency Contacts" by their names; a regulator owns no incident of ours."""

ALERT_NAME = "{alertname}"
"""Where a title names its alert."""

TITLE_LIMIT = 160
GROUP_KEY_LIMIT = 200
_NAMELESS = "alert without a name"


CAUSE_WINDOW = timedelta(hours=1)
"""An incident explains alerts of other components only while its own newest is no older."""


class Remedy(StrEnum):
    """How the component is mended: without asking, after an approval, or by people alone."""

    AUTOMATIC = "automatic"
    APPROVAL = "approval"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Route:
    """Where one alert goes, and on what terms.

    `name` is the route's in the policy, `procedure` a section of the runbook (the module in
    flows/), `title` our own words, `owner` a contact's name in the settings. `severity` None: the
    rules of the runbook's classification say it.

    Alerts of one `group_key` join one incident: at any time while it is open, or, with a `window`,
    only while its newest alert is no older than that. An alert whose group has none joins the open
    incident of the first component of `caused_by` that has one.

    `cooldown`: what an incident has mended, others leave alone for so long. `max_responses`: runs
    of the component at once; 0 is no limit. `approvers`: persons who must approve a plan, at least.
    `starts_dpo_clock`: personal data may be concerned. `closes_on_resolve`: the incident ends when
    all its alerts have resolved. `heartbeat`: it opens nothing; its absence does.
    """

    name: str
    component: str
    procedure: str
    title: str
    severity: Severity | None
    owner: str
    remedy: Remedy
    group_key: str
    window: timedelta
    caused_by: tuple[str, ...]
    cooldown: timedelta
    max_responses: int
    approvers: int
    starts_dpo_clock: bool
    closes_on_resolve: bool
    heartbeat: bool


def decision(route: Route, severity: Severity) -> dict[str, Any]:
    """What a policy decides about an alert of this severity, as JSON has it and people read it."""
    return {
        "route": route.name,
        "component": route.component,
        "procedure": route.procedure,
        "title": route.title,
        "severity": severity.value,
        "owner": route.owner,
        "remedy": route.remedy.value,
        "group_key": route.group_key,
        "window": duration_text(route.window),
        "caused_by": list(route.caused_by),
        "cooldown": duration_text(route.cooldown),
        "max_responses": route.max_responses,
        "approvers": route.approvers,
        "starts_dpo_clock": route.starts_dpo_clock,
        "closes_on_resolve": route.closes_on_resolve,
        "heartbeat": route.heartbeat,
    }


@dataclass(frozen=True, slots=True)
class Rule:
    """One route of the policy: whom it takes, and the route but for what the alert adds to it."""

    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...]
    route: Route

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is this route's."""
        for matcher in self.matchers:  # noqa: SIM110  a generator takes three times as long
            if not matcher.matches(labels):
                return False
        return True

    @property
    def alert_name(self) -> str | None:
        """The only alert name that it takes; None when it may take several."""
        named = (
            matcher.value
            for matcher in self.matchers
            if matcher.name == "alertname" and matcher.operator is Operator.EQUAL
        )
        return next(named, None)

    def route_of(self, alert: Alert) -> Route:
        """The route of an alert that it takes."""
        route = self.route
        if ALERT_NAME in route.title:
            title = route.title.replace(ALERT_NAME, alert.name or _NAMELESS)
            route = replace(route, title=clean(title, TITLE_LIMIT))
        if self.group_by:
            values = [alert.label(label) for label in self.group_by]
            route = replace(route, group_key=group_key(route.component, values))
        return route


def group_key(component: str, values: Sequence[str]) -> str:
    """The component and the labels' values, of which no two are taken for the same.

    A key that would be too long ends in a hash of the whole.
    """
    parts = (clean(value).replace("%", "%25").replace("/", "%2F") for value in values)
    key = "/".join((component, *parts))
    if len(key) <= GROUP_KEY_LIMIT:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: GROUP_KEY_LIMIT - len(digest) - 1]}~{digest}"
