"""Kubernetes objects for tests: the recorded bodies, read, and variations of them."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.domain.pod_reading import read_pod
from tasks.domain.pods import PodState
from tasks.domain.workload_reading import read_deployment, read_replica_set, read_stateful_set
from tasks.domain.workloads import Deployment, ReplicaSet, StatefulSet

BODIES = Path(__file__).parents[1] / "vectors" / "kubernetes"
NOW = datetime(2026, 11, 23, 12, 55, tzinfo=UTC)
GOOD, BAD = "rlhf-audit-trail-bf7d6d4f7", "rlhf-audit-trail-d67b64c67"
FIRST = "rlhf-audit-trail-6bd6889ffd"


def body(name: str) -> Any:
    """A recorded body, to be changed at will."""
    return json.loads((BODIES / name).read_text(encoding="utf-8"))


def changed(value: dict[str, Any], **paths: Any) -> dict[str, Any]:
    """A copy with other fields: `spec__replicas=3`; None takes a field away."""
    copy = deepcopy(value)
    for path, new in paths.items():
        *way, last = path.split("__")
        place = copy
        for part in way:
            place = place.setdefault(part, {})
        if new is None:
            place.pop(last, None)
        else:
            place[last] = new
    return copy


def failed_release(**paths: Any) -> Deployment:
    """The API's deployment whose third revision has a missing image."""
    return read_deployment(changed(body("03-deployment-deadline-exceeded.json"), **paths))


def after_undo() -> Deployment:
    return read_deployment(body("13-deployment-after-undo.json"))


def replica_sets(name: str = "04-replicasets-three-revisions.json") -> list[ReplicaSet]:
    return [read_replica_set(each) for each in body(name)["items"]]


def pods(name: str = "05-pods-with-image-error.json") -> list[PodState]:
    return [read_pod(each) for each in body(name)["items"]]


def stateful_body(**paths: Any) -> dict[str, Any]:
    """No recorded body has one: as the documentation writes it."""
    template = {
        "metadata": {"labels": {"app": "ledger"}},
        "spec": {"containers": [{"name": "db", "image": "postgres:2"}]},
    }
    base = {
        "kind": "StatefulSet",
        "metadata": {
            "name": "ledger",
            "namespace": "rlhf-audit-trail",
            "uid": "s-1",
            "resourceVersion": "70",
            "generation": 3,
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "ledger"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
        "status": {
            "observedGeneration": 3,
            "replicas": 3,
            "readyReplicas": 2,
            "updatedReplicas": 1,
            "currentRevision": "ledger-1",
            "updateRevision": "ledger-2",
        },
    }
    return changed(base, **paths)


def stateful(**paths: Any) -> StatefulSet:
    return read_stateful_set(stateful_body(**paths))


def controller_revision_body(number: int, image: str) -> dict[str, Any]:
    return {
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"ledger-{number}",
            "namespace": "rlhf-audit-trail",
            "uid": f"c-{number}",
            "ownerReferences": [
                {"kind": "StatefulSet", "name": "ledger", "uid": "s-1", "controller": True}
            ],
        },
        "revision": number,
        "data": {
            "spec": {
                "template": {
                    "$patch": "replace",
                    "metadata": {"creationTimestamp": None, "labels": {"app": "ledger"}},
                    "spec": {"containers": [{"name": "db", "image": image}]},
                }
            }
        },
    }
