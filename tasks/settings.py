"""Every setting of ours: one frozen tree, read from `RUNBOOK_*` once; a bad value fails at start.

Nested names are joined by two underscores: `RUNBOOK_DATABASE__READER_DSN`. Secrets are SecretStr
and come from the environment (or from Prefect blocks that prefect.yaml injects into it).
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tasks.component_settings import (
    ApiCareSettings,
    CacheCareSettings,
    DatabaseCareSettings,
    EmergencySettings,
    LokiSettings,
    PrivacySettings,
    RollbackSettings,
    ScalingSettings,
    Section,
    StorageCareSettings,
)
from tasks.domain.errors import BadInput
from tasks.domain.ledger.trust import MAX_TRUST_BYTES, Trust
from tasks.domain.reconciliation_rules import ReconciliationRules, shipped
from tasks.domain.written import MAX_BYTES

_LEAST_SECRET = 16


def read_text(path: Path, limit: int) -> str:
    """A small text file that a person wrote; BadInput when it is no such file."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"expected text in {path.name}, found bytes that are not UTF-8") from error


def read_bytes(path: Path, limit: int) -> bytes:
    """A small file that a person names; BadInput when it is none, or larger than `limit` bytes."""
    try:
        if not path.is_file():
            raise BadInput(f"expected a file, found none at {str(path)[:200]!r}")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)[:200]!r}: {error.strerror}") from error
    if len(data) > limit:
        raise BadInput(f"expected at most {limit} bytes in {path.name}, found more")
    return data


_WEB = r"^(https?://[^\s\\]+)?$"
"""A web address, or nothing: nothing else ever becomes a link."""


_StorePlace = Annotated[str, Field(pattern=r"^s3://[a-z0-9.-]{3,63}/[!-~ ]{0,900}$")]


class ApiSettings(Section):
    """The audit API of the system under care."""

    url: str = Field("http://localhost:8000", description="Base URL; the runbook's own default.")
    token: SecretStr = Field(SecretStr(""), description="Bearer token; empty sends none.")
    timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Per request; an API that is slower than this is Failed."
    )


class DatabaseSettings(Section):
    """PostgreSQL of the system under care. Two identities: one reads, one recovers."""

    reader_dsn: SecretStr = Field(
        SecretStr("postgresql://localhost/rlhf_audit"),
        description="Read-only role on the production database (checks, verification, evidence).",
    )
    recovery_dsn: SecretStr = Field(
        SecretStr("postgresql://localhost/postgres"),
        description="Role that may create and rename databases, on the maintenance database.",
    )
    name: str = Field("rlhf_audit", description="The production database's name.")
    owner: str = Field(
        "audit_owner", description="Role that owns the database; the recovery role is a member."
    )
    client_binaries: Path | None = Field(
        None, description="Directory of pg_restore and pg_dump; else the newest installed one."
    )
    timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="To connect and answer a check; not for bulk work."
    )
    writers: tuple[str, ...] = Field(
        ("audit_api",), description="Roles that append; they stand still during the swap."
    )
    longest_outage_seconds: float = Field(
        30.0, gt=0, le=3600, description="Writers wait so long for a swap; then it is undone."
    )
    reconciliation_rules: Path | None = Field(
        None, description="TOML: what becomes of other tables' newer rows; else the shipped rules."
    )
    pod: str = Field(
        "",
        pattern="^([a-z0-9-]{1,63}/[a-z0-9.-]{1,253}(/[a-z0-9-]{1,63})?)?$",
        description="namespace/pod[/container] that holds dumps too; empty: none is asked.",
    )
    pod_directory: str = Field(
        "/backups", pattern="^/[^\\x00]*$", description="Where they lie in that pod."
    )
    schema_file: Path | None = Field(
        None,
        description="The system's own schema (SQL): code and grants in it may come back from a "
        "dump that nobody signed, as may what production has.",
    )
    gpg_program: str = Field(
        "", description="gpg, to open encrypted dumps with; empty: they stay closed."
    )
    gpg_home: Path | None = Field(None, description="Its home, with the secret key; mode 0700.")
    gpg_passphrase_file: Path | None = Field(
        None, description="A file with the passphrase, where key or dump has one."
    )
    backup_directory: Path | None = Field(
        None, description="A directory of this host, or mounted here, that holds dumps too."
    )

    def read_reconciliation_rules(self) -> ReconciliationRules:
        """What a recovery does with the rows of other tables. Raises BadInput."""
        if self.reconciliation_rules is None:
            return shipped()
        return ReconciliationRules.parse(read_text(self.reconciliation_rules, MAX_BYTES))


