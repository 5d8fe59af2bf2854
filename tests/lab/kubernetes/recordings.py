"""Bodies of a real API server, and what has to be left out to compare ours with them.

Left out, in both: what differs each time (uids, versions, times, hashes, addresses, ids of
containers and images, the continue token, usage figures, how often an event was counted), and what
nobody reads: the volume of the service account's token with its mounts, fieldsV1 of managedFields
with their order, events about the recorded node's missing DNS and about PostgreSQL's first second,
and the tag under which the recorded node found the two databases' images.
"""

import json
import re
from pathlib import Path
from typing import Any

from deployments.lab.kubernetes.cluster import Cluster

BODIES = Path(__file__).parents[2] / "vectors" / "kubernetes"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_FIGURE = re.compile(r"\d+n|\d+Ki|\d+\.\d+s|0")
_DROPPED = {
    "uid",
    "resourceVersion",
    "managedFields",
    "containerID",
    "imageID",
    "podIP",
    "podIPs",
    "continue",
    "count",
}
_OTHERS_EVENTS = {"MissingClusterDNS", "Unhealthy"}
RECORDED_HASHES = {
    "6bd6889ffd": "1",
    "bf7d6d4f7": "2",
    "d67b64c67": "3",
    "5685d55fb7": "1",
    "7fd858855d": "2",
    "fbcf858c": "1",
}


def recorded(name: str) -> Any:
    return json.loads((BODIES / name).read_text(encoding="utf-8"))


def hashes_of(cluster: Cluster) -> dict[str, str]:
    """Each template's hash with its number, in the order in which they were made."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    made = sorted(cluster.items("replicasets"), key=lambda each: int(_first_revision(each)))
    for each in made:
        owner = each["metadata"]["ownerReferences"][0]["name"]
        counts[owner] = counts.get(owner, 0) + 1
        found[each["metadata"]["labels"]["pod-template-hash"]] = str(counts[owner])
    return found


def comparable(body: Any, hashes: dict[str, str]) -> Any:
    text = json.dumps(body)
    for each, number in hashes.items():
        text = re.sub(rf"\b{each}(-[a-z0-9]{{5}})?\b", rf"hash{number}", text)
    return _stripped(json.loads(text))


def _first_revision(item: Any) -> str:
    annotations = item["metadata"]["annotations"]
    past = annotations.get("deployment.kubernetes.io/revision-history", "")
    return past.split(",")[0] or annotations["deployment.kubernetes.io/revision"]


def _stripped(value: Any, at: str = "") -> Any:
    if isinstance(value, dict):
        found = {
            key: _stripped(part, key)
            for key, part in value.items()
            if key not in _DROPPED and not (key == "image" and at == "containerStatuses")
        }
        if at == "metadata" and "involvedObject" not in value:
            found["name"] = re.sub(r"\.[0-9a-f]{12,}$", "", found.get("name", ""))
        if at == "usage":
            return {key: _FIGURE.sub("figure", part) for key, part in found.items()}
        return {key: part for key, part in found.items() if part != [] or key == "items"}
    if isinstance(value, list):
        parts = [
            _stripped(part, at)
            for part in value
            if not (
                isinstance(part, dict)
                and (
                    str(part.get("name", "")).startswith("kube-api-access-")
                    or part.get("reason") in _OTHERS_EVENTS
                )
            )
        ]
        return sorted(parts, key=json.dumps) if at == "items" else parts
    if isinstance(value, str):
        if at == "window":
            return _FIGURE.sub("figure", value)
        return _TIME.sub("time", re.sub(r"\([0-9a-f-]{36}\)", "(uid)", value))
    return value
