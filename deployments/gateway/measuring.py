"""Gauges of the whole installation, read when Prometheus asks: `GET /metrics`.

Without the database the process's own counters are still shown: they are what says that something
is wrong. No label holds text of an alert.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.datastructures import State

from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.group_commit import GroupCommit
from deployments.gateway.metrics import REGISTRY, TTA_SECONDS, TTR_SECONDS
from deployments.gateway.reconciler import Reconciler
from tasks.clients.errors import Transient
from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.drills import Ending
from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.severity import Severity
from tasks.work import drill_records, journal, journal_places, responder, routing, successes

router = APIRouter()
log = logging.getLogger("gateway.metrics")

_FACTS_AT_ONCE = 1000
_ENDS = frozenset({FactKind.CLOSED, FactKind.NOTE, FactKind.LEAD_TAKEN, FactKind.PLAN_DECIDED})
_QUEUE = """
SELECT priority, count(*), coalesce(extract(epoch FROM
       clock_timestamp() - min(enqueued_at) FILTER (WHERE lease_until IS NULL
                                                       OR lease_until < clock_timestamp())), 0)
  FROM dispatches WHERE done_at IS NULL GROUP BY priority
"""
# A line is searched, not parsed: one that cannot be read must not take all metrics down.
_OPEN = """
SELECT coalesce((SELECT substring(encode(assigned.line, 'escape') FROM '"severity":"(P[0-3])"')
                   FROM journal AS assigned WHERE assigned.incident = opened.incident
                    AND assigned.kind = 'severity assigned'
                  ORDER BY assigned.seq DESC LIMIT 1), 'none'), count(*)
  FROM journal AS opened WHERE opened.kind = 'opened' AND NOT EXISTS
       (SELECT 1 FROM journal AS closed
         WHERE closed.incident = opened.incident AND closed.kind = 'closed')
 GROUP BY 1
"""


@router.get("/metrics")
def show_metrics(request: Request) -> Response:
    """All metrics in Prometheus's text format."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class Installation(Collector):
    """What the database says, as gauges; and how fast people and we were, as it happens."""

    def __init__(self) -> None:
        self._seen: int | None = None

    def collect(self) -> Iterator[Metric]:
        """The gauges; those of the database are missing while it is away."""
        yield GaugeMetricFamily(
            "runbook_policy_refused",
            "1 while a changed routing policy is refused and the old one counts.",
            value=float(bool(routing.problem())),
        )
        try:
            yield from _queue()
            yield _open_incidents()
            yield from _heartbeat()
            yield _successes()
            yield from _drills()
            self._observe_people()
        except (Transient, BadInput) as error:
            log.warning("metrics are incomplete: %s", error)

    def _observe_people(self) -> None:
        """Observe what has been acknowledged or closed since the last look."""
        if self._seen is None:  # what happened before this process began is not its to count
            self._seen = journal_places.head()
            return
        try:
            self._observe_after(self._seen)
        except BadInput:  # a line that cannot be read must not stop the figures for ever
            self._seen = journal_places.head()
            raise

    def _observe_after(self, seen: int) -> None:
        while facts := journal.facts_after(seen, _FACTS_AT_ONCE):
            self._seen = seen = facts[-1].seq
            for fact in facts:
                if fact.kind in _ENDS and (fact.kind is FactKind.CLOSED or fact.actor != RUNBOOK):
                    _observe(fact.incident, fact.seq)


