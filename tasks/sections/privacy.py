"""Settings of the privacy engine."""

from pydantic import Field, SecretStr

from tasks.sections.base import Section

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
