"""The kinds of object that the simulated API server keeps, and the words for each."""

from dataclasses import dataclass
from typing import Any, TypeVar

Part = TypeVar("Part")
Json = dict[str, Any]
"""An object as JSON decodes it. What the store hands out is never changed in place."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API. `counted` names the parts whose change raises the generation."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    counted: tuple[str, ...] = ()
    scalable: bool = False

    @property
    def api_version(self) -> str:
        """As in an object's apiVersion: `apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As in messages: `deployments.apps`, or `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Kind("", "v1", "pods", "Pod", counted=("spec",))
SERVICES = Kind("", "v1", "services", "Service")
EVENTS = Kind("", "v1", "events", "Event")
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
SECRETS = Kind("", "v1", "secrets", "Secret")
QUOTAS = Kind("", "v1", "resourcequotas", "ResourceQuota")
CLAIMS = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODES = Kind("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENTS = Kind(
    "apps", "v1", "deployments", "Deployment", counted=("spec", "annotations"), scalable=True
)
STATEFUL_SETS = Kind("apps", "v1", "statefulsets", "StatefulSet", counted=("spec",), scalable=True)
REPLICA_SETS = Kind("apps", "v1", "replicasets", "ReplicaSet", counted=("spec",), scalable=True)
CONTROLLER_REVISIONS = Kind("apps", "v1", "controllerrevisions", "ControllerRevision")
AUTOSCALERS = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
BUDGETS = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", counted=("spec",))
NETWORK_POLICIES = Kind(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", counted=("spec",)
)
STORAGE_CLASSES = Kind("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)

KINDS = (
    PODS,
    SERVICES,
    EVENTS,
    CONFIG_MAPS,
    SECRETS,
    QUOTAS,
    CLAIMS,
    NODES,
    NAMESPACES,
    DEPLOYMENTS,
    STATEFUL_SETS,
    REPLICA_SETS,
    CONTROLLER_REVISIONS,
    AUTOSCALERS,
    BUDGETS,
    NETWORK_POLICIES,
    STORAGE_CLASSES,
)


def kind_named(plural: str) -> Kind:
    """The kind of a plural name such as `deployments`. Raises KeyError."""
    return {each.plural: each for each in KINDS}[plural]


def plural_of(kind: str) -> str:
    """The plural of a kind such as `Deployment`. Raises KeyError."""
    return {each.kind: each.plural for each in KINDS}[kind]


def copied(value: Part) -> Part:
    """A copy that shares nothing with its original: what JSON decodes to, and nothing else."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}  # type: ignore[return-value]  # as deep as it came
    if isinstance(value, list):
        return [copied(part) for part in value]  # type: ignore[return-value]  # as above
    return value
