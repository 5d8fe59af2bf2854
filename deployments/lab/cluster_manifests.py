"""What lives in the lab's own cluster: the system under care as its manifests describe it.

PostgreSQL and Redis are StatefulSets, the database has a claim of a class whose volumes may grow,
the API has an autoscaler and a disruption budget. The autoscaler looks at memory: the simulated one
knows only CPU, so here it keeps to its bounds and never scales by itself.
"""

from typing import Any

from deployments.lab.kubernetes import manifests
from deployments.lab.kubernetes.behaviours import Behaviour
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.manifests import API, ENGINE, NAMESPACE, WORKERS, Release

POSTGRES, REDIS = "postgres", "redis"
"""Values of the pods' label `app`."""

POSTGRES_SET, REDIS_SET = "postgresql", "redis"
POSTGRES_POD, REDIS_POD = f"{POSTGRES_SET}-0", f"{REDIS_SET}-0"
CLAIM, STORAGE_CLASS, CLAIM_BYTES = "data-postgresql-0", "expandable", 20 * 2**30
API_IMAGE = "registry.local/rlhf-audit-trail"
API_CPU, API_CPU_LIMIT = 0.12, 0.5
"""Cores of one API pod: what it uses under the usual load, and what it may."""

_API_RESOURCES = {
    "requests": {"cpu": "200m", "memory": "256Mi"},
    "limits": {"cpu": "500m", "memory": "512Mi"},
}
_SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}}
_LARGE = {
    "requests": {"cpu": "250m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}
_LEAST, _MOST = 3, 6

RELEASES = tuple(
    Release(f"{API_IMAGE}:{version}", {}, f"release {version}", resources=_API_RESOURCES)
    for version in ("1.4.0", "1.4.1", "1.4.2")
)
"""A day apart; the last one serves."""

USUAL = {
    API: Behaviour(
        starts_in=0.5,
        ready_in=0.5,
        log=("INFO audit API: listening on :8000",),
        cpu=f"{API_CPU * 1000:.0f}m",
        memory="210Mi",
    ),
    WORKERS: Behaviour(
        starts_in=0.5,
        ready_in=0.2,
        log=("celery@worker ready.", "Connected to redis://redis:6379/0"),
        cpu="60m",
        memory="90Mi",
    ),
    ENGINE: Behaviour(
        starts_in=0.5,
        ready_in=0.2,
        log=("INFO noise generator ready", "INFO privacy accountant ready"),
        cpu="20m",
        memory="80Mi",
    ),
    POSTGRES: Behaviour(
        starts_in=0.5,
        ready_in=0.2,
        log=("LOG:  database system is ready to accept connections",),
        cpu="180m",
        memory="420Mi",
    ),
    REDIS: Behaviour(
        starts_in=0.5,
        ready_in=0.2,
        log=("* Ready to accept connections tcp",),
        cpu="12m",
        memory="20Mi",
    ),
}


def inhabitants(data: str) -> list[Json]:
    """Beside the API, in the order in which they are made. `data`: where the database's files are.

    The claim is mounted there, as a database's claim is.
    """
    return [_storage_class(), _claim(), _postgres(data), _redis(), _workers(), _engine()]


def governors() -> list[Json]:
    """What bounds the API's replicas: made last, because the autoscaler looks every few seconds."""
    return [_autoscaler(), _budget(API), _budget(WORKERS, least=1)]


def _workers() -> Json:
    made = manifests.container(
        "worker",
        "registry.local/rlhf-audit-trail-worker:1.4.2",
        ["celery", "-A", "rlhf_audit_trail", "worker"],
        resources=_SMALL,
    )
    return manifests.deployment(WORKERS, made, replicas=2, component="worker")


def _engine() -> Json:
    made = manifests.container(
        "engine",
        "registry.local/rlhf-audit-trail-privacy:1.4.2",
        ["python", "-m", "rlhf_audit_trail.privacy"],
        resources=_SMALL,
    )
    return manifests.deployment(ENGINE, made, component=ENGINE)


def _postgres(data: str) -> Json:
    made = manifests.container(
        "postgres",
        "registry.local/postgres:15",
        readinessProbe={"exec": {"command": ["pg_isready"]}, "periodSeconds": 3},
        resources=_LARGE,
        volumeMounts=[{"name": "data", "mountPath": data}],
    )
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}]
    return _stateful_set(POSTGRES_SET, POSTGRES, made, "database", volumes=volumes)


def _redis() -> Json:
    made = manifests.container(
        "redis",
        "registry.local/redis:7",
        readinessProbe={"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 3},
        resources=_SMALL,
    )
    return _stateful_set(REDIS_SET, REDIS, made, "cache")


def _stateful_set(name: str, app: str, container: Json, component: str, **spec: Any) -> Json:  # noqa: ANN401  as in a manifest
    made = manifests.deployment(name, container, component=component)
    labels = {"app": app, "component": component}
    made["kind"] = "StatefulSet"
    made["metadata"]["labels"] = {"app": app}
    made["spec"]["selector"] = {"matchLabels": {"app": app}}
    made["spec"]["serviceName"] = name
    made["spec"]["template"]["metadata"]["labels"] = labels
    made["spec"]["template"]["spec"] |= spec
    return made


def _storage_class() -> Json:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "lab.example/volumes",
        "allowVolumeExpansion": True,
    }


def _claim() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "labels": {"app": POSTGRES}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": STORAGE_CLASS,
            "resources": {"requests": {"storage": f"{CLAIM_BYTES // 2**30}Gi"}},
        },
    }


def _autoscaler() -> Json:
    memory = {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 90}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": API},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": API},
            "minReplicas": _LEAST,
            "maxReplicas": _MOST,
            "metrics": [{"type": "Resource", "resource": memory}],
        },
    }


def _budget(app: str, least: int = 2) -> Json:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}},
    }
