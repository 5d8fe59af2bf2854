"""How full a claim is and how fast it fills, as the kubelet tells Prometheus."""

import math
import re
from dataclasses import dataclass

from tasks.clients import prometheus
from tasks.clients.errors import Malformed
from tasks.sections.systems import MetricsSettings

_WINDOW = "3600s"
_LATELY = "600s"
_NAME = re.compile("[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MOST = float(1 << 60)


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """Bytes of a file system; `bytes_per_second` None: too few samples to tell.

    `watched_seconds`: how long it was counted, of the last hour.
    """

    used: int
    capacity: int
    bytes_per_second: float | None
    watched_seconds: float


def volume_use(metrics: MetricsSettings, namespace: str, claim: str) -> VolumeUse | None:
    """By `kubelet_volume_stats_*`; None where nobody counts it. Raises as `readings` does.

    The rate is the slower one of the last hour and of its last ten minutes: what was over ten
    minutes ago, or has only just begun, says nothing about the next hours.
    """
    if not metrics.prometheus_url:
        return None
    if _NAME.fullmatch(namespace) is None or _NAME.fullmatch(claim) is None:
        raise Malformed(f"expected names of Kubernetes, found {namespace!r} and {claim!r}")
    series = f'{{namespace="{namespace}",persistentvolumeclaim="{claim}"}}'
    used = f"kubelet_volume_stats_used_bytes{series}"
    asked = {
        "used": f"max({used})",
        "capacity": f"max(kubelet_volume_stats_capacity_bytes{series})",
        "hour": f"max(deriv({used}[{_WINDOW}]))",
        "lately": f"max(deriv({used}[{_LATELY}]))",
        "watched": f"max(time() - min_over_time(timestamp({used})[{_WINDOW}:10s]))",
    }
    found = prometheus.readings(metrics, asked, timeout_seconds=metrics.timeout_seconds)
    numbers = {name: _only(values) for name, values in found.items()}
    in_use, capacity = numbers["used"], numbers["capacity"]
    if in_use is None or not capacity or not 0 <= in_use <= _MOST or not 0 < capacity <= _MOST:
        return None
    rates = [rate for name in ("hour", "lately") if (rate := numbers[name]) is not None]
    watched = max(0.0, numbers["watched"] or 0.0)
    return VolumeUse(round(in_use), round(capacity), min(rates) if rates else None, watched)


def _only(values: tuple[float, ...]) -> float | None:
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None
