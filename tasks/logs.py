"""What the logs of the system under care say."""

from datetime import UTC, datetime

from prefect import task

from tasks.clients import loki
from tasks.clients.errors import ClientError
from tasks.domain.log_templates import LogDigest, digest
from tasks.domain.observation import Health, Observation
from tasks.domain.redaction import Redactor
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe
from tasks.work.redaction import secrets_of


@task(name="Review system logs", tags={"runbook:triage.logs"}, **READ)
def review_logs(incident: str, onset: datetime | None) -> Observation:
    """The lines that matter, by template, from before `onset` (UTC) until now; from Loki."""

    def probe() -> Seen:
        configured = settings().loki
        if not configured.url:
            return Seen(Health.UNKNOWN, "logs not read: no Loki is configured")
        now = datetime.now(UTC)
        try:
            found = loki.around(configured, onset or now, now)
        except ClientError as error:  # Loki's own trouble is no trouble of the system
            return Seen(Health.UNKNOWN, f"logs not read: {error}")
        read = digest(found.lines, onset=onset, redact=Redactor(secrets_of(settings())))
        evidence = {**read.as_json(), "cut": found.cut, "query": configured.query}
        return Seen(_health(read), _summary(read), evidence)

    return observe(incident, "triage.logs", "logs", probe)


def _health(read: LogDigest) -> Health:
    """Silence is no health: a system that logs nothing may be dead, or its collector."""
    if not read.lines:
        return Health.UNKNOWN
    return Health.DEGRADED if read.trouble else Health.HEALTHY


def _summary(read: LogDigest) -> str:
    if not read.lines:
        return "no lines at all"
    said = f"{read.lines} lines, {read.kinds} kinds"
    if not read.trouble:
        return f"{said}, no new errors"
    worst = read.trouble[0]
    return f"{said}, {worst.novelty}: {worst.count} x {worst.template}"
