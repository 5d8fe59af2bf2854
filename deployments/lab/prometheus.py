"""Prometheus, where one is installed: scrapes audit API and gateway, with the patient's rules."""

import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.lab.environment import LOOPBACK, PROJECT, clean_environment, free_port
from deployments.lab.processes import Child, Processes

OWN_RULES = PROJECT / "deployments" / "prometheus" / "runbook-rules.yml"
"""Production's rules about the gateway. Those about schedules are not for a lab: it has none."""

_START_SECONDS = 15.0
_EACH_SECOND = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
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
          remediation: Verify the audit trail and restore it from backup if data is lost
      - alert: AuditLogStorageIssue
        expr: increase(audit_log_write_errors_total[5m]) > 0
        labels: {severity: high, category: audit}
        annotations:
          summary: Audit records cannot be written
          description: The database refused audit records within the last 5 minutes.
          remediation: Check the database and its storage
      - alert: ApplicationDown
        expr: up{job="rlhf-audit-trail-app"} == 0
        for: 5s
        labels: {severity: critical, category: operational}
        annotations: {summary: The RLHF Audit Trail application is down}
"""

_EXPORTED = {
    "privacy-metrics": "privacy",
    "redis": "redis",
    "postgres": "postgres",
    "kubelet": "kubelet",
}
_CLUSTER_RULES = """\
groups:
  - name: rlhf-audit-trail-cluster
    rules:
      - alert: HighErrorRate
        expr: >-
          sum(rate(http_requests_total{job="rlhf-audit-trail-app",status=~"5.."}[10s]))
          / sum(rate(http_requests_total{job="rlhf-audit-trail-app"}[10s])) > 0.05
        for: 2s
        labels: {severity: high, category: operational}
        annotations: {summary: More than 5 % of the requests fail}
      - alert: HighResponseTime
        expr: >-
          histogram_quantile(0.95, sum by (le)
          (rate(http_request_duration_seconds_bucket{job="rlhf-audit-trail-app"}[10s]))) > 2
        for: 2s
        labels: {severity: warning, category: performance}
        annotations: {summary: The 95th percentile of response times is above 2 s}
      - alert: DatabaseDown
        expr: pg_up == 0
        for: 3s
        labels: {severity: critical, category: infrastructure}
        annotations: {summary: PostgreSQL does not answer}
      - alert: RedisDown
        expr: redis_up == 0
        for: 3s
        labels: {severity: high, category: infrastructure}
        annotations: {summary: Redis does not answer}
      - alert: DiskSpaceLow
        expr: kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes > 0.85
        for: 2s
        labels: {severity: high, category: infrastructure}
        annotations: {summary: A volume is more than 85 % full}
      - alert: CeleryQueueBacklog
        expr: redis_key_size{key="celery"} > 1000
        for: 2s
        labels: {severity: warning, category: performance}
        annotations: {summary: More than 1000 jobs wait for the workers}
      - alert: PrivacyBudgetExceeded
        expr: privacy_epsilon_used / privacy_epsilon_total > 0.9
        labels: {severity: critical, category: privacy}
        annotations: {summary: More than 90 % of the privacy budget is used}
      - alert: DifferentialPrivacyNoiseLow
        expr: privacy_noise_multiplier < 1.0
        labels: {severity: high, category: privacy}
        annotations: {summary: The noise multiplier is below 1}
"""


def installed() -> str | None:
    """The program's path, or None: then firing alerts are Unknown to the triage."""
    return shutil.which("prometheus")


@dataclass(slots=True)
class PrometheusServer:
    """One Prometheus on loopback.

    `target`, `gateway`, `alertmanager` and `exporters` are host:port of audit API, gateway,
    Alertmanager and of what speaks for the other servers, in a lab with a cluster.
    Where there is no gateway its rules are left out; without an Alertmanager no alert is sent.
    """

    directory: Path
    processes: Processes
    program: str
    target: str
    gateway: str = ""
    alertmanager: str = ""
    exporters: str = ""
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
        # JSON is YAML
        configuration.write_text(json.dumps(self._configuration()), encoding="utf-8")
        (self.directory / "rules.yml").write_text(_RULES, encoding="utf-8")
        (self.directory / "cluster-rules.yml").write_text(_CLUSTER_RULES, encoding="utf-8")
        self.child = self.processes.start(
            "prometheus",
            [
                self.program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self.directory / 'data'}",
                "--storage.tsdb.retention.time=2h",
                # it finds Alertmanager five seconds after its start; what fires before is dropped
                "--rules.alert.resend-delay=1s",
                f"--web.listen-address={LOOPBACK}:{self.port}",
                "--log.level=warn",
            ],
            environment={**clean_environment(), "GOMEMLIMIT": "96MiB"},
            directory=self.directory,
        )
        self.child.wait_ready(lambda: answers(f"{self.url}/-/ready"), _START_SECONDS)

    def _configuration(self) -> dict[str, Any]:
        scraped = {
            "rlhf-audit-trail-app": self.target,
            "runbook-gateway": self.gateway,
            "alertmanager": self.alertmanager,
        }
        told = [self.alertmanager] if self.alertmanager else []
        return {
            "global": _EACH_SECOND,
            "rule_files": [
                "rules.yml",
                *(["cluster-rules.yml"] if self.exporters else []),
                *([str(OWN_RULES)] if self.gateway else []),
            ],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}]}
                for job, address in scraped.items()
                if address
            ]
            + [
                {
                    "job_name": job,
                    "metrics_path": f"/{path}/metrics",
                    "static_configs": [{"targets": [self.exporters]}],
                }
                for job, path in _EXPORTED.items()
                if self.exporters
            ],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": told}]}]},
        }


def answers(url: str, seconds: float = 1.0) -> bool:
    """Whether a GET of this loopback URL is answered with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310  loopback URLs
            return bool(answer.status < 300)  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return False
