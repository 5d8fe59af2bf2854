"""Settings of how people are reached. `tasks.settings` puts them into the one tree."""

from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, SecretStr, model_validator

from tasks.domain.contacts import Contact
from tasks.domain.errors import BadInput
from tasks.domain.rotation import BusinessHours, Override, Rotation
from tasks.sections.base import WEB, Section

_Who = Annotated[str, Field(min_length=1, max_length=120)]
_PagerDutyId = Annotated[str, Field(pattern="^[A-Z0-9]{6,20}$")]


class ContactSettings(Section):
    """The runbook's "Emergency Contacts": who fills each role when no rotation says otherwise.

    Slack notifies a contact only by its member id (U...) or user group id (S...); any other text
    is shown as a name in the incident's channel.
    """

    on_call: str = Field("on-call", description="First to be told.")
    engineering_lead: str = Field("engineering-lead", description="15-30 minutes.")
    incident_commander: str = Field("incident-commander", description="30-60 minutes.")
    executive_team: str = Field("executive-team", description="1-2 hours.")
    external_support: str = Field(
        "external-support", description="The cloud provider's support: 2 hours and later."
    )
    security_team: str = Field("security-team", description="Suspected breaches, at once.")
    compliance_officer: str = Field("compliance-officer", description="Audit-trail incidents.")
    dpo: str = Field("dpo", description="Privacy incidents, within one hour.")
    dpo_deputy: str = Field(
        "dpo-deputy", description="When the DPO cannot be reached, or does not answer."
    )
    security_vendor: str = Field(
        "security-vendor", description="2 hours and later, in place of external_support: breaches."
    )
    legal_counsel: str = Field(
        "legal-counsel", description="Told where a routing policy names them as an owner."
    )
    regulators: str = Field(
        "regulators", description="Shown to people by `runbook contacts`; never told by us."
    )
    auditors: str = Field(
        "auditors", description="Told of an incident when a person has decided that they must be."
    )


class OverrideSettings(Section):
    """Somebody instead of whoever it would be, from `begins` until just before `ends`."""

    who: _Who
    begins: AwareDatetime
    ends: AwareDatetime


class RotationSettings(Section):
    """Members by turns, each for `days`, from `starts` on; handed over at a local time of day."""

    members: tuple[_Who, ...]
    starts: date
    days: int = 7
    hands_over: time = time(9, 0)
    zone: str = "UTC"
    overrides: tuple[OverrideSettings, ...] = ()

    @model_validator(mode="after")
    def _is_a_rotation(self) -> Self:
        try:
            self.rotation()
        except BadInput as error:
            raise ValueError(str(error)) from error
        return self

    def rotation(self) -> Rotation:
        """The same, to be asked who is on call."""
        overrides = tuple(Override(one.who, one.begins, one.ends) for one in self.overrides)
        return Rotation(self.members, self.starts, self.days, self.hands_over, self.zone, overrides)


class HoursSettings(Section):
    """When people are at work."""

    zone: str = Field("UTC", description="Name in the IANA database, such as Europe/Vienna.")
    opens: time = Field(time(9, 0), description="First moment of a working day.")
    closes: time = Field(time(17, 0), description="First moment after it.")
    weekdays: frozenset[int] = Field(frozenset(range(5)), description="0 is Monday.")
    holidays: frozenset[date] = Field(frozenset(), description="Days on which nobody is at work.")

    @model_validator(mode="after")
    def _are_hours(self) -> Self:
        try:
            self.hours()
        except BadInput as error:
            raise ValueError(str(error)) from error
        return self

    def hours(self) -> BusinessHours:
        """The same, to be asked of a moment."""
        holidays = self.holidays
        return BusinessHours(
            self.zone, self.opens, self.closes, self.weekdays, lambda day: day in holidays
        )


class RosterSettings(Section):
    """Who fills a role at a moment: a JSON object by role each, such as {"on_call": ...}."""

    rotations: Mapping[Contact, RotationSettings] = Field(
        {}, description="Shifts by role; a role without one is filled by its contact."
    )
    hours: HoursSettings = HoursSettings()
    off_hours: Mapping[Contact, _Who] = Field(
        {}, description="Who fills a role outside of business hours, unless a rotation does."
    )


class PagerDutySettings(Section):
    """PagerDuty: pages by the Events API v2, and its schedules in place of our rotations."""

    events_url: str = Field("https://events.pagerduty.com", pattern=WEB, description="Events.")
    routing_key: SecretStr = Field(
        SecretStr(""), description="Integration key of a service; empty: nobody is paged."
    )
    api_url: str = Field("https://api.pagerduty.com", pattern=WEB, description="REST API.")
    api_token: SecretStr = Field(
        SecretStr(""), description="Read-only API key; empty: our own rotations say who it is."
    )
    schedules: Mapping[Contact, _PagerDutyId] = Field(
        {}, description='Schedule by role: {"on_call": "PI7DH85"}.'
    )
    members: Mapping[_PagerDutyId, _Who] = Field(
        {}, description="Chat's member id by PagerDuty's user id: so that chat notifies them."
    )
    timeout_seconds: float = Field(5.0, gt=0, le=30, description="Per call.")


class ReachSettings(Section):
    """Every other way to reach a contact: e-mail, Teams, SMS..., as Apprise URLs."""

    urls: Mapping[Contact, tuple[SecretStr, ...]] = Field(
        {}, description='Apprise URLs by role: {"dpo": ["mailtos://user:password@example.com"]}.'
    )
    timeout_seconds: float = Field(5.0, gt=0, le=30, description="To connect, and to answer.")


class StatusPageSettings(Section):
    """The public status page: Statuspage's API, or files in a directory. Neither: none is kept."""

    url: str = Field("https://api.statuspage.io/v1", pattern=WEB, description="Base URL.")
    page_id: str = Field("", pattern="^[a-z0-9]{0,40}$", description="Empty: Statuspage is unused.")
    api_key: SecretStr = Field(SecretStr(""), description="Key of that page.")
    directory: Path | None = Field(
        None, description="Where index.html and status.json are written, for any web server."
    )
    timeout_seconds: float = Field(5.0, gt=0, le=30, description="Per call.")

    @property
    def is_kept(self) -> bool:
        """Whether there is a page at all: without one nothing is drafted."""
        return bool(self.page_id) or self.directory is not None
