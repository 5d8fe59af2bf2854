"""Alertmanager, where one is installed: takes Prometheus's alerts and sends them to the gateway.

Without waiting: what production collects for ten seconds, the lab sends at once.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.lab.environment import LOOPBACK, clean_environment, free_port, require_loopback
from deployments.lab.processes import Child, Processes
from deployments.lab.prometheus import answers
from deployments.lab.state import private_file

_START_SECONDS = 15.0
_PROGRAMS = ("prometheus-alertmanager", "alertmanager")  # Debian's name, and upstream's
_MAX_ALERTS = 500


def installed() -> str | None:
    """The program's path, or None: then the demo sends the alert itself."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


@dataclass(slots=True)
class AlertmanagerServer:
    """One Alertmanager on loopback, alone, that sends everything to `receiver` (a URL) at once."""

    directory: Path
    processes: Processes
    program: str
    receiver: str
    token: str
    port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def address(self) -> str:
        """Host and port, as Prometheus wants them."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Base URL of its HTTP API."""
        return f"http://{self.address}"

    @property
    def token_file(self) -> Path:
        """Where the token of the gateway is; read for each request, so it may be replaced."""
        return self.directory / "gateway.token"

    def start(self) -> None:
        """Start and wait until it is ready."""
        require_loopback(self.receiver)
        self.directory.mkdir(parents=True, exist_ok=True)
        private_file(self.token_file, self.token)
        configuration = self.directory / "alertmanager.yml"
        # JSON is YAML
        configuration.write_text(json.dumps(self._configuration()), encoding="utf-8")
        self.child = self.processes.start(
            "alertmanager",
            [
                self.program,
                f"--config.file={configuration}",
                f"--storage.path={self.directory / 'data'}",
                f"--web.listen-address={self.address}",
                f"--web.external-url={self.url}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            environment={**clean_environment(), "GOMEMLIMIT": "48MiB"},
            directory=self.directory,
        )
        self.child.wait_ready(lambda: answers(f"{self.url}/-/ready"), _START_SECONDS)

    def _configuration(self) -> dict[str, Any]:
        heartbeat = {
            "receiver": "runbook",
            "matchers": ['alertname="Watchdog"'],
            "group_interval": "10s",
            "repeat_interval": "9s",  # shorter, so that every flush sends it
        }
        http = {
            "follow_redirects": False,
            "authorization": {"credentials_file": str(self.token_file)},
        }
        webhook = {
            "url": self.receiver,
            "send_resolved": True,
            "max_alerts": _MAX_ALERTS,
            "http_config": http,
        }
        return {
            "route": {
                "receiver": "runbook",
                "group_by": ["alertname"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
                "routes": [heartbeat],
            },
            "receivers": [{"name": "runbook", "webhook_configs": [webhook]}],
        }
