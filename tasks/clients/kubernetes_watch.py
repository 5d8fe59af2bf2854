"""A watch that goes on: from its last version after a break, from a new list after 410.

The API server ends every watch sooner or later, and forgets old versions. Bookmarks move our place
forward while nothing of ours changes. After a new list, only what differs from what was said last
is said, and what has gone is said to be gone, so that a break is invisible to who reads.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tasks.clients.errors import Malformed, Transient
from tasks.clients.kubernetes_api import Api, parsed
from tasks.clients.kubernetes_refusals import Expired, Resource, refusal
from tasks.clients.kubernetes_workloads import APPS, read
from tasks.domain.workload_reading import read_deployment
from tasks.domain.workloads import Deployment

_LINE = 4 * 1024 * 1024
_ONE_WATCH = 60.0  # seconds; then a new one goes on where this ended
_PAUSE = 0.2  # after a break, doubled up to the next
_LONGEST_PAUSE = 5.0
_GONE = 410


class Happened(StrEnum):
    """What became of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One object, as it is after the change (or was, when it is gone)."""

    happened: Happened
    value: Mapping[str, Any]


def changes(
    api: Api,
    resource: Resource,
    kind: str,
    *,
    seconds: float,
    params: Mapping[str, str] | None = None,
) -> Iterator[Change]:
    """Every object there is as ADDED, then what changes, for so many seconds.

    `kind` is that of the list. Time-outs and server errors are outlived until the time is over,
    unless the very first list fails; Denied, NotFound and Malformed are raised.
    """
    watch = _Watch(api, resource, kind, dict(params or {}), time.monotonic() + seconds)
    yield from watch.listed()
    yield from watch.watched()


def deployment_changes(api: Api, name: str, *, seconds: float) -> Iterator[Deployment]:
    """A Deployment each time it changes, first as it is now; ends when it is deleted.

    One that does not exist (yet) is waited for.
    """
    found = changes(
        api,
        api.here("deployments", group=APPS),
        "DeploymentList",
        seconds=seconds,
        params={"fieldSelector": f"metadata.name={name}"},
    )
    for change in found:
        if change.happened is Happened.DELETED:
            return
        yield read(change.value, read_deployment)


class _Watch:
    """`known` holds the version last said of each object, by uid."""

    def __init__(
        self, api: Api, resource: Resource, kind: str, params: dict[str, str], end: float
    ) -> None:
        self._api, self._resource, self._kind = api, resource, kind
        self._params, self._end = params, end
        self._place = ""
        self._known: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def listed(self) -> Iterator[Change]:
        """What a list says that was not said yet."""
        found = self._api.listed(self._resource, self._kind, self._params)
        present = set()
        for item in found.items:
            uid, version = self._identity(item)
            present.add(uid)
            before = self._known.get(uid)
            if before is None or before[0] != version:
                self._known[uid] = (version, item)
                yield Change(Happened.MODIFIED if before else Happened.ADDED, item)
        for uid in self._known.keys() - present:
            yield Change(Happened.DELETED, self._known.pop(uid)[1])
        self._place = found.resource_version

    def watched(self) -> Iterator[Change]:
        """Watches one after the other, and lists where they cannot go on."""
        pause = _PAUSE
        while (left := self._end - time.monotonic()) > 0:
            before = self._place
            try:
                if not self._place:
                    yield from self.listed()
                yield from self._once(min(left, _ONE_WATCH))
            except Expired:
                self._place = ""
            except Transient:
                pass
            if self._place and self._place != before:
                pause = _PAUSE
                continue
            time.sleep(max(0.0, min(pause, self._end - time.monotonic())))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, seconds: float) -> Iterator[Change]:
        wanted = self._params | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._place,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        for line in self._api.lines(self._resource, wanted, seconds, _LINE):
            if line.strip():
                yield from self._event(line)

    def _event(self, line: bytes) -> Iterator[Change]:
        event = parsed(line, self._resource)
        kind = event.get("type") if isinstance(event, dict) else None
        value = event.get("object") if isinstance(event, dict) else None
        if not isinstance(value, dict):
            raise Malformed(f"{self._resource}: expected an event of a watch, found {line[:200]!r}")
        if kind == "ERROR":
            raise self._error(value)
        uid, version = self._identity(value)
        if kind != "BOOKMARK":
            if kind not in set(Happened):
                raise Malformed(f"{self._resource}: expected a known event, found {kind!r:.60}")
            if kind == Happened.DELETED:
                self._known.pop(uid, None)
            else:
                self._known[uid] = (version, value)
            yield Change(Happened(kind), value)
        self._place = version

    def _error(self, value: Mapping[str, Any]) -> Exception:
        code = value.get("code")
        if code == _GONE or value.get("reason") == "Expired":
            return Expired(f"{self._resource}: the place of the watch is too old")
        status = code if isinstance(code, int) and not isinstance(code, bool) else 500
        return refusal(status, json.dumps(value).encode(), "watch", self._resource, "watching")

    def _identity(self, value: Mapping[str, Any]) -> tuple[str, str]:
        metadata = value.get("metadata")
        found = metadata if isinstance(metadata, dict) else {}
        uid, version = found.get("uid", ""), found.get("resourceVersion")
        if not isinstance(uid, str) or not isinstance(version, str) or not version:
            raise Malformed(f"{self._resource}: expected an object with a version, found none")
        return uid, version
