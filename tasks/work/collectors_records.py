"""Evidence of what others recorded: the audit API, Prometheus, our own gateway and journal."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tasks.clients import audit_api, prometheus
from tasks.domain.collection import Part, Volatility
from tasks.domain.errors import BadInput
from tasks.sections.systems import MetricsSettings
from tasks.settings import Settings
from tasks.work import responder
from tasks.work.evidence_pieces import Wanted, as_json, as_stream, single

_API, _METRICS, _OURS = "the audit API", "Prometheus", "the responder's own database"
_PAGE = 100
_MOST_VALUES = 1000
_LEAST_STEP = timedelta(seconds=5)

_ANSWERS: Mapping[str, tuple[str, str, dict[str, str | int]]] = {
    "audit-api.access-attempts": (
        "Attempts at access, as the API lists them",
        "audit/records",
        {"event_type": "access_attempt"},
    ),
    "audit-api.suspicious": (
        "Suspicious users, as the API lists them",
        "users/activity/suspicious",
        {},
    ),
    "audit-api.integrity": ("The API's own check of the system", "system/integrity/check", {}),
    "audit-api.merkle": ("The head that the API shows", audit_api.MERKLE, {}),
}


def api_answers(known: Settings) -> Iterator[Wanted]:
    """What the runbook's curl lines of a suspected breach answer."""
    for name, (title, path, params) in _ANSWERS.items():
        asked = "&".join(f"{key}={value}" for key, value in params.items())
        yield single(
            Part(name, title, Volatility.RECORDS),
            _API,
            known.api.url,
            partial(as_json, partial(audit_api.get, known.api, path, **params)),
            arguments=(f"GET /api/v1/{path}{'?' if asked else ''}{asked}",),
        )


def metric_ranges(known: Settings, onset: datetime, now: datetime) -> Iterator[Wanted]:
    """Series from a while before the onset until now."""
    begin = onset - timedelta(minutes=known.evidence.before_minutes)
    step = max(_LEAST_STEP, (now - begin) / _MOST_VALUES)
    for name, promql in _queries(known.metrics).items():
        yield single(
            Part(f"metrics.{name}", f"Metrics around the onset: {name}", Volatility.RECORDS),
            _METRICS,
            known.metrics.prometheus_url or "Prometheus",
            partial(as_json, partial(_series, known.metrics, promql, begin, now, step)),
            arguments=(promql, begin.isoformat(), now.isoformat(), f"{step.total_seconds():.0f} s"),
        )


def own_records(incident: str) -> Iterator[Wanted]:
    """What our gateway took in for the incident, byte for byte, and the facts until now."""
    yield _own("gateway.notifications", "Notifications of alerts as received", _intake, incident)
    yield _own("journal.facts", "The timeline: facts of the incident", _facts, incident)


def _own(name: str, title: str, read: Callable[[str], Iterator[bytes]], incident: str) -> Wanted:
    part = Part(name, title, Volatility.RECORDS)
    return single(part, _OURS, _OURS, partial(as_stream, partial(read, incident)))


def _queries(metrics: MetricsSettings) -> dict[str, str]:
    own = f"{{{metrics.selector}}}"
    return {
        "alerts": "ALERTS",
        "up": "up",
        "requests": f"sum by ({metrics.status_label}) (rate({metrics.requests}{own}[1m]))",
        "latency": "histogram_quantile(0.95, sum by (le)"
        f" (rate({metrics.durations}_bucket{own}[1m])))",
        "authentication-failures": "authentication_failures_total",
        "unauthorised-access": "unauthorized_access_attempts_total",
        "data-export": "data_export_bytes_total",
    }


def _series(
    metrics: MetricsSettings, promql: str, begin: datetime, end: datetime, step: timedelta
) -> list[dict[str, Any]]:
    if not metrics.prometheus_url:
        raise BadInput("expected Prometheus to ask, found none: RUNBOOK_METRICS__PROMETHEUS_URL")
    return prometheus.series(
        metrics, promql, begin.timestamp(), end.timestamp(), step.total_seconds()
    )


def _intake(incident: str) -> Iterator[bytes]:
    """A line of JSON each: digest in hex, when it came, the body in base64. In pages."""
    with responder.connection() as connection:
        digests = [
            digest
            for (digest,) in connection.execute(
                "SELECT digest FROM notifications WHERE digest IN"
                " (SELECT notification FROM alerts WHERE incident = %s)"
                " ORDER BY received_at, digest",
                (incident,),
            ).fetchall()
        ]
    for first in range(0, len(digests), _PAGE):
        with responder.connection() as connection:
            rows = connection.execute(
                "SELECT digest, received_at, body FROM notifications WHERE digest = ANY(%s)"
                " ORDER BY received_at, digest",
                (digests[first : first + _PAGE],),
            ).fetchall()
        for digest, received_at, body in rows:
            kept = {
                "digest": bytes(digest).hex(),
                "received_at": received_at.isoformat(),
                "body": base64.b64encode(body).decode(),
            }
            yield json.dumps(kept).encode() + b"\n"


def _facts(incident: str) -> Iterator[bytes]:
    """The journal's lines as they are chained, in pages."""
    after = -1
    while True:
        with responder.connection() as connection:
            rows = connection.execute(
                "SELECT seq, line FROM journal WHERE incident = %s AND seq > %s"
                " ORDER BY seq LIMIT %s",
                (incident, after, _PAGE),
            ).fetchall()
        if not rows:
            return
        after = rows[-1][0]
        yield b"".join(bytes(line) + b"\n" for _, line in rows)