class ThisProcess(Collector):
    """What this gateway's own parts say of themselves; parts that do not run are missing."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        dispatcher: Dispatcher | None = self._state.dispatcher
        if dispatcher is not None:
            yield GaugeMetricFamily(
                "runbook_warm_children",
                "Warm processes that could run a flow.",
                value=dispatcher.warm_children,
            )
            yield GaugeMetricFamily(
                "runbook_prefect_up",
                "1 while Prefect's API answers the dispatcher.",
                value=float(dispatcher.prefect_answers),
            )
        storing: GroupCommit | None = getattr(self._state, "group_commit", None)
        if storing is not None:
            yield GaugeMetricFamily(
                "runbook_intake_waiting", "Notifications before the writer.", value=storing.waiting
            )
            yield GaugeMetricFamily(
                "runbook_spool_bytes",
                "Spooled until PostgreSQL is back.",
                value=storing.spooled_bytes,
            )
        reconciler: Reconciler | None = self._state.reconciler
        if reconciler is not None:
            yield CounterMetricFamily(
                "runbook_reconcile_differences",
                "Alerts of which Alertmanager said otherwise than we did.",
                value=reconciler.differences,
            )
            yield CounterMetricFamily(
                "runbook_reconcile_failures",
                "Looks at which not every configured Alertmanager answered.",
                value=reconciler.failures,
            )
            if reconciler.last_success is not None:
                yield GaugeMetricFamily(
                    "runbook_reconcile_last_success_timestamp_seconds",
                    "When every configured Alertmanager last answered.",
                    value=reconciler.last_success.timestamp(),
                )


def _observe(incident: str, seq: int) -> None:
    state = journal.read(incident)
    if state.opened_at is None:
        return
    this = next((fact for fact in state.facts if fact.seq == seq), None)
    if this is None:
        return
    seconds = (this.at - state.opened_at).total_seconds()
    if this.kind is FactKind.CLOSED:
        TTR_SECONDS.observe(seconds)
    elif this.at == acknowledged_at(state):
        TTA_SECONDS.observe(seconds)


def _queue() -> Iterator[Metric]:
    with responder.connection() as connection:
        rows = connection.execute(_QUEUE).fetchall()
    waiting = {rank: (count, float(oldest)) for rank, count, oldest in rows}
    depth = GaugeMetricFamily(
        "runbook_dispatch_queue", "Ordered runs that are not done.", labels=["priority"]
    )
    oldest = GaugeMetricFamily(
        "runbook_dispatch_oldest_seconds",
        "Age of the oldest order that is due and that nobody works on.",
        labels=["priority"],
    )
    for severity in Severity:
        count, age = waiting.get(severity.rank, (0, 0.0))
        depth.add_metric([severity.value], count)
        oldest.add_metric([severity.value], age)
    yield depth
    yield oldest


def _open_incidents() -> Metric:
    with responder.connection() as connection:
        counted = dict(connection.execute(_OPEN).fetchall())
    gauge = GaugeMetricFamily("runbook_incidents_open", "Open incidents.", labels=["severity"])
    for severity in (*(each.value for each in Severity), "none"):
        gauge.add_metric([severity], counted.get(severity, 0))
    return gauge


def _heartbeat() -> Iterator[Metric]:
    with responder.connection() as connection:
        row = connection.execute("SELECT max(last_at) FROM heartbeats").fetchone()
    if row is not None and row[0] is not None:
        yield GaugeMetricFamily(
            "runbook_heartbeat_age_seconds",
            "Since the last alert that must always fire; missing while none was ever heard.",
            value=(datetime.now(UTC) - row[0]).total_seconds(),
        )


def _successes() -> Metric:
    gauge = GaugeMetricFamily(
        "runbook_last_success_timestamp_seconds",
        "When scheduled work last succeeded; missing when it never did.",
        labels=["work"],
    )
    for work, at in successes.last().items():
        gauge.add_metric([work], at.timestamp())
    return gauge


def _drills() -> Iterator[Metric]:
    """The last drill of each way to choose a backup; one that could not tell says nothing here."""
    passed = GaugeMetricFamily(
        "runbook_drill_passed",
        "1 when the last restore drill of this choice passed, 0 when it failed.",
        labels=["choice"],
    )
    rto = GaugeMetricFamily(
        "runbook_drill_rto_seconds", "What that restore took, to the proof.", labels=["choice"]
    )
    rpo = GaugeMetricFamily(
        "runbook_drill_rpo_seconds", "How old that restored log was.", labels=["choice"]
    )
    for drill in drill_records.newest_scheduled():
        choice = [drill.choice.value]
        passed.add_metric(choice, float(drill.ending is Ending.PASSED))
        if drill.ending is Ending.PASSED:
            rto.add_metric(choice, drill.rto)
            if drill.rpo.seconds is not None:
                rpo.add_metric(choice, drill.rpo.seconds)
    succeeded = GaugeMetricFamily(
        "runbook_drill_last_success_timestamp_seconds",
        "When a restore drill of this choice last passed; missing when none ever did.",
        labels=["choice"],
    )
    for name, at in drill_records.last_passed().items():
        succeeded.add_metric([name], at.timestamp())
    yield passed
    yield rto
    yield rpo
    yield succeeded


def new_registry(state: State) -> CollectorRegistry:
    """The registry of one application, whose parts are in `state`."""
    registry = CollectorRegistry()
    for collector in (Installation(), ThisProcess(state), REGISTRY):  # what it observes, too
        registry.register(collector)
    return registry
