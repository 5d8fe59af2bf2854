"""Questions to Prometheus."""

from prefect import task

from tasks.clients import prometheus
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe

_SHOWN = 20


@task(name="Check firing alerts", tags={"runbook:triage.alerts"}, **READ)
def check_firing_alerts(incident: str) -> Observation:
    """`curl /api/v1/alerts`, those that fire."""

    def probe() -> Seen:
        configured = settings().metrics
        if not configured.prometheus_url:
            return Seen(Health.UNKNOWN, "no Prometheus is configured")
        firing = prometheus.firing_alerts(configured)
        names = sorted({alert.name[:80] for alert in firing})
        evidence = {"firing": names[:_SHOWN], "count": len(firing)}
        if not firing:
            return Seen(Health.HEALTHY, "no alert is firing", evidence)
        text = f"{len(firing)} firing: {', '.join(names[:3])}"
        return Seen(Health.DEGRADED, text, evidence)

    return observe(incident, "triage.alerts", "monitoring", probe)
