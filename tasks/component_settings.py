"""Settings of the component procedures. `tasks.settings` puts them into the one tree."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

_NAME = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


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


class EmergencySettings(Section):
    """What an emergency shutdown stops beside API and workers, and how long it waits for each."""

    privacy_engine: str = Field(
        "privacy-engine", pattern=_NAME, description="The Deployment of the privacy engine."
    )
    cache: str = Field("redis", pattern=_NAME, description="The StatefulSet of Redis.")
    database: str = Field("postgresql", pattern=_NAME, description="The StatefulSet of PostgreSQL.")
    part_seconds: float = Field(
        180.0, gt=0, le=3600, description="For one part to be gone, or to be ready again."
    )


class ScalingSettings(Section):
    """Which workloads are scaled, how far, and from where on Celery's queue is a cause.

    The bounds hold for each workload; quotas, nodes and autoscalers may allow less.
    """

    api: str = Field(
        "rlhf-audit-trail", pattern=_NAME, description="The API's Deployment, as the runbook says."
    )
    workers: str = Field(
        "celery-workers", pattern=_NAME, description="The Deployment of the Celery workers."
    )
    minimum: int = Field(1, ge=0, le=1000, description="Replicas that scaling leaves at least.")
    maximum: int = Field(10, ge=1, le=1000, description="Replicas that a workload gets at most.")
    step: int = Field(4, ge=1, le=1000, description="Replicas more at once, at most.")
    share: float = Field(
        2.0, gt=0, le=10, description="The same as a share of those that there are; at least one."
    )
    ready_seconds: float = Field(
        60.0,
        gt=0,
        le=600,
        description="How long new pods may take until they are ready; an autoscaler's own 15 s "
        "are among it.",
    )
    queues: tuple[str, ...] = Field(
        ("celery",),
        min_length=1,
        max_length=20,
        description="Redis keys of Celery's queues: lists, one for each.",
    )
    unacknowledged: str = Field(
        "unacked_index",
        min_length=1,
        max_length=200,
        description="Redis key of the tasks that workers have taken and not finished.",
    )
    sent_header: str = Field(
        "timestamp",
        min_length=1,
        max_length=100,
        description="Header of a task that says when it was sent; Celery by itself sends none.",
    )
    sample_seconds: float = Field(
        1.0, gt=0, le=30, description="Between two looks at a queue, from which rates are taken."
    )
    quiet_seconds: float = Field(
        5.0, gt=0, le=60, description="The same once more, when ready workers took no task."
    )
    backlog: int = Field(100, ge=1, description="Tasks that wait: from here on it is a backlog.")
    drain_seconds: float = Field(
        300.0, gt=0, le=86_400, description="A backlog that is gone within this time mends itself."
    )
    stuck_seconds: float = Field(
        300.0, gt=0, le=86_400, description="A task in a worker's hands for longer may be stuck."
    )
    visibility_seconds: float = Field(
        3600.0,
        gt=0,
        le=2_592_000,
        description="Celery's visibility_timeout: what is held for longer shows that workers hang.",
    )
    verify_seconds: float = Field(
        20.0, gt=0, le=600, description="How long a backlog may take until it is seen to shrink."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError("expected a minimum up to the maximum")
        return self


class RollbackSettings(Section):
    """What is rolled back, and how long its pods may take."""

    workload: str = Field(
        "deployment/rlhf-audit-trail",
        pattern="^(deployment|statefulset)/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="What an incident is about that names no workload itself.",
    )
    seconds: float = Field(
        600.0,
        gt=0,
        le=3600,
        description="How long a rollback may take; the deadline of the Deployment may come first.",
    )
    return_seconds: float = Field(
        30.0, gt=0, le=3600, description="How long a return is watched from a rollback that failed."
    )


_API_PATH = r"^([a-z0-9_-]{1,64}(/[a-z0-9_-]{1,64}){0,5})?$"
_FIELD = r"^([A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7})?$"
_COLUMN = r"^[a-zA-Z_][a-zA-Z0-9_]{0,62}$"


class ReleaseFields(Section):
    """Where a release in the audit log says how it was made: paths in the event; empty: nowhere.

    Which events are releases, and where they say what they cost, is in the reconciliation rules.
    """

    block: str = Field(
        "data.annotator", pattern=_FIELD, description="Whose data it is about; empty: all is one."
    )
    mechanism: str = Field(
        "data.mechanism",
        pattern=_FIELD,
        description="laplace, gaussian, sampled_gaussian or none; nothing: what it costs as said.",
    )
    multiplier: str = Field(
        "data.noise_multiplier",
        pattern=_FIELD,
        description="Standard deviation over sensitivity; 0 is a release without noise.",
    )
    rate: str = Field(
        "data.sampling_rate", pattern=_FIELD, description="Share that a step of DP-SGD samples."
    )
    request: str = Field(
        "data.request_id", pattern=_FIELD, description="The same for every answer to one question."
    )


class PrivacySettings(Section):
    """The privacy engine: what it offers below /api/v1 of the audit API, and what must hold.

    A path that is empty is not offered: then its part of the look is Unknown, and a person does
    what the engine cannot be told.
    """

    config_path: str = Field(
        "privacy/config", pattern=_API_PATH, description="GET: parameters, halted, epoch, retired."
    )
    budget_path: str = Field(
        "privacy/budget", pattern=_API_PATH, description="GET: total, consumed and remaining."
    )
    probe_path: str = Field(
        "privacy/probe",
        pattern=_API_PATH,
        description="POST {samples}: noise of the engine's own code, on synthetic data alone.",
    )
    published_path: str = Field(
        "privacy/published", pattern=_API_PATH, description="GET ?limit=: published records."
    )
    halt_path: str = Field(
        "privacy/releases/halt", pattern=_API_PATH, description="POST: refuse every release."
    )
    epoch_path: str = Field(
        "privacy/epochs", pattern=_API_PATH, description="POST: retire blocks, open an epoch."
    )
    control_token: SecretStr = Field(
        SecretStr(""), description="Bearer token for halt and epochs; empty: that of the API."
    )
    budget_query: str = Field(
        "privacy_budget_remaining", max_length=2000, description="PromQL of what is left."
    )
    block_epsilon: float = Field(
        10.0, gt=0, le=1000, description="What may be spent on one block of data at most."
    )
    delta: float = Field(1e-5, gt=0, lt=1, description="With which it is promised.")
    least_multiplier: float = Field(
        1.0, ge=0, le=1000, description="Noise over sensitivity that the engine must be set to."
    )
    release: ReleaseFields = ReleaseFields()
    epsilon_column: str = Field(
        "epsilon_used", pattern=_COLUMN, description="Of the ledger: what a row has spent."
    )
    delta_column: str = Field("delta_used", pattern=_COLUMN, description="The same of delta.")
    total_column: str = Field(
        "epsilon_total", pattern=_COLUMN, description="What a row may spend, where it says so."
    )
    registry: str = Field(
        "public.privacy_records",
        pattern=r"^([a-zA-Z_][a-zA-Z0-9_]{0,62}\.[a-zA-Z_][a-zA-Z0-9_]{0,62})?$",
        description="Table with a row (event_id) of each release; empty: there is none.",
    )
    most_releases: int = Field(
        200_000, ge=100, le=5_000_000, description="Beyond it the accounting is Unknown."
    )
    settle_seconds: float = Field(
        1.0, ge=0, le=60, description="So long the ledger may lag behind the log."
    )
    quasi_identifiers: tuple[str, ...] = Field(
        ("model", "day", "seconds_band"),
        max_length=20,
        description="Columns of published records that together may name somebody.",
    )
    sensitive: str = Field(
        "reward_band", max_length=100, description="The column that nobody may learn of a person."
    )
    direct_identifiers: tuple[str, ...] = Field(
        ("name", "email", "annotator_email", "phone", "ip_address", "user", "prompt"),
        max_length=100,
        description="Columns that published records must not have.",
    )
    canaries: tuple[SecretStr, ...] = Field(
        (), max_length=1000, description="Planted texts that must never be published."
    )
    k_anonymity: int = Field(5, ge=2, le=1000, description="Records of each group, at least.")
    l_diversity: int = Field(
        2, ge=1, le=1000, description="Different sensitive values of each group, at least."
    )
    sample: int = Field(5000, ge=10, le=20_000, description="Published records that are looked at.")
    seconds: float = Field(
        20.0, gt=0, le=300, description="A look at the engine takes no longer; its statements too."
    )
    verify_seconds: float = Field(
        10.0, gt=0, le=120, description="How long the cause may take to go after a remedy."
    )
