"""Settings of the component procedures. `tasks.settings` puts them into the one tree."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A group of settings: frozen, closed, and silent about the values that it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


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


class LokiSettings(Section):
    """Loki, where the logs of the system under care are kept beyond its pods."""

    url: str = Field(
        "", pattern=r"^(https?://[^\s\\]+)?$", description="Base URL; empty: pods' logs are read."
    )
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
