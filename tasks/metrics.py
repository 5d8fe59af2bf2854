"""Questions to Prometheus."""

import time
from contextlib import suppress
from datetime import UTC, datetime

from prefect import task

from tasks.clients import prometheus
from tasks.clients.errors import ClientError
from tasks.domain.impact import Questions, estimate
from tasks.domain.observation import Health, Observation
from tasks.domain.severity import IMPACT
from tasks.retries import READ
from tasks.sections.systems import MetricsSettings
from tasks.settings import settings
from tasks.work.checks import Seen, observe

_SHOWN = 20


@task(name="Check firing alerts", tags={"runbook:triage.alerts"}, **READ)
def check_firing_alerts(incident: str) -> Observation:
    """`curl /api/v1/alerts`, those that fire."""
    configured = settings().metrics

    def probe() -> Seen:
        if not configured.prometheus_url:
            return Seen(Health.UNKNOWN, "no Prometheus is configured")
        firing = prometheus.firing_alerts(configured)
        names = sorted({alert.name[:80] for alert in firing})
        evidence = {"firing": names[:_SHOWN], "count": len(firing)}
        if not firing:
            return Seen(Health.HEALTHY, "no alert is firing", evidence)
        text = f"{len(firing)} firing: {', '.join(names[:3])}"
        return Seen(Health.DEGRADED, text, evidence)

    return observe(incident, "triage.alerts", "monitoring", probe, configured.timeout_seconds)


@task(
    name="Estimate user impact",
    tags={"runbook:triage.impact", "runbook:api.diagnosis.requests"},
    **READ,
)
def estimate_impact(incident: str, onset: datetime | None) -> Observation:
    """Request rate, share of errors, users and latency against the time before `onset` (UTC)."""
    configured = settings().metrics

    def probe() -> Seen:
        if not configured.prometheus_url:
            return Seen(Health.UNKNOWN, "user impact unknown: no Prometheus is configured")
        questions = _questions(configured, onset)
        asked = questions.as_promql()
        try:
            answers = _answers(configured, asked)
        except ClientError as error:  # Prometheus's own trouble is no trouble of the users
            return Seen(Health.UNKNOWN, f"user impact unknown: {error}", {"queries": asked})
        found = estimate(
            answers,
            window=questions.window,
            baseline=questions.baseline,
            noticeable_seconds=configured.noticeable_seconds,
        )
        return Seen(found.health, found.summary, {**found.as_json(), "queries": asked})

    return observe(incident, IMPACT, "api", probe, configured.timeout_seconds)


def _questions(metrics: MetricsSettings, onset: datetime | None) -> Questions:
    since = 0.0 if onset is None else (datetime.now(UTC) - onset).total_seconds()
    return Questions(
        requests=metrics.requests,
        durations=metrics.durations,
        status=metrics.status_label,
        selector=metrics.selector,
        users=metrics.users_query,
        window=metrics.window_seconds,
        baseline=metrics.baseline_seconds,
        since_onset=max(0, round(since)),
    )


def _answers(metrics: MetricsSettings, asked: dict[str, str]) -> dict[str, tuple[float, ...]]:
    """Our own questions, then the operator's: a query of theirs that fails costs only its answer.

    Both together take no longer than the time-out.
    """
    began = time.monotonic()
    ours = {name: promql for name, promql in asked.items() if name != "users"}
    theirs = {name: promql for name, promql in asked.items() if name == "users"}
    found = prometheus.readings(metrics, ours, timeout_seconds=metrics.timeout_seconds)
    left = metrics.timeout_seconds - (time.monotonic() - began)
    if theirs and left > 0:
        with suppress(ClientError):
            found |= prometheus.readings(metrics, theirs, timeout_seconds=left)
    return found
