"""Watches: changes as they come, bookmarks, and the end of what is remembered."""

import time
from collections.abc import Callable, Iterator

from deployments.lab.kubernetes.kinds import Json, Kind
from deployments.lab.kubernetes.lists import selected
from deployments.lab.kubernetes.refusals import expired
from deployments.lab.kubernetes.requests import Request, Target
from deployments.lab.kubernetes.store import Change, Store, TooOld

_LONGEST = 1800.0


class Watches:
    """All open watches; tests mark, cut and shorten what they see."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bookmark_every = 60.0
        """Seconds of real time, as the real server's minute."""
        self._marks = 0
        self._cuts = 0
        self.ended = False

    def mark(self) -> None:
        """Send a bookmark to everybody who wants them."""
        with self._store.changed:
            self._marks += 1
            self._store.changed.notify_all()

    def cut(self) -> None:
        """End all of them, without a word."""
        with self._store.changed:
            self._cuts += 1
            self._store.changed.notify_all()

    def end(self) -> None:
        """The server goes."""
        with self._store.changed:
            self.ended = True
            self._store.changed.notify_all()

    def events(self, target: Target, request: Request) -> Iterator[Json]:
        """What one watch sees; it returns at its time-out, or when it is cut."""
        kind, wanted = target.kind, selected(target.kind, request)
        text = request.one("timeoutSeconds")
        until = time.monotonic() + (float(text) if text.isdigit() else _LONGEST)
        with self._store.changed:
            version, first = self._first(target, request, wanted)
            cuts, marks = self._cuts, self._marks
        yield from first
        marked = time.monotonic()
        has_bookmarks = request.is_true("allowWatchBookmarks")
        while True:
            with self._store.changed:
                pause = min(until, marked + self.bookmark_every) - time.monotonic()
                self._store.wait(
                    max(pause, 0.0),
                    lambda: self._is_news(version, marks, cuts),  # noqa: B023
                )
                if self.ended or self._cuts != cuts:
                    return
                try:
                    changes = self._store.since(version)
                except TooOld:
                    yield {"type": "ERROR", "object": _too_old(version, self._store.oldest)}
                    return
                version = self._store.version
            for change in changes:
                found = _event(target, change, wanted)
                if found is not None:
                    yield found
            over = time.monotonic() >= until
            due = over or self._marks != marks or time.monotonic() - marked >= self.bookmark_every
            if has_bookmarks and due:
                yield {"type": "BOOKMARK", "object": _bookmark(kind, version)}
            if due:
                marked, marks = time.monotonic(), self._marks
            if over:
                return

    def _is_news(self, version: int, marks: int, cuts: int) -> bool:
        state = (self._store.version, self._marks, self._cuts)
        return self.ended or state != (version, marks, cuts)

    def _first(
        self, target: Target, request: Request, wanted: Callable[[Json], bool]
    ) -> tuple[int, list[Json]]:
        asked = request.one("resourceVersion")
        if asked.isascii() and asked.isdigit() and int(asked) > 0:
            return int(asked), []
        items = self._store.items(target.kind, target.namespace)
        found = [
            {"type": "ADDED", "object": typed(target.kind, each)} for each in items if wanted(each)
        ]
        return self._store.version, found


def typed(kind: Kind, item: Json) -> Json:
    """With kind and apiVersion, as an object is shown outside a list."""
    return {"kind": kind.kind, "apiVersion": kind.api_version, **item}


def _event(target: Target, change: Change, wanted: Callable[[Json], bool]) -> Json | None:
    kind, namespace, _ = change.key
    if kind is not target.kind or (target.namespace and namespace != target.namespace):
        return None
    was = change.old is not None and wanted(change.old)
    now = change.new is not None and wanted(change.new)
    if not was and not now:
        return None
    name = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
    return {"type": name, "object": typed(kind, change.last)}


def _bookmark(kind: Kind, version: int) -> Json:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return typed(kind, {"metadata": metadata})


def _too_old(asked: int, oldest: int) -> Json:
    found = expired(f"too old resource version: {asked} ({oldest})").body
    assert isinstance(found, dict)  # noqa: S101  for the type checker
    return found
