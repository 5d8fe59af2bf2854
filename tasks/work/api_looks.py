"""One look at the API and at all that it needs, at once and under one time-out; changes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from tasks.clients import audit_api, prometheus
from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_configuration import configuration
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain.alertmanager import clean
from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_needs import cache_need, connections_of, database_need
from tasks.domain.api_readings import ApiReadings, Need, Traffic, Unread, known
from tasks.domain.cache_diagnosis import diagnose as diagnose_cache
from tasks.domain.configuration import Configuration
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_readings import DatabaseReadings
from tasks.domain.disruption import RestartCaps
from tasks.domain.errors import BadInput
from tasks.domain.holds import workload_target
from tasks.domain.impact import Questions, estimate
from tasks.domain.observation import Health
from tasks.domain.pods import PodState
from tasks.domain.recent_changes import RecentChange, correlate
from tasks.domain.releases import releases_of
from tasks.domain.rollout_look import Looked
from tasks.domain.workloads import Kind
from tasks.sections.components import ApiCareSettings
from tasks.settings import Settings
from tasks.work import cache_remedies, database_remedies, rollbacks, scalings
from tasks.work.at_once import Late, at_once

API = "api"
_REASON_LIMIT = 300
_OK = 200
_REFUSED = "refused_logins"
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Site:
    """The API, whom we ask about it, and from where on something is a cause."""

    settings: Settings
    limits: ApiLimits
    database: database_remedies.Site

    @property
    def care(self) -> ApiCareSettings:
        """How long looks and remedies may take."""
        return self.settings.api_care

    @property
    def name(self) -> str:
        """Of its Deployment."""
        return self.settings.scaling.api

    @property
    def target(self) -> str:
        """Its Deployment, as plans, holds and locks name it."""
        return workload_target(Kind.DEPLOYMENT, self.name)


def site_of(settings: Settings, database: str) -> Site:
    """The site, from the settings; `database` is the target of what the API needs."""
    care = settings.api_care
    limits = ApiLimits(
        busy_share=care.busy_share,
        wanted_share=care.wanted_share,
        slow_seconds=care.slow_seconds,
        refused_logins=care.refused_logins,
        starting_seconds=care.starting_seconds,
        caps=RestartCaps(care.restart_share, care.restart_at_most),
        restarts_per_hour=settings.changes.restarts_per_hour,
    )
    return Site(settings, limits, database_remedies.site_of(settings, database))


def looked_at(
    site: Site, onset: datetime | None, *, window: int | None = None, restarts: int = 0
) -> ApiReadings:
    """Everything that can be read now; what cannot is `Unread`, never an error.

    `window`: seconds over which rates are taken, else the settings'; `restarts`: how often pods of
    it were restarted by us lately.
    """
    looks: dict[str, Callable[[], Any]] = {
        "answers": partial(_answers, site),
        "traffic": partial(_traffic, site, onset, window),
        "database": partial(database_remedies.looked_at, site.database),
        "cache": partial(_cache, site),
        **_cluster_looks(site),
    }
    found = at_once(looks, site.care.look_seconds, threads=len(looks))
    workload = _part(found["workload"])
    looked, changed = workload if isinstance(workload, tuple) else (workload, workload)
    database = _database(site, found["database"])
    return ApiReadings(
        at=datetime.now(UTC),
        onset=onset,
        answers=_health(found["answers"]),
        traffic=_part(found["traffic"]),
        looked=looked,
        changes=_changes(looked, onset),
        pods=_pods_of(looked, _part(found["pods"])),
        usage=_part(found["usage"]),
        events=_part(found["events"]),
        around=_part(found["around"]),
        configuration=changed,
        needs={"database": database[0], "cache": _health(found["cache"])},
        connections=database[1],
        restarts_lately=restarts,
        policy=_policy(site, looked),
    )


def _cluster_looks(site: Site) -> dict[str, Callable[[], Any]]:
    """Without a cluster each of them says so."""
    cluster = site.settings.kubernetes
    names = ("workload", "pods", "usage", "events", "around")
    if not is_configured(cluster):
        return dict.fromkeys(names, lambda: Unread("no cluster is configured"))
    try:
        api = Api(cluster)
    except BadInput as error:
        reason = clean(str(error), _REASON_LIMIT)
        return dict.fromkeys(names, lambda: Unread(reason))
    return {
        "workload": partial(_workload, site, api),
        "pods": lambda: tuple(cluster_pods.pods(api)),
        "usage": lambda: tuple(cluster_pods.pod_usage(api)),
        "events": lambda: tuple(cluster_pods.events(api)),
        "around": lambda: bounds.surroundings(api),
    }


def _answers(site: Site) -> Need:
    answer = audit_api.health(site.settings.api)
    said = answer.value if isinstance(answer.value, dict) else {}
    status, reason = clean(str(said.get("status")), 40), clean(str(said.get("reason", "")), 200)
    if answer.status == _OK and status in {"ok", "healthy"}:
        return Need(Health.HEALTHY, f"healthy in {answer.seconds * 1000:.0f} ms")
    why = f": {reason}" if reason else ""
    return Need(Health.FAILED, f"/health answers {answer.status}, status {status!r}{why}")


def _cache(site: Site) -> Need:
    where = cache_remedies.site_of(site.settings)
    seen = cache_remedies.looked_at(where)
    return cache_need(seen, diagnose_cache(seen, where.limits))


def _traffic(site: Site, onset: datetime | None, window: int | None) -> Traffic | Unread:
    metrics = site.settings.metrics
    if not metrics.prometheus_url:
        return Unread("no Prometheus is configured")
    over = window or metrics.window_seconds
    since = 0.0 if onset is None else (datetime.now(UTC) - onset).total_seconds()
    asked = Questions(
        requests=metrics.requests,
        durations=metrics.durations,
        status=metrics.status_label,
        selector=metrics.selector,
        users="",
        window=over,
        baseline=metrics.baseline_seconds,
        since_onset=max(0, round(since)),
    ).as_promql()
    failures = f"{site.care.authentication_failures}{{{metrics.selector}}}[{over}s]"
    answers = prometheus.readings(
        metrics,
        asked | {_REFUSED: f"sum(increase({failures}))"},
        timeout_seconds=metrics.timeout_seconds,
    )
    refused = answers.pop(_REFUSED, ())
    impact = estimate(
        answers,
        window=over,
        baseline=metrics.baseline_seconds,
        noticeable_seconds=metrics.noticeable_seconds,
    )
    known_one = len(refused) == 1 and 0 <= refused[0] < float("inf")
    return Traffic(impact, refused[0] if known_one else None, over)


def _workload(site: Site, api: Api) -> tuple[Looked, Configuration | Unread]:
    looked = rollbacks.looked_at(rollbacks.site_of(site.settings), Kind.DEPLOYMENT, site.name)
    try:
        return looked, configuration(api, looked.workload.template.content)
    except ClientError as error:
        return looked, Unread(clean(str(error), _REASON_LIMIT))


def _database(site: Site, found: DatabaseReadings | ClientError) -> tuple[Need, Any]:
    if isinstance(found, ClientError):
        reason = clean(str(found), _REASON_LIMIT)
        return Need(_health_of(found), reason), Unread(reason)
    causes = diagnose(found, site.database.target, site.database.limits)
    return database_need(found, causes), connections_of(found)


def _health(found: Need | ClientError) -> Need:
    if not isinstance(found, ClientError):
        return found
    return Need(_health_of(found), clean(str(found), _REASON_LIMIT))


def _health_of(error: ClientError) -> Health:
    """A system that does not answer is Failed, one that refuses us or talks nonsense is Unknown.

    So is one of which our own look was not over in time.
    """
    failed = isinstance(error, Transient | NotFound) and not isinstance(error, Late)
    return Health.FAILED if failed else Health.UNKNOWN


def _part(found: _Part | ClientError) -> _Part | Unread:
    if isinstance(found, ClientError):
        return Unread(clean(str(found), _REASON_LIMIT))
    return found


def _pods_of(
    looked: Looked | Unread, pods: Sequence[PodState] | Unread
) -> tuple[PodState, ...] | Unread:
    """Those of the namespace that are the API's."""
    if isinstance(looked, Unread) or isinstance(pods, Unread):
        return looked if isinstance(looked, Unread) else Unread(getattr(pods, "reason", ""))
    return tuple(each for each in pods if looked.workload.selector.matches(each.labels))


def _changes(looked: Looked | Unread, onset: datetime | None) -> tuple[RecentChange, ...]:
    found = known(looked)
    if found is None:
        return ()
    return correlate(releases_of(API, found.workload, found.revisions), onset, (API,))


def _policy(site: Site, looked: Looked | Unread) -> Any:  # noqa: ANN401  ScalingPolicy or none
    found = known(looked)
    if found is None:
        return None
    return scalings.policy_of(site.settings.scaling, found.workload.replicas)
