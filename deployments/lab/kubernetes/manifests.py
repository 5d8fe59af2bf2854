"""The objects with which the simulated cluster begins: the system under care, as recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.lab.kubernetes.behaviours import Behaviour
from deployments.lab.kubernetes.documents import NODE, NODE_ADDRESS
from deployments.lab.kubernetes.kinds import Json

NAMESPACE = "rlhf-audit-trail"
API = "rlhf-audit-trail"
WORKERS = "celery-workers"
ENGINE = "privacy-engine"
BUSYBOX = "registry.local/busybox:1"
MISSING = "registry.local/missing:9"
_DAY = 86_400.0
_SMALL = {"requests": {"cpu": "10m", "memory": "16Mi"}}


@dataclass(frozen=True, slots=True)
class Release:
    """A revision of the API. `lasts`: seconds until the next one, or until now.

    `resources` are the container's, as they were from the first release on. With `cause_first` the
    change cause is written before the change, in a step of its own; then it
    stands on the revision before as well, as it does in the recordings.
    """

    image: str = BUSYBOX
    environment: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""
    lasts: float = _DAY
    cause_first: bool = False
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {"limits": {"memory": "64Mi"}, **_SMALL}
    )


HEALTHY = tuple(
    Release(f"registry.local/rlhf-audit-trail:{number}", {}, f"release {number}")
    for number in ("1.4.0", "1.4.1", "1.4.2")
)
"""Three revisions, a day apart; the last one serves."""

RECORDED = (
    Release(cause="release 1.4.0", lasts=4.0),
    Release(environment={"RELEASE": "1.4.1"}, cause="release 1.4.1", lasts=8.0, cause_first=True),
    Release(MISSING, {"RELEASE": "1.4.1"}, "release 1.5.0 (bad image)", 18.0, cause_first=True),
)
"""The recordings' three: the last one has a missing image and ran into its deadline."""

_API_LOG = (
    '{"level":"info","msg":"api started"}',
    "GET /api/v1/audit/records?limit=10 401",
    "GET /api/v1/audit/records 500 Traceback: connection to server at postgres failed",
)
_API_SCRIPT = (
    "".join(f"echo '{line}'; " for line in _API_LOG)
    + "mkdir -p /tmp/w; echo ok > /tmp/w/health; exec httpd -f -p 8000 -h /tmp/w"
)
USUAL = {
    API: Behaviour(log=_API_LOG, cpu="382120n", memory="392Ki"),
    WORKERS: Behaviour(log=("celery ready",), cpu="0", memory="240Ki", ready_in=0.0),
    ENGINE: Behaviour(
        log=("noise generator ready", "WARN privacy_budget_remaining 0.04"),
        cpu="0",
        memory="240Ki",
        ready_in=0.0,
    ),
    "postgres": Behaviour(
        log=("LOG:  database system is ready to accept connections",),
        cpu="24185965n",
        memory="33204Ki",
        ready_in=5.0,
    ),
    "redis": Behaviour(log=("* Ready to accept connections tcp",), cpu="6892487n", memory="3456Ki"),
}


def deployment(
    name: str,
    container: Json,
    *,
    replicas: int = 1,
    component: str = "",
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    grace: int = 1,
) -> Json:
    """A Deployment as one writes it: what the server completes is left out."""
    labels = {"app": name} | ({"component": component} if component else {})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "annotations": dict(annotations or {}),
            "labels": {"app": name},
            "name": name,
            "namespace": NAMESPACE,
        },
        "spec": {
            **(spec or {}),
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": grace},
            },
        },
    }


def container(name: str, image: str, command: Sequence[str] = (), **more: Any) -> Json:  # noqa: ANN401
    """A container of the lab's own registry: its images are on the node or nowhere."""
    made: Json = {"image": image, "imagePullPolicy": "Never", "name": name, **more}
    return {"command": list(command), **made} if command else made


def api_of(release: Release) -> Json:
    """The API's Deployment at a release."""
    made = container(
        "api",
        release.image,
        ["sh", "-c", _API_SCRIPT],
        ports=[{"containerPort": 8000}],
        readinessProbe={"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 2},
        resources=dict(release.resources),
    )
    if release.environment:
        made["env"] = [
            {"name": name, "value": value} for name, value in release.environment.items()
        ]
    return deployment(
        API,
        made,
        replicas=3,
        component="api",
        annotations={"kubernetes.io/change-cause": release.cause} if release.cause else {},
        spec={
            "progressDeadlineSeconds": 15,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
        },
    )


def others() -> list[Json]:
    """The other two Deployments."""
    worker = ["sh", "-c", "echo celery ready; exec sleep 100000"]
    engine = "echo noise generator ready; echo WARN privacy_budget_remaining 0.04"
    made = container(
        "engine", BUSYBOX, ["sh", "-c", f"{engine}; exec sleep 100000"], resources=_SMALL
    )
    return [
        deployment(
            WORKERS,
            container("worker", BUSYBOX, worker, resources=_SMALL),
            component="worker",
        ),
        deployment(ENGINE, made, component=ENGINE),
    ]


def bare_pods() -> list[Json]:
    """postgres-pod and redis-pod, which no controller owns."""
    script = (
        "set -e; D=/data/pg; [ -f $D/PG_VERSION ] || { initdb -D $D -A trust -U postgres "
        '>/dev/null; echo "host all all 0.0.0.0/0 trust" >> $D/pg_hba.conf; }; exec postgres -D $D '
        "-c listen_addresses='*' -c unix_socket_directories=/tmp"
    )
    postgres = container(
        "postgres",
        "registry.local/postgres:15",
        ["bash", "-c"],
        args=[script],
        readinessProbe={"exec": {"command": ["pg_isready", "-h", "127.0.0.1"]}, "periodSeconds": 3},
        securityContext={"runAsUser": 101, "runAsGroup": 103},
        volumeMounts=[
            {"name": "data", "mountPath": "/data"},
            {"name": "backups", "mountPath": "/backups"},
        ],
    )
    serve = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]  # noqa: S104
    redis = container(
        "redis",
        "registry.local/redis:7",
        serve,
        readinessProbe={"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 3},
    )
    volumes: list[Json] = [{"name": name, "emptyDir": {}} for name in ("data", "backups")]
    return [
        _pod(
            "postgres-pod",
            "postgres",
            {
                "containers": [postgres],
                "terminationGracePeriodSeconds": 2,
                "securityContext": {"fsGroup": 103},
                "volumes": volumes,
            },
        ),
        _pod("redis-pod", "redis", {"containers": [redis], "terminationGracePeriodSeconds": 1}),
    ]


def node(cpu: str = "4", memory: str = "8Gi", pods: str = "110") -> Json:
    """The one node."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": NODE,
        "kubernetes.io/os": "linux",
    }
    room = {"cpu": cpu, "memory": memory, "pods": pods}
    pressures = [
        {"type": name, "status": "False", "reason": f"KubeletHasNo{name}", "message": "none"}
        for name in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }
    return {
        "metadata": {"name": NODE, "labels": labels},
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": dict(room),
            "conditions": [*pressures, ready],
            "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
            "nodeInfo": {"kubeletVersion": "v1.34.1", "osImage": "linux", "architecture": "amd64"},
        },
    }


def _pod(name: str, app: str, spec: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": app},
            "annotations": {},
        },
        "spec": spec,
    }