class KubernetesSettings(Section):
    """The cluster of the system under care. Two identities: one reads, one remedies."""

    config_file: Path | None = Field(
        None, description="kubeconfig; none: our own service account, where we run in a cluster."
    )
    context: str = Field("", description="Context of that file; empty: its current one.")
    remediate_context: str = Field(
        "", description="Context with which changes are made; empty: none are, by kubeconfig."
    )
    remediate_token_file: Path | None = Field(
        None, description="In a cluster: the token with which changes are made; none: none are."
    )
    namespace: str = Field(
        "rlhf-audit-trail",
        pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Where the system under care runs.",
    )
    api_seconds: float = Field(
        5.0, gt=0, le=60, description="For an answer of the API, all pages of a list together."
    )
    timeout_seconds: float = Field(
        20.0,
        gt=0,
        le=300,
        description="Of programs in pods: to connect, and between two pieces of their output.",
    )


class CacheSettings(Section):
    """Redis or Valkey of the system under care."""

    url: SecretStr = Field(SecretStr("redis://localhost:6379/0"), description="With password.")
    timeout_seconds: float = Field(5.0, gt=0, le=60, description="To connect and answer PING.")
    pod: str = Field(
        "",
        pattern="^([a-z0-9-]{1,63}/[a-z0-9.-]{1,253}(/[a-z0-9-]{1,63})?)?$",
        description="namespace/pod[/container] in which `redis-cli ping` is run; empty: in none.",
    )


_METRIC = "^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$"


class MetricsSettings(Section):
    """Prometheus of the system under care."""

    prometheus_url: str = Field("", description="Base URL; empty: firing alerts are Unknown.")
    timeout_seconds: float = Field(5.0, gt=0, le=60, description="Per check.")
    requests: str = Field(
        "http_requests_total", pattern=_METRIC, description="Counter of the API's requests."
    )
    durations: str = Field(
        "http_request_duration_seconds", pattern=_METRIC, description="Histogram of their time."
    )
    status_label: str = Field(
        "status", pattern="^[a-zA-Z_][a-zA-Z0-9_]{0,63}$", description="Their HTTP status."
    )
    selector: str = Field(
        'job="rlhf-audit-trail-app"',
        pattern="^[^{}\\n]{0,500}$",
        description="PromQL matchers of the API's own series, without braces.",
    )
    users_query: str = Field(
        "", max_length=2000, description="PromQL of one value: users lately; empty: unknown."
    )
    window_seconds: int = Field(
        300, ge=5, le=3600, description="Over which rates are taken; the runbook's five minutes."
    )
    baseline_seconds: int = Field(
        3600, ge=5, le=604_800, description="Before the onset, to which latency is compared."
    )
    noticeable_seconds: float = Field(
        0.05, ge=0, le=10, description="A smaller change of the latency is nobody's trouble."
    )


class AlertmanagerSettings(Section):
    """What sends us alerts, and is asked each minute what fires."""

    urls: tuple[str, ...] = Field(
        (),
        description="Base URLs, every peer of a cluster; empty: what never arrives stays unknown.",
    )
    token: SecretStr = Field(SecretStr(""), description="Bearer token; empty sends none.")
    timeout_seconds: float = Field(5.0, gt=0, le=30, description="Per question and peer.")
    receiver: str = Field(
        "", description="Name of our receiver: others' alerts are left alone; empty: all are ours."
    )


