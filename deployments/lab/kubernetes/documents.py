"""Objects as the API server completes them: the defaults, the names, a pod from a template."""

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from deployments.lab.kubernetes.kinds import Json, Kind, copied
from deployments.lab.kubernetes.selectors import written

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, no words
HASH = "pod-template-hash"
NODE = "node-1"
NODE_ADDRESS = "10.251.0.1"

_CONTAINER = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
}
_POD_SPEC = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_DEPLOYMENT = {
    "replicas": 1,
    "strategy": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    },
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}
_STATEFUL_SET = {
    "replicas": 1,
    "podManagementPolicy": "OrderedReady",
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    "revisionHistoryLimit": 10,
}
_TOLERATIONS = [
    {
        "key": f"node.kubernetes.io/{what}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for what in ("not-ready", "unreachable")
]


def completed(kind: Kind, content: Json) -> Json:
    """With the defaults of its kind."""
    made = copied(content)
    if kind.kind == "Pod":
        made["spec"] = _pod_spec(made["spec"]) | {
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "tolerations": copied(_TOLERATIONS),
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        }
    elif kind.kind in {"Deployment", "StatefulSet"}:
        defaults = _DEPLOYMENT if kind.kind == "Deployment" else _STATEFUL_SET
        made["spec"] = copied(defaults) | made["spec"]
        template = made["spec"]["template"]
        template["spec"] = _pod_spec(template["spec"])
        if made["spec"].get("strategy", {}).get("type") == "Recreate":
            made["spec"]["strategy"] = {"type": "Recreate"}
    return made


def pod_of(template: Json, metadata: Json) -> Json:
    """A pod as a controller makes it from its template."""
    head = {
        **metadata,
        "labels": dict(template["metadata"].get("labels") or {}),
    }
    if template["metadata"].get("annotations"):
        head["annotations"] = dict(template["metadata"]["annotations"])
    return {"metadata": head, "spec": copied(template["spec"])}


def owned_by(kind: Kind, owner: Json) -> list[Json]:
    """OwnerReferences to a controller."""
    return [
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def is_owned_by(item: Json, owner: Json) -> bool:
    """Whether that object is its controller."""
    uid = owner["metadata"]["uid"]
    references = item["metadata"].get("ownerReferences", [])
    return any(each["uid"] == uid and each.get("controller") for each in references)


def hash_of(value: object) -> str:
    """Of a template: the same text for the same content, in the letters of the real one."""
    number = int.from_bytes(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()[:6])
    return _letters(number, 10)


def suffix() -> str:
    """The last five letters of a generated name."""
    return "".join(random.choices(_ALPHABET, k=5))  # noqa: S311  a name, no secret


def _letters(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        text += _ALPHABET[place]
    return text


def with_condition(conditions: Sequence[Json], new: Json) -> list[Json]:
    """The list with one condition set, in its place if it was there."""
    if any(each["type"] == new["type"] for each in conditions):
        return [new if each["type"] == new["type"] else each for each in conditions]
    return [*conditions, new]


def condition_of(item: Json, name: str) -> Json | None:
    """A condition of an object's status."""
    found = item.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == name), None)


def is_ready(pod: Json) -> bool:
    """By its condition."""
    found = condition_of(pod, "Ready")
    return found is not None and found["status"] == "True"


def is_active(pod: Json) -> bool:
    """Neither finished nor being taken away."""
    phase = pod.get("status", {}).get("phase")
    return phase not in {"Failed", "Succeeded"} and "deletionTimestamp" not in pod["metadata"]


def scale_of(item: Json) -> Json:
    """The Scale of a workload; its spec is empty at 0 replicas, as the real one's is."""
    head = item["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = item["spec"]["replicas"]
    status = {"replicas": item.get("status", {}).get("replicas", 0)}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: head[key] for key in kept},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {**status, "selector": written(item["spec"]["selector"])},
    }


def with_last_applied(manifest: Json) -> Json:
    """As `kubectl apply` sends it: with its own text in an annotation."""
    head = {"annotations": {}, **manifest["metadata"]}
    text = json.dumps({**manifest, "metadata": head}, sort_keys=True, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    noted = {"kubectl.kubernetes.io/last-applied-configuration": f"{text}\n"}
    annotations = dict(sorted({**head["annotations"], **noted}.items()))
    return {**manifest, "metadata": {**head, "annotations": annotations}}


def _pod_spec(spec: Json) -> Json:
    made = copied(_POD_SPEC) | spec
    made["containers"] = [_container(each) for each in spec["containers"]]
    return made


def _container(spec: Json) -> Json:
    made: dict[str, Any] = copied(_CONTAINER) | spec
    for port in made.get("ports", []):
        port.setdefault("protocol", "TCP")
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if name in made:
            made[name] = _PROBE | made[name]
            if "httpGet" in made[name]:
                made[name]["httpGet"].setdefault("scheme", "HTTP")
    return made
