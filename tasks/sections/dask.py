"""Settings of a Dask cluster that hashes in our stead."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tasks.sections.base import Section

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class DaskSettings(Section):
    """The cluster whose workers hash the audit log; without a scheduler processes of ours do."""

    scheduler: str = Field(
        "",
        pattern=r"^((tcp|tls)://[A-Za-z0-9_.\[\]:-]+:[0-9]{1,5})?$",
        description="tls://host:8786; tcp:// on this machine only; empty: no cluster.",
    )
    ca_file: Path | None = Field(None, description="PEM of the authority of all certificates.")
    cert_file: Path | None = Field(None, description="PEM of our certificate.")
    key_file: Path | None = Field(None, description="PEM of our private key.")
    connect_seconds: float = Field(10.0, gt=0, le=300, description="Of reaching the scheduler.")
    lost_seconds: float = Field(
        60.0, gt=0, le=3600, description="Without any worker for so long the verification ends."
    )
    shard_seconds: float = Field(
        1800.0, gt=0, le=86_400, description="Of one stretch; then another worker does it again."
    )
    rechecked_blocks: int = Field(
        4, ge=0, le=1000, description="Blocks called good that are hashed again here, by chance."
    )

    @property
    def is_encrypted(self) -> bool:
        """Whether everything to and from the cluster goes by TLS."""
        return self.scheduler.startswith("tls://")

    @model_validator(mode="after")
    def _only_ours_may_answer(self) -> Self:
        host = urlsplit(self.scheduler).hostname or ""
        if self.scheduler.startswith("tcp://") and host not in _LOOPBACK:
            raise ValueError(
                "SCHEDULER must be tls:// on another machine: who reaches a plain one runs code"
            )
        if self.is_encrypted and None in (self.ca_file, self.cert_file, self.key_file):
            raise ValueError("a tls:// SCHEDULER needs CA_FILE, CERT_FILE and KEY_FILE")
        return self
