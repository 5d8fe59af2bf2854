"""Settings of a suspected breach: what is held, who is suspected, what isolation may touch."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, SecretStr

from tasks.domain.isolation import UNLESS_CONFIRMED
from tasks.sections.base import Section

_ROLE = Annotated[str, Field(min_length=1, max_length=63)]
_KEY = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
_VALUE = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]


class BreachSettings(Section):
    """STOP, PRESERVE, ISOLATE, NOTIFY: the scope, and the bounds of what is cut off."""

    scope: str = Field(
        "*",
        pattern=r"^(\*|[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,4})$",
        description="What is held at once until its evidence is sealed; *: every change.",
    )
    window_minutes: int = Field(
        60, ge=1, le=1440, description="So long before the onset a request may make a suspect."
    )
    labels: dict[_KEY, _VALUE] = Field(
        {"app": "rlhf-audit-trail"},
        min_length=1,
        max_length=10,
        description="Of the pods whose logs are searched, and that a NetworkPolicy cuts off.",
    )
    forensics: dict[_KEY, _VALUE] = Field(
        {"runbook.rlhf-audit-trail/role": "forensics"},
        min_length=1,
        max_length=10,
        description="Of the pods that may still reach them: those of who examines.",
    )
    isolation_dsn: SecretStr = Field(
        SecretStr(""),
        description="Maintenance database, a role of its own that may lock others and end their "
        "sessions: CREATEROLE, ADMIN OPTION on the roles that may be locked, pg_monitor, "
        "pg_signal_backend and SET ON PARAMETER runbook.isolated_by; empty: nobody is locked.",
    )
    timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="To connect with it, and of each of its statements."
    )
    api_roles: tuple[_ROLE, ...] = Field(
        ("audit_api",), max_length=20, description="Roles of the API: to lock one takes two people."
    )
    break_glass: tuple[_ROLE, ...] = Field(
        ("break_glass",), max_length=20, description="Roles for emergencies: never locked."
    )
    spared_roles: tuple[_ROLE, ...] = Field(
        ("sealer",), max_length=100, description="Never locked, beside those of our own logins."
    )
    spared_addresses: tuple[IPv4Network | IPv6Network, ...] = Field(
        (IPv4Network("127.0.0.0/8"),),
        max_length=100,
        description="Nobody becomes a suspect by these: ourselves, proxies, other parts.",
    )
    minutes: int = Field(
        round(UNLESS_CONFIRMED.total_seconds() / 60),
        ge=1,
        le=7 * 24 * 60,
        description="An isolation goes back after so long unless a person confirms it.",
    )
    end_seconds: float = Field(
        10.0, gt=0, le=120, description="How long ended sessions may take to be gone."
    )
