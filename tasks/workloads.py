"""What runs in the cluster, what was rolled out lately, and which revisions are known to serve."""

from datetime import UTC, datetime

from prefect import task

from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain.errors import BadInput
from tasks.domain.observation import Health, Observation
from tasks.domain.recent_changes import Timing, correlate
from tasks.domain.releases import component_of, releases_of
from tasks.domain.rollout_look import Looked
from tasks.domain.rollout_status import Progress
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe
from tasks.work.healthy_revisions import look_and_keep
from tasks.work.workload_looks import Looks, look_at_workloads

STEP = "triage.deployments"

_SHOWN = 3
_WHY = 300


@task(name="Review recent deployments", tags={"runbook:triage.deployments"}, **READ)
def review_deployments(incident: str, onset: datetime | None, component: str) -> Observation:
    """What was rolled out lately, the most suspect first; `component` is the incident's."""
    cluster = settings().kubernetes

    def probe() -> Seen:
        if not is_configured(cluster):
            return Seen(Health.UNKNOWN, "deployments unknown: no cluster is configured")
        try:
            return _seen(look_at_workloads(cluster), onset, component)
        except (ClientError, BadInput) as error:  # the API server's trouble, or ours
            return Seen(Health.UNKNOWN, f"deployments unknown: {error}")

    return observe(incident, STEP, "deployments", probe, cluster.api_seconds)


@task(name="Keep healthy revisions", tags={"runbook:recovery.rollback.evidence"}, **READ)
def keep_healthy_revisions() -> str:
    """Which revisions serve now, kept while nothing is wrong; what was done, in words.

    Raises ClientError when the cluster cannot be looked at, so that the run shows it.
    """
    cluster = settings().kubernetes
    if not is_configured(cluster):
        return "nothing kept: no cluster is configured"
    return look_and_keep(cluster, datetime.now(UTC))


def _seen(found: Looks, onset: datetime | None, component: str) -> Seen:
    scaling = settings().scaling
    named = {scaling.api: "api", scaling.workers: "workers"}
    releases = [
        release
        for each in found.looked
        for release in releases_of(
            component_of(each.workload, named), each.workload, each.revisions
        )
    ]
    changes = correlate(releases, onset, [component])
    suspects = [each for each in changes if each.timing is Timing.JUST_BEFORE]
    stuck = [f"{each.target}: {text}" for each in found.looked if (text := _stuck(each))]
    evidence = {
        "changes": [each.as_json() for each in changes],
        "stuck": stuck,
        "unread": [each[:_WHY] for each in found.unread],
    }
    said = stuck[:_SHOWN] + [each.summary for each in suspects[:_SHOWN]]
    if said:
        return Seen(Health.DEGRADED, "; ".join(said), evidence)
    if found.unread:
        return Seen(Health.UNKNOWN, f"deployments unknown: {found.unread[0]}", evidence)
    newest = f", the last: {changes[0].summary}" if changes else ""
    text = f"no rollout shortly before the onset, {len(changes)} in the day around it{newest}"
    return Seen(Health.HEALTHY, text, evidence)


def _stuck(looked: Looked) -> str:
    """Why a rollout stands still; empty when it does not."""
    status = looked.status
    return status.text if status.progress is Progress.FAILED else ""
