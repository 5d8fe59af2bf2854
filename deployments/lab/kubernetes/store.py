"""The objects of the cluster with their versions and their history: what etcd does.

A stored object is never changed, only replaced: whoever reads one may keep it, whoever wants
another writes a copy. Every change has a resourceVersion; the latest ones are kept for watches
and for lists that go on where a page ended.
"""

import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.kinds import Json, Kind, copied
from deployments.lab.kubernetes.ownership import Writer, managed
from deployments.lab.kubernetes.refusals import already_exists, conflict, not_found

_KEPT = 4096  # changes
_FIRST_VERSION = 2000

Key = tuple[Kind, str, str]
"""Kind, namespace ("" for the cluster's own), name."""


class TooOld(Exception):
    """That version is not kept any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something was made (`old` None), changed or removed (`new` None).

    `last` is what a watch shows: the new object, or the removed one with the removal's version.
    """

    version: int
    key: Key
    old: Json | None
    new: Json | None
    last: Json


class Store:
    """All objects. Whoever calls holds `lock`, unless it says otherwise."""

    def __init__(self, lock: threading.RLock, clock: Clock) -> None:
        self.changed = threading.Condition(lock)
        self.version = _FIRST_VERSION
        self.oldest = _FIRST_VERSION
        """Changes up to this one are forgotten."""
        self._clock = clock
        self._objects: dict[Key, Json] = {}
        self._history: deque[Change] = deque()
        self._listed: dict[Kind, dict[str, list[Json]]] = {}

    def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, if there is one."""
        return self._objects.get((kind, namespace, name))

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object. Raises the server's 404."""
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def edit(self, kind: Kind, namespace: str, name: str) -> Json:
        """A copy to change and to write back, without managedFields: the store keeps those."""
        found = self.get(kind, namespace, name)
        head = {key: part for key, part in found["metadata"].items() if key != "managedFields"}
        return copied({**found, "metadata": head})

    def items(self, kind: Kind, namespace: str = "") -> list[Json]:
        """All of a kind, of one namespace or of all, in the order of their names.

        Asked for far more often than anything changes, so the list is kept until something does.
        """
        kept = self._listed.setdefault(kind, {})
        if namespace not in kept:
            kept[namespace] = _sorted(self._objects, kind, namespace)
        return kept[namespace]

    def items_at(self, kind: Kind, namespace: str, version: int) -> list[Json]:
        """The same as it was at a version. Raises TooOld."""
        objects = dict(self._objects)
        for change in reversed(self.since(version)):
            if change.old is None:
                objects.pop(change.key, None)
            else:
                objects[change.key] = change.old
        return _sorted(objects, kind, namespace)

    def since(self, version: int) -> list[Change]:
        """What came after a version. Raises TooOld."""
        if version < self.oldest:
            raise TooOld
        return [change for change in self._history if change.version > version]

    def forget(self) -> None:
        """Compaction: what was before now cannot be asked for any more."""
        self._history.clear()
        self.oldest = self.version

    def create(self, kind: Kind, content: Json, writer: Writer, *, dry: bool = False) -> Json:
        """Make an object; `content` has its metadata with a name. Raises 409 AlreadyExists."""
        metadata = content["metadata"]
        namespace = metadata.get("namespace", "") if kind.namespaced else ""
        key = (kind, namespace, metadata["name"])
        if key in self._objects:
            raise already_exists(kind, metadata["name"])
        head = {"name": metadata["name"]}
        if "generateName" in metadata:
            head["generateName"] = metadata["generateName"]
        if namespace:
            head["namespace"] = namespace
        head |= {"uid": str(uuid.uuid4()), "resourceVersion": ""}
        if kind.counted:
            head["generation"] = 1
        head["creationTimestamp"] = self._clock.stamp()
        made = copied(content)
        made.pop("kind", None)
        made.pop("apiVersion", None)
        for name in ("labels", "annotations", "ownerReferences", "finalizers"):
            if name in metadata:
                head[name] = copied(metadata[name])
        at = self._clock.stamp()
        head["managedFields"] = managed([], {}, made, writer, kind.api_version, at)
        made = {"metadata": head, **{k: v for k, v in made.items() if k != "metadata"}}
        if dry:
            del head["resourceVersion"]
            return made
        return self._put(key, None, made)

    def update(self, kind: Kind, content: Json, writer: Writer, *, dry: bool = False) -> Json:
        """Replace an object by a changed copy of it.

        A resourceVersion that is not the present one is a 409; none means the last one wins.
        What nobody may change stays; nothing changed means nothing is written.
        """
        metadata = content["metadata"]
        namespace = metadata.get("namespace", "") if kind.namespaced else ""
        key = (kind, namespace, metadata["name"])
        old = self.get(*key)
        if metadata.get("resourceVersion") not in {None, "", old["metadata"]["resourceVersion"]}:
            raise conflict(kind, metadata["name"])
        head = {key: part for key, part in metadata.items() if key != "managedFields"}
        made = copied({**content, "metadata": head})
        made.pop("kind", None)
        made.pop("apiVersion", None)
        head = made["metadata"]
        for name in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"):
            head.pop(name, None)
            if name in old["metadata"]:
                head[name] = old["metadata"][name]
        if made == old:
            return old
        if kind.counted and not writer.subresource and _counts(kind, old, made):
            head["generation"] = old["metadata"]["generation"] + 1
        head["managedFields"] = managed(
            old["metadata"].get("managedFields", []),
            old,
            made,
            writer,
            kind.api_version,
            self._clock.stamp(),
        )
        made["metadata"] = {k: head[k] for k in sorted(head, key=_place)}
        return made if dry else self._put(key, old, made)

    def remove(self, kind: Kind, namespace: str, name: str) -> Json:
        """Take it away, at once."""
        key = (kind, namespace, name)
        old = self.get(*key)
        self.version += 1
        del self._objects[key]
        head = {**old["metadata"], "resourceVersion": str(self.version)}
        self._remember(Change(self.version, key, old, None, {**old, "metadata": head}))
        return old

    def wait(self, seconds: float, is_enough: Callable[[], bool]) -> None:
        """Until something changed, or that long."""
        self.changed.wait_for(is_enough, seconds)

    def _put(self, key: Key, old: Json | None, new: Json) -> Json:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._objects[key] = new
        self._remember(Change(self.version, key, old, new, new))
        return new

    def _remember(self, change: Change) -> None:
        self._listed.pop(change.key[0], None)
        self._history.append(change)
        if len(self._history) > _KEPT:
            self.oldest = self._history.popleft().version
        self.changed.notify_all()


def _sorted(objects: dict[Key, Json], kind: Kind, namespace: str) -> list[Json]:
    found = [
        (key[1:], value)
        for key, value in objects.items()
        if key[0] is kind and namespace in {"", key[1]}
    ]
    return [value for _, value in sorted(found, key=lambda each: each[0])]


def _counts(kind: Kind, old: Json, new: Json) -> bool:
    for part in kind.counted:
        before, after = (
            (each["metadata"] if part == "annotations" else each).get(part) for each in (old, new)
        )
        if before != after:
            return True
    return False


_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
