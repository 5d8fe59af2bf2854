"""Settings of the systems under care, each with its address and who we are there."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from tasks.domain.reconciliation_rules import ReconciliationRules, shipped
from tasks.domain.written import MAX_BYTES
from tasks.sections.base import Section
from tasks.sections.files import read_text

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
