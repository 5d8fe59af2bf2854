"""Prometheus's HTTP API (v1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.sections.systems import MetricsSettings

NOBODYS_TROUBLE = "none"
"""Severity of alerts like the Watchdog, which fire to show that alerting works."""


_MOST_SAMPLES = 1000
_RANGE_BYTES = 16 * 1024 * 1024
_TOLD_APART = "reading"


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that Prometheus says is firing; texts are hostile input."""

    name: str
    severity: str
    category: str
    active_at: str


def firing_alerts(metrics: MetricsSettings) -> list[FiringAlert]:
    """`GET /api/v1/alerts`, those in state firing, but for those that always fire."""
    answer = http.call(
        "GET",
        f"{metrics.prometheus_url}/api/v1/alerts",
        timeout_seconds=metrics.timeout_seconds,
    )
    try:
        return [
            FiringAlert(
                name=str(alert["labels"].get("alertname", "")),
                severity=str(alert["labels"].get("severity", "")),
                category=str(alert["labels"].get("category", "")),
                active_at=str(alert.get("activeAt", "")),
            )
            for alert in _listed(answer.value)
            if alert.get("state") == "firing" and alert["labels"].get("severity") != NOBODYS_TROUBLE
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"expected Prometheus's alerts, found {type(error).__name__}") from error


def _listed(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON of another system
    """The list in the answer: an object or text in its place must not look like "none"."""
    alerts = answer["data"]["alerts"]
    if not isinstance(alerts, list):
        raise TypeError(f"expected a list of alerts, found {type(alerts).__name__}")
    return alerts


def readings(
    metrics: MetricsSettings, asked: Mapping[str, str], *, timeout_seconds: float
) -> dict[str, tuple[float, ...]]:
    """The values of several PromQL expressions, by name, all of one instant and in one answer.

    Each is to give one value; none (no such series), several, NaN and Inf are passed on. One
    exchange has one time-out and one failure, however many questions there are.

    Raises Malformed when Prometheus refuses an expression (the message says why), or answers
    something else.
    """
    parts = [
        f'label_replace({promql}, "{_TOLD_APART}", "{name}", "", "")'
        for name, promql in asked.items()
    ]
    answer = http.call(
        "GET",
        f"{metrics.prometheus_url}/api/v1/query",
        timeout_seconds=timeout_seconds,
        params={"query": " or ".join(parts)},
    )
    found: dict[str, list[float]] = {name: [] for name in asked}
    try:
        for sample in _vector(answer.value):
            found[sample["metric"][_TOLD_APART]].append(_number(sample["value"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"expected a vector of Prometheus, found {type(error).__name__}") from error
    return {name: tuple(values) for name, values in found.items()}


def series(
    metrics: MetricsSettings, promql: str, begin: float, end: float, step: float
) -> list[dict[str, Any]]:
    """`GET /api/v1/query_range`: the series of an expression, as Prometheus answers them.

    Seconds since 1970, and between two values. Raises as `readings` does.
    """
    asked = {"query": promql, "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
    answer = http.call(
        "GET",
        f"{metrics.prometheus_url}/api/v1/query_range",
        timeout_seconds=metrics.timeout_seconds,
        params=asked,
        body_limit=_RANGE_BYTES,
    )
    try:
        return _matrix(answer.value)
    except (KeyError, TypeError) as error:
        raise Malformed(f"expected a matrix of Prometheus, found {type(error).__name__}") from error


def _matrix(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON of another system
    data = answer["data"]
    if data["resultType"] != "matrix" or not isinstance(data["result"], list):
        raise TypeError("expected a matrix")
    return list(data["result"])


def _vector(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON of another system
    data = answer["data"]
    if data["resultType"] != "vector" or not isinstance(data["result"], list):
        raise TypeError("expected a vector")
    if len(data["result"]) > _MOST_SAMPLES:
        raise ValueError("expected few samples")
    return list(data["result"])


def _number(pair: Any) -> float:  # noqa: ANN401 - as above
    """The value of `[time, "text"]`; Prometheus writes NaN, +Inf and -Inf as Python reads them."""
    _, text = pair
    if not isinstance(text, str):
        raise TypeError("expected a value as text")
    return float(text)
