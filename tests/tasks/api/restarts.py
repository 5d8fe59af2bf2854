"""What tests of restarts do to a simulated cluster's pods, and what they see of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.documents import is_ready
from deployments.lab.kubernetes.manifests import API
from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.domain.api_diagnosis import COMPONENT
from tasks.domain.api_plan import PROCEDURE, plan_api_remedy
from tasks.domain.causes import Cause, Confidence
from tasks.domain.disruption import RestartCaps
from tasks.domain.plan import Plan
from tasks.domain.pods import PodState
from tasks.domain.restart_plan import RESTART, choose, fitting_remedial, restart_in
from tasks.settings import settings
from tasks.work import approvals, door, incidents, journal, pod_restarts
from tasks.work.pod_restarts import Site
from tests.tasks.passing import no_evidence
from tests.tasks.proposals import BEA, propose

TARGET = f"deployment/{API}"
CAPS = RestartCaps(share=0.5, number=10)


def configure(cluster: Cluster) -> Mapping[str, str]:
    """The environment that points our settings at the cluster."""
    return {
        "RUNBOOK_KUBERNETES__CONFIG_FILE": str(cluster.config_file),
        "RUNBOOK_KUBERNETES__CONTEXT": "diagnose",
        "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT": "remediate",
        "RUNBOOK_API_CARE__READY_SECONDS": "45",
    }


@dataclass(frozen=True)
class Restarts:
    cluster: Cluster

    @property
    def site(self) -> Site:
        return Site(settings().kubernetes, settings().api_care.ready_seconds)

    @property
    def names(self) -> list[str]:
        return sorted(each["metadata"]["name"] for each in self.cluster.pods(API))

    @property
    def ready(self) -> int:
        return sum(is_ready(each) for each in self.cluster.pods(API))

    @property
    def evicted(self) -> list[str]:
        """Pods whose eviction the API server was asked to keep, in order."""
        asked = [each for each in self.cluster.asked if each.startswith("POST")]
        return [each.split("/pods/")[1].split("/")[0] for each in asked if "dryRun" not in each]

    def until(self, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it did not become true"
            time.sleep(0.05)

    def fail(self, *numbers: int) -> list[str]:
        """The readiness probes of these pods fail from now on; their names."""
        named = [self.names[number] for number in numbers]
        for name in named:
            self.cluster.not_ready(name)
        self.until(lambda: self.ready == len(self.names) - len(named))
        return named

    def budget(self, least: int, **spec: Any) -> None:
        """A disruption budget over the API's pods."""
        content = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "api"},
            "spec": {
                "minAvailable": least,
                "selector": {"matchLabels": {"app": API}},
                **spec,
            },
        }
        self.cluster.add("poddisruptionbudgets", content)

    def planned(self, caps: RestartCaps = CAPS, asked: list[str] | None = None) -> Plan:
        """The plan against the pods that are not ready (or these), before people."""
        with incidents.durably() as connection:
            incident = incidents.open_in(
                connection, "API: down", COMPONENT, PROCEDURE, "person", "anna"
            )
        api = self.site.reader()
        workload = workloads.deployment(api, API)
        pods = cluster_pods.pods(api, workload.selector)
        wanted = [each for each in pods if _is_asked(each, asked)]
        chosen, _ = choose(wanted, pods, workload.replicas, caps)
        now = datetime.now(UTC)
        remedy, why = fitting_remedial(workload, chosen, pods, bounds.pdbs(api), now, caps)
        assert remedy is not None, why
        cause = Cause(
            "api.unhealthy-pods", COMPONENT, Confidence.LIKELY, "they hang", {"pods": ["x"]}, remedy
        )
        return propose(plan_api_remedy(incident, cause, now + timedelta(hours=1)))

    def approved(self, asked: list[str] | None = None) -> Plan:
        plan = self.planned(asked=asked)
        approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
        return plan

    def carry_out(self, plan: Plan, ready_seconds: float = 45.0) -> dict[str, Any]:
        """Through the door, as the task does it."""
        site = replace(self.site, ready_seconds=ready_seconds)
        with door.opened(
            plan.incident,
            TARGET,
            observe=lambda: pod_restarts.planned_state(site, journal.read(plan.incident)),
            evidence_holds=no_evidence,
            wait_seconds=30.0,  # until the server has seen that a run that was killed is gone
        ) as passage:
            return passage.carry_out(
                RESTART, lambda fence: pod_restarts.carry_out(site, restart_in(plan), fence)
            )


def _is_asked(pod: PodState, asked: list[str] | None) -> bool:
    return pod.name in asked if asked is not None else not pod.ready
