"""What the logs of the system under care say."""

from datetime import UTC, datetime
from typing import Any

from prefect import task

from tasks.clients import loki
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain.errors import BadInput
from tasks.domain.log_lines import LogLine
from tasks.domain.log_templates import LogDigest, digest
from tasks.domain.observation import Health, Observation
from tasks.domain.redaction import Redactor
from tasks.retries import READ
from tasks.settings import Settings, settings
from tasks.work.checks import Seen, observe
from tasks.work.pod_logs import read_pod_logs
from tasks.work.redaction import secrets_of

_REASON = 200


@task(
    name="Review system logs",
    tags={"runbook:triage.logs", "runbook:api.diagnosis.logs"},
    **READ,
)
def review_logs(incident: str, onset: datetime | None) -> Observation:
    """The lines that matter, by template: from Loki, else the last ones of all pods.

    `onset` (UTC) divides what is new from what was usual.
    """
    configured = settings()

    def probe() -> Seen:
        if not configured.loki.url and not is_configured(configured.kubernetes):
            return Seen(Health.UNKNOWN, "logs not read: neither Loki nor a cluster is configured")
        try:
            read = _from_loki if configured.loki.url else _from_pods
            lines, where = read(configured, onset)
        except (ClientError, BadInput) as error:  # not the system's own trouble
            return Seen(Health.UNKNOWN, f"logs not read: {error}")
        found = digest(lines, onset=onset, redact=Redactor(secrets_of(configured)))
        return Seen(_health(found), _summary(found, where), {**found.as_json(), **where})

    return observe(incident, "triage.logs", "logs", probe)


_Read = tuple[tuple[LogLine, ...], dict[str, Any]]


def _from_loki(configured: Settings, onset: datetime | None) -> _Read:
    now = datetime.now(UTC)
    found = loki.around(configured.loki, onset or now, now)
    return found.lines, {"cut": found.cut, "query": configured.loki.query}


def _from_pods(configured: Settings, _: datetime | None) -> _Read:
    found = read_pod_logs(configured.kubernetes)
    hide = Redactor(secrets_of(configured))
    return found.lines, {
        "cut": found.read < found.sources,
        "containers": found.sources,
        "containers_read": found.read,
        "unread": [hide(each)[:_REASON] for each in found.unread],
    }


def _health(read: LogDigest) -> Health:
    """Silence is no health: a system that logs nothing may be dead, or its collector."""
    if not read.lines:
        return Health.UNKNOWN
    return Health.DEGRADED if read.trouble else Health.HEALTHY


def _summary(read: LogDigest, where: dict[str, Any]) -> str:
    of = f" of {where['containers_read']} containers" if "containers_read" in where else ""
    if not read.lines:
        return f"no lines at all{of}"
    said = f"{read.lines} lines{of}, {read.kinds} kinds"
    if not read.trouble:
        return f"{said}, no new errors"
    worst = read.trouble[0]
    return f"{said}, {worst.novelty}: {worst.count} x {worst.template}"
