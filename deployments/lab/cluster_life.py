"""The life of the lab's cluster: what happens to its pods happens to the lab's real processes.

The API runs while an API pod does, Valkey and PostgreSQL while theirs do; readiness probes say what
the processes really do. Worker replicas drain Celery's queue. Faults are set here.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from deployments.lab import cluster_manifests
from deployments.lab.api_ailments import ApiAilments
from deployments.lab.api_logs import ApiLogs
from deployments.lab.cache import CacheServer
from deployments.lab.cluster_manifests import CLAIM, POSTGRES, POSTGRES_POD, REDIS, REDIS_POD
from deployments.lab.database_volume import DatabaseVolume
from deployments.lab.effects import NONE, write_effect
from deployments.lab.exporters import Exporter, Gauges
from deployments.lab.kubernetes.cluster import simulated_cluster
from deployments.lab.kubernetes.documents import is_ready
from deployments.lab.kubernetes.kinds import plural_of
from deployments.lab.kubernetes.manifests import API, WORKERS
from deployments.lab.kubernetes.pod_programs import postgres_pod, redis_pod, with_volume
from deployments.lab.postgres import SUPERUSER, PostgresServer
from deployments.lab.server_pods import Ailing, ServerPods
from deployments.lab.services import Service
from deployments.lab.work_queue import WorkQueue

_BEAT_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_BASELINE_SECONDS = 12.0
_AUTOSCALER_SECONDS = 2.0  # production waits 15
_PATIENCE = {
    "RUNBOOK_CACHE__TIMEOUT_SECONDS": "2",
    "RUNBOOK_SCALING__DRAIN_SECONDS": "60",
    "RUNBOOK_METRICS__WINDOW_SECONDS": "10",
    "RUNBOOK_METRICS__BASELINE_SECONDS": "60",
    "RUNBOOK_METRICS__NOTICEABLE_SECONDS": "0.5",  # a laptop that is busy is slow too
    "RUNBOOK_API_CARE__STARTING_SECONDS": "5",
    "RUNBOOK_API_CARE__VERIFY_SECONDS": "60",
    "RUNBOOK_API_CARE__VERIFY_WINDOW_SECONDS": "5",
}
"""What production gives minutes, a demo gives seconds."""

_PRIVACY = {
    "privacy_epsilon_total": 10.0,
    "privacy_epsilon_used": 3.8,
    "privacy_budget_remaining": 6.2,
    "privacy_noise_multiplier": 1.1,
}


class ClusterLife(ApiAilments):
    """Opened before the lab's servers start, coupled with them once they run, stopped first."""

    def __init__(self, place: Path, api: Service, cache: CacheServer) -> None:
        """`place`: a directory of the lab's for its files."""
        super().__init__(place / "effect.json")
        self._api = api
        self._cache = cache
        self._place = place
        self._data = str(place.with_name("patient"))  # where the patient says that its files are
        self._open = ExitStack()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._servers: dict[str, ServerPods] = {}
        self._beaten = self._started = 0.0
        self.queue = WorkQueue(cache.url)
        self.privacy = Gauges(dict(_PRIVACY))
        self._redis, self._postgres = Gauges({}), Gauges({})
        self.exporter = Exporter(
            {
                "privacy": self.privacy.as_text,
                "redis": self._redis.as_text,
                "postgres": self._postgres.as_text,
                "kubelet": self._volume_metrics,
            }
        )

    def open(self) -> None:
        """The cluster, with everything in it running for days; nothing is coupled yet."""
        self._place.mkdir(parents=True, exist_ok=True)
        write_effect(self.effect_file, NONE)
        self.cluster = self._open.enter_context(
            simulated_cluster(
                releases=cluster_manifests.RELEASES,
                inhabitants=cluster_manifests.inhabitants(self._data),
                usual=cluster_manifests.USUAL,
                live=True,
                place=self._place,
            )
        )
        self.cluster.controllers.autoscalers.sync_seconds = _AUTOSCALER_SECONDS
        for each in cluster_manifests.governors():
            self.cluster.add(plural_of(each["kind"]), each)
        self.volume = DatabaseVolume(self.cluster, self._place / "volume", self._data)
        self.volume.beat()
        self.exporter.start()

    def start(self, patient: PostgresServer) -> None:
        """Couple the pods with the lab's servers, all of which run."""
        tools = self._place / "programs"
        database = postgres_pod(patient.port, patient.passwords[SUPERUSER])
        self.cluster.programs.by_pod |= {
            POSTGRES_POD: with_volume(database, tools / "postgres", self.volume.file),
            REDIS_POD: redis_pod(tools / "redis", self._cache.port, self._cache.password),
        }
        self._patient = patient
        self._servers = {
            API: ServerPods(API, self._api, self.cluster, self._note),
            REDIS: ServerPods(REDIS, self._cache, self.cluster, self._note, alone=True),
            POSTGRES: ServerPods(POSTGRES, patient, self.cluster, self._note, alone=True),
        }
        self._logs = ApiLogs(self.cluster, self._api.child.log if self._api.child else None)
        self._beaten = self._started = time.monotonic()
        beats = (self._beat, self._look_at_redis, self._look_at_postgres)
        for beat in (*beats, *(each.beat for each in self._servers.values())):
            thread = threading.Thread(target=self._keep_on, args=(beat,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let go of the servers and end the cluster. Raises LabError for a mistake of its own."""
        with self._open:  # closed whatever happens: its server would outlive us
            self._stop.set()
            for thread in self._threads:
                thread.join()
            self.queue.close()
            self.exporter.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The responder's settings: the two identities, and where programs are run."""
        backups = self._place / "backups"
        backups.mkdir(exist_ok=True)
        return {
            "RUNBOOK_KUBERNETES__CONFIG_FILE": str(self.cluster.config_file),
            "RUNBOOK_KUBERNETES__CONTEXT": "diagnose",
            "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT": "remediate",
            "RUNBOOK_KUBERNETES__NAMESPACE": self.cluster.namespace,
            "RUNBOOK_DATABASE__POD": f"{self.cluster.namespace}/{POSTGRES_POD}",
            "RUNBOOK_DATABASE__POD_DIRECTORY": str(backups),
            "RUNBOOK_CACHE__POD": f"{self.cluster.namespace}/{REDIS_POD}",
            **_PATIENCE,
        }

    @property
    def api_variables(self) -> dict[str, str]:
        """What the API process needs to be ailed by its pods, and to speak for them."""
        return {"LAB_API_EFFECT": str(self.effect_file), "LAB_API_ACCESS_LOG": "1"}

    def gather_baseline(self) -> None:
        """Wait until there are figures of before the fault, to compare later ones with."""
        self._stop.wait(max(0.0, self._started + _BASELINE_SECONDS - time.monotonic()))

    def ail(self, app: str, *pods: str, how: Ailing = Ailing.HANGS) -> None:
        """The programs in these pods of `API`, `REDIS` or `POSTGRES` (none: all) hang or are gone.

        The pods stay and are not ready; another container, or another pod, mends it.
        """
        self._servers[app].ail(pods, how)

    def recover(self) -> None:
        """Everything that was set here is over; pods, replicas and releases stay as they are."""
        self.forget_ailments()
        for each in self._servers.values():
            each.recover()
        self.volume.growing = 0.0

    def ready(self, app: str) -> int:
        """How many pods of an app are ready."""
        return sum(is_ready(each) for each in self.cluster.pods(app))

    def replicas(self, name: str) -> int:
        """How many a Deployment is told to have."""
        return int(self.cluster.get("deployments", name)["spec"]["replicas"])

    def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether it became true in that time."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end or self._stop.wait(_BEAT_SECONDS):
                return holds()
        return True

    def _keep_on(self, beat: Callable[[], None]) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            try:
                beat()
            except Exception as error:  # noqa: BLE001  the next beat tries again; this is noted
                self._note(f"{beat}: {error!r}")

    def _beat(self) -> None:
        now = time.monotonic()
        seconds, self._beaten = now - self._beaten, now
        self.volume.beat()
        self.queue.beat(seconds, self.ready(WORKERS))
        self.update_effect()
        self._logs.beat()

    def _note(self, line: str) -> None:
        with (self._place / "life.log").open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def _look_at_redis(self) -> None:
        """Apart from the scrapes: one that waits for a server is a target that is down."""
        depth = self.queue.depth()
        known = {"redis_up": float(depth is not None)}
        if depth is not None:
            known['redis_key_size{db="db0",key="celery"}'] = float(depth)
        self._redis.values = known
        self._stop.wait(_LOOK_SECONDS)

    def _look_at_postgres(self) -> None:
        self._postgres.values = {"pg_up": float(self._patient.answers())}
        self._stop.wait(_LOOK_SECONDS)

    def _volume_metrics(self) -> str:
        claim = f'{{namespace="{self.cluster.namespace}",persistentvolumeclaim="{CLAIM}"}}'
        return Gauges(
            {
                f"kubelet_volume_stats_capacity_bytes{claim}": float(self.volume.size_bytes),
                f"kubelet_volume_stats_used_bytes{claim}": float(int(self.volume.used_bytes)),
            }
        ).as_text()
