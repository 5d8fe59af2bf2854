"""What the sealer is told: `SEALER_*` of its own, store and trust as the product's settings.

RUNBOOK_STORE__* is with the sealer's own access key, RUNBOOK_LEDGER__* has both trust files.
"""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tasks.domain.errors import BadInput


class Configuration(BaseSettings):
    """The sealer's own settings."""

    model_config = SettingsConfigDict(
        env_prefix="SEALER_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Where it listens; loopback unless told otherwise.")
    port: int = Field(8791, ge=1, le=65535)
    token: SecretStr = Field(min_length=16, description="Bearer token of who may ask for sealing.")
    key_file: Path = Field(description="Note key of the audit log, mode 0600.")
    dsn: SecretStr = Field(description="Role that may read audit_records, nothing else.")
    journal_key_file: Path | None = Field(None, description="Note key of the journal.")
    journal_dsn: SecretStr = Field(
        SecretStr(""), description="Role that may read the responder's journal, nothing else."
    )
    witnesses: tuple[str, ...] = Field((), description="Submission prefixes (URLs), a JSON list.")
    witness_seconds: float = Field(10.0, gt=0, le=60, description="Time of one witness to answer.")

    tsa_url: str = Field("", description="RFC 3161 time-stamp authority; empty: heads get none.")
    tsa_roots: Path | None = Field(None, description="Certificates (PEM) that its tokens lead to.")
    tsa_seconds: float = Field(15.0, gt=0, le=60, description="Time of the authority to answer.")

    @classmethod
    def read(cls) -> "Configuration":
        """From the environment; BadInput that names the variables, never their values."""
        try:
            return cls()
        except ValidationError as error:
            wrong = [
                f"SEALER_{'__'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
                for one in error.errors(include_input=False, include_url=False)
            ]
            raise BadInput(f"expected valid settings, found {'; '.join(wrong)}") from error
        except SettingsError as error:
            raise BadInput(f"expected valid settings: {error}") from error
