"""How the API answers, by what its pods are: how many are ready, of which release, and how well.

Faults are set here: a bad release, pods that answer badly, CPU that is too little for the load. The
API's process reads the result from a file.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.lab import cluster_manifests
from deployments.lab.effects import NONE, Effect, shared, write_effect
from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.documents import is_ready
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.manifests import API, Release

_TEMPLATE = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"
_AT_EASE = 0.7  # of its CPU limit: what a replica uses when there are enough


@dataclass(frozen=True, slots=True)
class Shortage:
    """CPU for the present load is enough with `enough` ready replicas.

    Each one that is missing makes all requests wait `delay_seconds` longer.
    """

    enough: int
    delay_seconds: float


class ApiAilments:
    """What ails the API. Faults may be set from any thread."""

    cluster: Cluster

    def __init__(self, effect_file: Path) -> None:
        self.effect_file = effect_file
        self._lock = threading.Lock()
        self._releases: dict[str, Effect] = {}
        self._pods: dict[str, Effect] = {}
        self._shortage: Shortage | None = None
        self._written = NONE

    def roll_out(
        self,
        cause: str,
        effect: Effect = NONE,
        *,
        image: str = "",
        environment: Mapping[str, str] | None = None,
        behaviour: Mapping[str, object] | None = None,
    ) -> str:
        """Roll the API to another release; the hash of its template.

        Its pods answer with `effect`; `behaviour` is what their containers do, in the fields of
        Behaviour (`exits_after=1.0, exit_code=1, last_words=(...)`: it does not start).
        """
        with self.cluster.store.changed, self._lock:
            deployment = self.cluster.get("deployments", API)
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            release = Release(image or container["image"], environment or {}, cause)
            self.cluster.release(release)
            made = self._newest_template()
            self._releases[made] = effect
            if behaviour:
                self.cluster.behave(f"{API}-{made}-*", **behaviour)
        return made

    def pods_answer(self, effect: Effect, *pods: str) -> None:
        """These API pods (by name; none: all that are there) answer so, until they are replaced.

        They count whether they are ready or not: as long as they are there, requests reach them.
        """
        there = self.cluster.pods(API)
        with self._lock:
            for pod in there:
                if not pods or pod["metadata"]["name"] in pods:
                    self._pods[pod["metadata"]["uid"]] = effect

    def run_short(self, enough: int, delay_seconds: float) -> None:
        """More load than the replicas' CPU can take: only replicas help."""
        with self._lock:
            self._shortage = Shortage(enough, delay_seconds)

    def forget_ailments(self) -> None:
        """Every release, pod and number of replicas is good again."""
        with self._lock:
            self._releases.clear()
            self._pods.clear()
            self._shortage = None

    def effect(self) -> Effect:
        """How the API answers now."""
        return self._written

    def update_effect(self) -> None:
        """Tell the API's process how it answers, if that has changed."""
        pods = self.cluster.pods(API)
        ready = sum(is_ready(each) for each in pods)
        with self._lock:
            there = {each["metadata"]["uid"] for each in pods}
            self._pods = {uid: effect for uid, effect in self._pods.items() if uid in there}
            counted = [
                self._effect_of(each)
                for each in pods
                if is_ready(each) or each["metadata"]["uid"] in self._pods
            ]
            short = self._shortage
        effect = shared(counted)
        if short is not None:
            missing = max(short.enough - ready, 0)
            effect = effect.and_also(Effect(delay_seconds=missing * short.delay_seconds))
            self._use_cpu(short.enough / max(ready, 1))
        if effect != self._written:
            write_effect(self.effect_file, effect)
            self._written = effect

    def _effect_of(self, pod: Json) -> Effect:
        head = pod["metadata"]
        own = self._releases.get(head["labels"].get(_TEMPLATE, ""), NONE)
        return own.and_also(self._pods.get(head["uid"], NONE))

    def _use_cpu(self, load: float) -> None:
        """Of the metrics: `load` is 1 where there are just enough replicas."""
        cores = cluster_manifests.API_CPU_LIMIT * min(1.0, _AT_EASE * load)
        used = f"{cores * 1000:.0f}m"
        known = self.cluster.controllers.behaviours.by_pod.get(API, {})
        if known.get("cpu") != used:
            self.cluster.behave(API, cpu=used)

    def _newest_template(self) -> str:
        newest = max(
            (
                each
                for each in self.cluster.items("replicasets")
                if each["metadata"]["labels"].get("app") == API
            ),
            key=lambda each: int(each["metadata"]["annotations"][_REVISION]),
        )
        return str(newest["metadata"]["labels"][_TEMPLATE])
