"""What became of a notification that is in PostgreSQL, for the log and the metrics."""

import logging

from deployments.gateway import metrics
from tasks.work.intake import Taken

log = logging.getLogger("gateway.intake")


def account_for(taken: Taken) -> None:
    """Count it, and log the incidents that it opened."""
    if taken.duplicate:
        metrics.DUPLICATE.inc()
    else:
        metrics.STORED.labels("postgresql").inc()
        metrics.ALERTS.inc(taken.new_alerts)
    if taken.not_admitted:
        metrics.QUARANTINED.inc()
    for incident in taken.opened:
        log.info("incident opened", extra={"incident": incident})
