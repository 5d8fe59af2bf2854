"""Settings of the component procedures."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from tasks.sections.base import WEB, Section


class DatabaseCareSettings(Section):
    """From where on the state of the database is a cause, and how much of it we may end."""

    lock_wait_seconds: float = Field(
        10.0, gt=0, le=3600, description="Who waits longer for a lock makes it a lock storm."
    )
    slow_query_seconds: float = Field(
        60.0, gt=0, le=86_400, description="A query that runs longer is slow."
    )
    idle_in_transaction_seconds: float = Field(
        300.0, gt=0, le=86_400, description="An open transaction that idles longer is leaked."
    )
    idle_seconds: float = Field(
        900.0, gt=0, le=86_400, description="A session that idles longer is leaked, if slots lack."
    )
    relief_share: float = Field(
        0.8, gt=0, le=1, description="Of a leaking role's sessions, ended by one plan at most."
    )
    relief_at_most: int = Field(
        100, ge=1, le=200, description="Sessions that one plan ends at most, whatever the share."
    )
    protected_roles: tuple[str, ...] = Field(
        (), description="Roles whose sessions are never ended, beside superusers and our own."
    )
    cancel_seconds: float = Field(
        3.0, gt=0, le=60, description="What a cancelled query gets to end before its session is."
    )
    verify_seconds: float = Field(
        10.0, gt=0, le=120, description="How long the symptom may take to go after the last signal."
    )
    restart_seconds: float = Field(
        120.0, gt=0, le=3600, description="How long a restarted server's pod may take to be ready."
    )


class ApiCareSettings(Section):
    """From where on the state of the API is a cause, and how much one remedy may restart."""

    look_seconds: float = Field(
        6.0, gt=0, le=60, description="A look at the API and all that it needs takes no longer."
    )
    slow_seconds: float = Field(
        2.0, gt=0, le=600, description="95th percentile that is slow where no baseline is known."
    )
    authentication_failures: str = Field(
        "authentication_failures_total",
        pattern="^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$",
        description="Counter of refused logins.",
    )
    refused_logins: float = Field(
        10.0, ge=0, description="More of them within the window are a pattern."
    )
    busy_share: float = Field(
        0.9, gt=0, le=1, description="Of its limit: from here on a pod is short of it."
    )
    wanted_share: float = Field(
        0.7, gt=0, le=1, description="Of its limit: what a pod is to use after scaling up."
    )
    starting_seconds: float = Field(
        120.0, ge=0, le=3600, description="So long a pod that is not ready may be starting yet."
    )
    restart_share: float = Field(
        0.5, gt=0, le=1, description="Of the replicas that serve, restarted by one plan at most."
    )
    restart_at_most: int = Field(
        10, ge=1, le=100, description="Pods that one plan restarts at most, whatever the share."
    )
    ready_seconds: float = Field(
        120.0, gt=0, le=3600, description="How long a restarted pod's successor may take."
    )
    verify_seconds: float = Field(
        120.0, gt=0, le=3600, description="How long the symptom may take to go after a remedy."
    )
    verify_window_seconds: int = Field(
        60, ge=5, le=3600, description="Over which rates are taken then: only what came after it."
    )


class StorageCareSettings(Section):
    """When the database's storage is too full, and how far a claim is enlarged."""

    full_share: float = Field(
        0.85, gt=0, le=1, description="From here on the file system is too full."
    )
    full_within_hours: float = Field(
        24.0, gt=0, le=8760, description="Or when it will be full so soon at its present growth."
    )
    factor: float = Field(1.5, ge=1, le=10, description="A claim gets so many times its size,")
    step_gib: float = Field(10.0, gt=0, le=16_384, description="and at least so much more.")
    most_gib: float = Field(
        1024.0, gt=0, le=1_048_576, description="No claim is made larger than this by us."
    )
    grow_seconds: float = Field(
        120.0, gt=0, le=3600, description="How long volume and file system may take to grow."
    )


class CacheCareSettings(Section):
    """From where on the state of Redis is a cause, and how long its restart may take."""

    full_share: float = Field(
        0.95, gt=0, le=1, description="Of maxmemory in use: from here on it is full."
    )
    crowded_share: float = Field(
        0.9, gt=0, le=1, description="Of maxclients connected: from here on it is crowded."
    )
    sample_seconds: float = Field(
        0.5, gt=0, le=30, description="Between two looks at its counters, from which rates come."
    )
    restart_seconds: float = Field(
        60.0, gt=0, le=600, description="How long its new pod may take until it is ready."
    )
    verify_seconds: float = Field(
        10.0, gt=0, le=120, description="How long it may take to answer after that."
    )


class EvidenceSettings(Section):
    """To whom evidence is encrypted, and what collecting it may cost."""

    recipients: tuple[Annotated[str, Field(pattern="^age1[0-9a-z]{20,200}$")], ...] = Field(
        (),
        max_length=20,
        description="age recipients (age1...), public keys of those who may read evidence; empty: "
        "it is in clear under Object Lock, and says so.",
    )
    item_seconds: float = Field(
        60.0, gt=0, le=3600, description="Of one log, list or answer; else it is skipped."
    )
    dump_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="Of the dump of the database; else it is skipped."
    )
    item_bytes: int = Field(
        64 * 1024**3, ge=1024, description="An item that is larger is cut off, and says so."
    )
    before_minutes: int = Field(
        60, ge=1, le=1440, description="Of metrics before the incident was opened."
    )
    timestamp_url: str = Field(
        "",
        pattern=WEB,
        description="RFC 3161 authority that stamps each closed bag; empty: none does.",
    )
    timestamp_roots: Path | None = Field(
        None, description="PEM file of certificates that its tokens must lead to."
    )
    timestamp_seconds: float = Field(10.0, gt=0, le=60, description="How long it may take.")

    @model_validator(mode="after")
    def _has_roots(self) -> Self:
        if self.timestamp_url and self.timestamp_roots is None:
            raise ValueError("expected timestamp_roots beside timestamp_url, found none")
        return self


class LokiSettings(Section):
    """Loki, where the logs of the system under care are kept beyond its pods."""

    url: str = Field("", pattern=WEB, description="Base URL; empty: pods' logs are read.")
    token: SecretStr = Field(SecretStr(""), description="Bearer token; empty sends none.")
    query: str = Field(
        '{namespace="rlhf-audit-trail"}', min_length=2, max_length=2000, description="LogQL."
    )
    timeout_seconds: float = Field(5.0, gt=0, le=60, description="Of a look, both questions.")
    lines: int = Field(
        5000, ge=10, le=5000, description="Of each question: before the onset and since."
    )
    minutes_before: int = Field(
        30, ge=1, le=1440, description="How far back before the onset is looked: what was usual."
    )
