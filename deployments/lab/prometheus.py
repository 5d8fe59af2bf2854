"""Prometheus, where one is installed: scrapes the audit API and has the patient's own rule."""

import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from deployments.lab.environment import LOOPBACK, clean_environment, free_port
from deployments.lab.processes import Child, Processes

_START_SECONDS = 15.0

_CONFIGURATION = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: rlhf-audit-trail-app
    static_configs: [{{targets: ["{target}"]}}]
"""
_RULES = """\
groups:
  - name: rlhf-audit-trail
    rules:
      - alert: AuditTrailIntegrityFailure
        expr: audit_log_integrity_check_passed == 0
        labels: {severity: critical, category: audit}
        annotations:
          summary: Audit trail integrity check failed
          description: The last integrity check of the audit log found records that do not verify.
      - alert: ApplicationDown
        expr: up == 0
        for: 5s
        labels: {severity: critical, category: operational}
        annotations: {summary: The RLHF Audit Trail application is down}
"""


def installed() -> str | None:
    """The program's path, or None: then firing alerts are Unknown to the triage."""
    return shutil.which("prometheus")


@dataclass(slots=True)
class PrometheusServer:
    """One Prometheus on loopback; `target` is host:port of the audit API."""

    directory: Path
    processes: Processes
    program: str
    target: str
    port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def url(self) -> str:
        """Base URL of its HTTP API."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start and wait until it serves queries."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "prometheus.yml"
        configuration.write_text(_CONFIGURATION.format(target=self.target), encoding="utf-8")
        (self.directory / "rules.yml").write_text(_RULES, encoding="utf-8")
        self.child = self.processes.start(
            "prometheus",
            [
                self.program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self.directory / 'data'}",
                "--storage.tsdb.retention.time=2h",
                f"--web.listen-address={LOOPBACK}:{self.port}",
                "--log.level=warn",
            ],
            environment={**clean_environment(), "GOMEMLIMIT": "96MiB"},
            directory=self.directory,
        )
        self.child.wait_ready(lambda: answers(f"{self.url}/-/ready"), _START_SECONDS)


def answers(url: str, seconds: float = 1.0) -> bool:
    """Whether a GET of this loopback URL is answered with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310  loopback URLs
            return bool(answer.status < 300)  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return False
