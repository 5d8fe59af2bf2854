"""Looks at the API for tests: the recorded Deployment with pods, usage and traffic to order."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_readings import ApiReadings, Connections, Need, Traffic
from tasks.domain.configuration import Configuration
from tasks.domain.impact import Impact, estimate
from tasks.domain.observation import Health
from tasks.domain.pods import (
    ContainerState,
    Ended,
    Owner,
    PodState,
    PodUsage,
    Resources,
    Stage,
    Usage,
)
from tasks.domain.recent_changes import correlate
from tasks.domain.releases import releases_of
from tasks.domain.rollout_evidence import deployment_evidence
from tasks.domain.rollout_history import CannotUndo, deployment_history
from tasks.domain.rollout_look import Looked
from tasks.domain.scaling import ScalingPolicy, Surroundings
from tasks.domain.workloads import Deployment, Pdb
from tests.domain import cluster_values
from tests.domain.cluster_values import NOW

ONSET = NOW - timedelta(minutes=3)
LIMITS = ApiLimits()
CORE, MIB = 10**9, 2**20
HAS = Resources(CORE // 5, 256 * MIB, CORE // 2, 512 * MIB)
WELL = {"database": Need(Health.HEALTHY, "well"), "cache": Need(Health.HEALTHY, "well")}
QUIET = Configuration((), {})
POLICY = ScalingPolicy(1, 10, 4)


def impact(
    *, errors: float = 0.0, p95: float = 0.2, requests: float = 10.0, before: float = 0.2
) -> Impact:
    """Of five minutes at so many requests a second."""
    return estimate(
        {
            "requests": (requests,),
            "errors": (errors,),
            "p50_seconds": (p95 / 2,),
            "p95_seconds": (p95,),
            "p99_seconds": (p95,),
            "baseline_requests": (10.0,),
            "baseline_p95_seconds": (before,),
        },
        window=300,
        baseline=3600,
        noticeable_seconds=0.05,
    )


def traffic(refused: float | None = 0.0, **how: float) -> Traffic:
    return Traffic(impact(**how), refused, 300)


def healthy() -> Looked:
    """The recorded Deployment after its undo: revision 4 serves."""
    deployment = cluster_values.after_undo()
    return looked(deployment, "14-replicasets-after-undo.json")


def released(pods: tuple[PodState, ...] = ()) -> Looked:
    """The recorded Deployment with its bad third revision; evidence is that of `pods`."""
    return looked(cluster_values.failed_release(), "04-replicasets-three-revisions.json", pods)


def looked(deployment: Deployment, sets: str, pods: tuple[PodState, ...] = ()) -> Looked:
    history = deployment_history(deployment, cluster_values.replica_sets(sets))
    assert not isinstance(history, CannotUndo)
    return Looked(deployment, history, deployment_evidence(deployment, history, pods))


def pod(number: int = 1, *, ready: bool = True, of: Looked | None = None, **more: Any) -> PodState:
    """A pod of the revision that serves (or of `of`'s), an hour old; more are container fields."""
    revision = (of or healthy()).current
    assert revision is not None
    began = NOW - more.pop("age", timedelta(hours=1))
    container = ContainerState(
        "api", "rlhf:1", False, ready, 0, Stage.RUNNING, "", "", began, None, None, HAS,
        ("readiness",),
    )  # fmt: skip
    owner = Owner("ReplicaSet", revision.holder, revision.holder_uid, controller=True)
    return PodState(
        "rlhf-audit-trail", f"api-{number}", f"uid-{number}", "1", "Running", "", "", "node",
        ready, "", began, None, {"app": "rlhf-audit-trail"}, (owner,),
        (replace(container, **more),), HAS,
    )  # fmt: skip


def crashing(number: int = 1, *, of: Looked | None = None, oom: bool = False) -> PodState:
    """One that waits for its next start, the third already."""
    last = Ended("OOMKilled" if oom else "Error", 137 if oom else 3, "", None, NOW)
    return pod(
        number, ready=False, of=of, stage=Stage.WAITING, reason="CrashLoopBackOff", restarts=3,
        last=last, started_at=None,
    )  # fmt: skip


def usage(number: int, cpu: float, memory: float = 0.2) -> PodUsage:
    """Shares of its limits."""
    used = Usage(int(cpu * CORE / 2), int(memory * 512 * MIB))
    return PodUsage("rlhf-audit-trail", f"api-{number}", NOW, {"api": used})


def budget(least: int, healthy_pods: int, *, always: bool = False) -> Pdb:
    selector = healthy().workload.selector
    allowed = max(0, healthy_pods - least)
    return Pdb("api", selector, healthy_pods, least, 3, allowed, always, current=True)


def around(*pdbs: Pdb) -> Surroundings:
    return Surroundings(quotas=(), nodes=None, pods=None, hpas=(), pdbs=pdbs)


def look(**seen: Any) -> ApiReadings:
    """Three pods that serve, an API that answers, and nothing wrong; but for what is `seen`."""
    onset: datetime = seen.pop("onset", ONSET)
    here = seen.get("looked") or healthy()
    if "looked" in seen:  # the recorded one that serves was rolled out minutes ago, too
        releases = releases_of("api", here.workload, here.revisions)
        seen = {"changes": correlate(releases, onset, ("api",))} | seen
    known = {
        "answers": Need(Health.HEALTHY, "healthy in 3 ms"),
        "traffic": traffic(),
        "looked": here,
        "changes": (),
        "pods": (pod(1), pod(2), pod(3)),
        "usage": (),
        "events": (),
        "around": around(),
        "configuration": QUIET,
        "needs": WELL,
        "connections": Connections(20, 100, {"audit_api": 20}),
        "policy": POLICY,
    }
    return ApiReadings(at=NOW, onset=onset, **(known | seen))
