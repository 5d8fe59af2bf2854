"""Error rate and latency around an incident, kept from Prometheus as a fact of the journal."""

from datetime import datetime

from tasks.clients import prometheus
from tasks.clients.errors import ClientError
from tasks.domain.facts import FactKind
from tasks.domain.metric_ranges import Asked, Span, fact_of, is_kept, kept, questions, span_of
from tasks.domain.untrusted import visible
from tasks.sections.systems import MetricsSettings
from tasks.work import journal

_LEAST_WINDOW = 2.5  # steps of a range: a rate needs two samples in every window


def keep(metrics: MetricsSettings, incident: str, now: datetime) -> None:
    """Once for each end; a Prometheus that does not answer is noted, and asked again later."""
    if not metrics.prometheus_url:
        return
    state = journal.read(incident)
    span = span_of(state, now)
    if span is None or is_kept(state, now):
        return
    window = max(60, round(_LEAST_WINDOW * span.step))
    asked = questions(
        metrics.requests, metrics.durations, metrics.status_label, metrics.selector, window
    )
    try:
        found = [kept(each, _answer(metrics, each, span)) for each in asked]
    except ClientError as error:
        why = f"no error rate and latency of Prometheus is kept: {visible(str(error), 300)}"
        journal.append(incident, FactKind.NOTE, {"text": why}, key="ranges:none")
        return
    if any(each["points"] for each in found):
        key = f"ranges:{span.end.isoformat()}"
        journal.append(incident, FactKind.RANGES_KEPT, fact_of(span, found), key=key)
        return
    why = "no error rate and latency is kept: Prometheus has no such series of that time"
    journal.append(incident, FactKind.NOTE, {"text": why}, key="ranges:none")


def _answer(metrics: MetricsSettings, asked: Asked, span: Span) -> list[dict[str, object]]:
    begin, end = span.begin.timestamp(), span.end.timestamp()
    return prometheus.series(metrics, asked.promql, begin, end, span.step)
