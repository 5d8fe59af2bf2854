"""Which image, by its digest, every container of a list of pods runs: what was really at work.

A tag may have been moved since; the kubelet says what it has pulled (`imageID`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_GROUPS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def images_of(pods: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """pod, container, image (as asked for), digest (as pulled); "" where it is not said."""
    return [
        {
            "pod": _text(_mapping(pod.get("metadata")), "name"),
            "container": _text(status, "name"),
            "image": _text(status, "image"),
            "digest": _text(status, "imageID"),
        }
        for pod in pods
        for status in _statuses(_mapping(pod.get("status")))
    ]


def _statuses(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in _GROUPS:
        found = status.get(group)
        yield from map(_mapping, found if isinstance(found, list) else [])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name, "")
    return found if isinstance(found, str) else ""