class StoreSettings(Section):
    """The object store: backups and sealed log of the patient, and our evidence."""

    endpoint_url: str = Field("", description="Empty for AWS; else the S3 server's URL.")
    region: str = Field("us-east-1", description="Signing region.")
    access_key_id: SecretStr = Field(SecretStr(""), description="Reads backups, adds evidence.")
    secret_access_key: SecretStr = Field(SecretStr(""), description="Secret of that key.")
    backups_bucket: str = Field("rlhf-audit-trail-backups", description="The runbook's bucket.")
    evidence_bucket: str = Field("rlhf-audit-trail-evidence", description="Object Lock enabled.")
    audit_prefix: str = Field("audit-logs/", description="Sealed log: seg/, tile/, checkpoints/.")
    journal_prefix: str = Field(
        "journal/", description="The sealed journal, in the evidence bucket; laid out alike."
    )
    database_prefix: str = Field("database/", description="Dumps with signed manifests.")
    base_prefix: str = Field("base/", description="Base backups with signed manifests.")
    wal_prefix: str = Field("wal/", description="Archived WAL: what base backups are replayed by.")
    more_backups: tuple[_StorePlace, ...] = Field(
        (),
        description="Other places of dumps, s3://bucket/prefix/ each, such as "
        "s3://rlhf-backups/database/daily/ and s3://rlhf-backups/database/weekly/.",
    )
    retention_days: int = Field(
        183, ge=1, le=3650, description="Object Lock of evidence; the AI Act's minimum of logs."
    )
    lock_mode: str = Field(
        "COMPLIANCE", pattern="^(COMPLIANCE|GOVERNANCE)$", description="Object Lock mode."
    )


class LedgerSettings(Section):
    """Whom we believe about the audit log. Public keys only: the responder cannot sign heads."""

    origin: str = Field("rlhf-audit-trail", description="First line of every checkpoint.")
    log_key: str = Field("", description="Verifier key of the sealer: name+hash+base64 (C2SP).")
    trust_file: Path | None = Field(
        None, description="TOML with keys, witnesses, quorum; instead of origin and log_key."
    )
    journal_trust_file: Path | None = Field(
        None, description="The same for our own journal, which has a key and an origin of its own."
    )
    sample_share: float = Field(
        0.02, gt=0, le=1, description="Of older blocks of 65,536 records, hashed again each night."
    )
    workers: int = Field(
        1, ge=1, le=64, description="Processes that hash; each needs a core and about 100 MB."
    )
    legacy_key_file: Path | None = Field(
        None, description="The logger's RSA public key (PEM), for copies in the legacy layout."
    )
    backup_key: str = Field(
        "", description="Verifier key of backup manifests; empty: the sealer signs them too."
    )

    def read_trust(self) -> Trust:
        """Whom we believe about the log. Raises BadInput when nobody is named, or not readably."""
        if self.trust_file is not None:
            return Trust.parse(read_text(self.trust_file, MAX_TRUST_BYTES))
        if not self.log_key:
            raise BadInput(
                "expected the sealer's public key, found none: set RUNBOOK_LEDGER__TRUST_FILE or "
                "RUNBOOK_LEDGER__LOG_KEY; without it nothing can be proven"
            )
        return Trust.in_key(self.log_key, self.origin)

    def read_journal_trust(self) -> Trust:
        """Whom we believe about our own journal. Raises BadInput when it is not named."""
        if self.journal_trust_file is None:
            raise BadInput(
                "expected whose signatures on the journal count, found none: set "
                "RUNBOOK_LEDGER__JOURNAL_TRUST_FILE"
            )
        return Trust.parse(read_text(self.journal_trust_file, MAX_TRUST_BYTES))


