"""Settings of our own house: whom we believe, the journal, chat, the gateway, bounds of changes."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from tasks.domain.errors import BadInput
from tasks.domain.ledger.trust import MAX_TRUST_BYTES, Trust
from tasks.sections.base import WEB, Section
from tasks.sections.files import read_text

_LEAST_SECRET = 16


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
        1,
        ge=1,
        le=64,
        description="Processes that hash, at most one for each million records; each needs a core "
        "and about 100 MB, and for a table two connections.",
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
        None, description="Ed25519 note key (C2SP) of loss lists and bags of evidence; mode 0600."
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
                "expected a key to sign loss lists and evidence with, found none: set "
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


class LinkSettings(Section):
    """The tools beside us, as a person's browser reaches them; empty: no link is shown."""

    prefect: str = Field("", pattern=WEB, description="Base URL of Prefect's UI.")
    grafana: str = Field("", pattern=WEB, description="URL of a dashboard; a time is added.")
    prometheus: str = Field("", pattern=WEB, description="Base URL of Prometheus.")
    alertmanager: str = Field("", pattern=WEB, description="Base URL of Alertmanager.")


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
