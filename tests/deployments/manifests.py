"""The manifests as the cluster gets them, and the API's own schema to hold them against.

The schema is that of the `kubernetes` package, whose models are generated from the API's OpenAPI
document: names, types and what is required. It has no formats and hardly an enumeration.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from pydantic import BaseModel, ValidationError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "kubernetes"
KUSTOMIZATION = FOLDER / "kustomization.yaml"

GROUPS = {
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "PodDisruptionBudget": "policy/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
}
Json = dict[str, Any]


def kustomization() -> Json:
    return dict(yaml.safe_load(KUSTOMIZATION.read_text(encoding="utf-8")))


def rendered() -> list[Json]:
    """What `kubectl kustomize` makes of the folder: the resources, their images with tags."""
    told = kustomization()
    assert set(told) == {"apiVersion", "kind", "resources", "images"}, "teach this helper the rest"
    tags = {each["name"]: f"{each['name']}:{each['newTag']}" for each in told["images"]}
    documents = []
    for name in told["resources"]:
        documents += list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))
    for pod in map(pod_of, documents):
        for container in containers(pod) if pod else ():
            container["image"] = tags.get(container["image"], container["image"])
    return documents


def pod_of(document: Json) -> Json | None:
    """The pod that a workload makes: its metadata and spec."""
    is_workload = document["kind"] in {"Deployment", "Job"}
    return dict(document["spec"]["template"]) if is_workload else None


def containers(pod: Json) -> list[Json]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def faults(document: Json) -> list[str]:
    """What the API server would refuse, strictly asked: unknown, missing or of another type."""
    expected = GROUPS.get(document.get("kind", ""))
    if document.get("apiVersion") != expected:
        return [
            f"expected {document.get('kind')} of {expected}, found {document.get('apiVersion')}"
        ]
    model: type[BaseModel] = getattr(client, f"V1{document['kind']}")
    try:
        model.model_validate(document, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return [f"{key}: no field of the API has an underscore" for key in _python_names(document)]


def _python_names(value: Any) -> Iterator[str]:
    """Fields under the names that the package has for them, which it takes too and the API not."""
    if isinstance(value, list):
        for each in value:
            yield from _python_names(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if "_" in key:
                yield key
            if key != "data":  # keys of one's own
                yield from _python_names(each)


@dataclass(frozen=True)
class Labelled:
    """Whose pods: the name of their workload, their labels and the ports that they name."""

    workload: str
    labels: dict[str, str]
    ports: dict[str, int]


def labelled(documents: list[Json]) -> list[Labelled]:
    found = []
    for document in documents:
        pod = pod_of(document)
        if pod is not None:
            ports = [port for each in containers(pod) for port in each.get("ports", [])]
            named = {port["name"]: port["containerPort"] for port in ports}
            found.append(Labelled(document["metadata"]["name"], pod["metadata"]["labels"], named))
    return found


def selects(selector: Json, labels: dict[str, str]) -> bool:
    """As the API has it; an empty selector is all."""
    for wanted in selector.get("matchExpressions", []):
        assert wanted["operator"] == "In", "teach this helper the rest"
        if labels.get(wanted["key"]) not in wanted["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