class SealerSettings(Section):
    """The sealer, a service of its own: it has the log's signing key, we have its address."""

    url: str = Field("", description="Base URL; empty: nothing of ours asks for sealing.")
    token: SecretStr = Field(
        SecretStr(""), description="Bearer token; allows sealing and putting back."
    )
    timeout_seconds: float = Field(
        300.0, gt=0, le=3600, description="Of one sealing: it hashes and writes what is new."
    )
    rebuild_timeout_seconds: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        description="Of one order to put back: several requests for each of up to 50,000 objects.",
    )


class ResponderSettings(Section):
    """Our own PostgreSQL: journal, inbox, approvals. Never the server under care."""

    dsn: SecretStr = Field(
        SecretStr("postgresql://localhost/responder"), description="Database of the responder."
    )
    signing_key_file: Path | None = Field(
        None, description="Ed25519 note key (C2SP) that signs loss lists; mode 0600."
    )
    reports: Path = Field(Path("reports"), description="Directory for HTML and PDF reports.")
    restored_logs: Path = Field(
        Path("restored-logs"), description="Directory that the audit-log recovery fills."
    )

    def read_signing_key(self) -> SecretStr:
        """The responder's note key. Raises BadInput when there is none or others can read it."""
        path = self.signing_key_file
        if path is None or not path.is_file():
            raise BadInput(
                "expected a signing key for loss lists, found none: set "
                "RUNBOOK_RESPONDER__SIGNING_KEY_FILE"
            )
        if path.stat().st_mode & 0o077:
            raise BadInput(f"expected {path} to be readable by its owner alone: chmod 600 {path}")
        return SecretStr(path.read_text(encoding="utf-8").strip())


class ChatSettings(Section):
    """Slack, or what answers like it."""

    url: str = Field("https://slack.com/api", description="Base URL of the Web API.")
    token: SecretStr = Field(SecretStr(""), description="Bot token; empty: chat is skipped.")
    timeout_seconds: float = Field(5.0, gt=0, le=30, description="Per call.")


class ContactSettings(Section):
    """The runbook's "Emergency Contacts".

    Slack notifies a contact only by its member id (U...) or user group id (S...); any other text
    is shown as a name in the incident's channel.
    """

    on_call: str = Field("on-call", description="First to be told.")
    engineering_lead: str = Field("engineering-lead", description="15-30 minutes.")
    incident_commander: str = Field("incident-commander", description="30-60 minutes.")
    executive_team: str = Field("executive-team", description="1-2 hours.")
    external_support: str = Field("external-support", description="2 hours and later.")
    security_team: str = Field("security-team", description="Suspected breaches, at once.")
    compliance_officer: str = Field("compliance-officer", description="Audit-trail incidents.")
    dpo: str = Field("dpo", description="Privacy incidents, within one hour.")


class LinkSettings(Section):
    """The tools beside us, as a person's browser reaches them; empty: no link is shown."""

    prefect: str = Field("", pattern=_WEB, description="Base URL of Prefect's UI.")
    grafana: str = Field("", pattern=_WEB, description="URL of a dashboard; a time is added.")
    prometheus: str = Field("", pattern=_WEB, description="Base URL of Prometheus.")
    alertmanager: str = Field("", pattern=_WEB, description="Base URL of Alertmanager.")


class GatewaySettings(Section):
    """The one service of ours."""

    url: str = Field("http://127.0.0.1:8787", description="Where people and the command reach it.")
    listen: str = Field(
        "", description="host:port to listen on, behind a proxy; empty: those of `url`."
    )
    alert_tokens: tuple[SecretStr, ...] = Field(
        (), description="Bearer tokens of Alertmanager; several, so that they can be rotated."
    )
    body_limit_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Of a notification.")
    spool: Path | None = Field(
        None,
        description="Directory for notifications while PostgreSQL is away; none: they hear 503.",
    )
    spool_limit_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="Of this gateway's spool; when full: 503."
    )
    alerts_per_second: float = Field(
        2000.0, gt=0, description="Notifications of one source: a token from one address."
    )
    alerts_burst: int = Field(4000, ge=1, description="Of one source at once; beyond it: 503.")
    links: LinkSettings = LinkSettings()
    warm_children: int = Field(
        2,
        ge=1,
        le=16,
        description="Warm processes that run flows; of two or more, one is kept for P0.",
    )
    lease_seconds: float = Field(
        30.0, ge=15, le=600, description="A dead gateway's runs are another's after so long."
    )
    proxy_user_header: str = Field(
        "",
        pattern="^([A-Za-z0-9-]{1,64})?$",
        description="Header in which a trusted proxy names the person (X-Forwarded-Email); "
        "empty: no proxy is believed.",
    )
    proxy_secret: SecretStr = Field(
        SecretStr(""),
        description="What that proxy sends as X-Runbook-Proxy-Secret; at least 16 characters.",
    )

    @model_validator(mode="after")
    def _proxy_proves_itself(self) -> Self:
        if self.proxy_user_header and len(self.proxy_secret.get_secret_value()) < _LEAST_SECRET:
            raise ValueError(
                f"PROXY_USER_HEADER needs a PROXY_SECRET of at least {_LEAST_SECRET} characters: "
                "without one everybody could claim to be anybody"
            )
        return self

    policy_file: Path | None = Field(
        None, description="Routing policy of one's own, read again when it changes; else ours."
    )
    watchdog_minutes: int = Field(
        5, ge=0, le=1440, description="Without a Watchdog for so long an incident begins; 0: never."
    )
    resolve_quiet_minutes: int = Field(
        5,
        ge=0,
        le=1440,
        description="Alerts resolved for so long close their incident, where the policy says so.",
    )


class ChangeSettings(Section):
    """Bounds of the one door through which changes go."""

    approval_minutes: int = Field(60, ge=1, le=1440, description="Validity of a plan.")
    per_hour: int = Field(20, ge=1, description="Changes per target and hour, at most.")
    restarts_per_hour: int = Field(
        3, ge=1, le=60, description="Plans that restart one target within an hour, at most."
    )
    cooldown_minutes: int = Field(
        15, ge=0, description="A target that one incident mended is left alone by others so long."
    )
    lease_seconds: int = Field(
        120, ge=10, description="Of a target's lock; a dead holder is replaced after it."
    )


class Settings(BaseSettings):
    """The tree. `lab` is set by the embedded stack alone: `--yes` works only there."""

    model_config = SettingsConfigDict(
        env_prefix="RUNBOOK_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a value in the wrong place may be a secret
    )

    lab: bool = Field(
        default=False, description="True only in the embedded stack, by the lab itself."
    )
    api: ApiSettings = ApiSettings()
    api_care: ApiCareSettings = ApiCareSettings()
    database: DatabaseSettings = DatabaseSettings()
    database_care: DatabaseCareSettings = DatabaseCareSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    storage_care: StorageCareSettings = StorageCareSettings()
    cache: CacheSettings = CacheSettings()
    cache_care: CacheCareSettings = CacheCareSettings()
    scaling: ScalingSettings = ScalingSettings()
    emergency: EmergencySettings = EmergencySettings()
    rollback: RollbackSettings = RollbackSettings()
    privacy: PrivacySettings = PrivacySettings()
    metrics: MetricsSettings = MetricsSettings()
    loki: LokiSettings = LokiSettings()
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    store: StoreSettings = StoreSettings()
    ledger: LedgerSettings = LedgerSettings()
    sealer: SealerSettings = SealerSettings()
    responder: ResponderSettings = ResponderSettings()
    chat: ChatSettings = ChatSettings()
    contacts: ContactSettings = ContactSettings()
    gateway: GatewaySettings = GatewaySettings()
    changes: ChangeSettings = ChangeSettings()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once from the environment.

    Raises BadInput that names the variables, never their values.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"RUNBOOK_{'__'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise BadInput(f"expected valid settings, found {'; '.join(wrong)}") from error
    except SettingsError as error:
        raise BadInput(f"expected valid settings: {error}") from error
