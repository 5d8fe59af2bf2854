"""The routing policy in force: the operator's file, read again when it changes, else the shipped.

A file that is broken, or gone, is refused: the policy before it stays in force, and `problem` says
why. Only the first one must be good, since there is none before it.
"""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tasks.domain.errors import BadInput
from tasks.domain.policy import DEFAULT, RoutingPolicy
from tasks.domain.written import MAX_BYTES
from tasks.sections.files import read_text
from tasks.settings import settings

log = logging.getLogger("gateway.routing")

LOOK_EVERY = 1.0
"""Seconds: a changed file is seen after this at the latest."""

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Held:
    """What is in force, of which file, and what is wrong with the file as it is now."""

    path: Path
    policy: RoutingPolicy
    stamp: _Stamp | None
    problem: str = ""


class Watched:
    """A policy file that may change at any time. Safe to ask from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._next_look = 0.0

    def of(self, path: Path) -> _Held:
        """What is in force. Raises BadInput when this file was never good."""
        held = self._held
        if held is not None and held.path == path and time.monotonic() < self._next_look:
            return held
        with self._lock:
            held = self._held
            if held is None or held.path != path:
                held = _first(path)
            elif time.monotonic() >= self._next_look:
                held = _look_again(held)
            else:
                return held  # another thread has just looked
            self._held = held
            self._next_look = time.monotonic() + LOOK_EVERY
            return held


_WATCHED = Watched()


def current() -> RoutingPolicy:
    """The policy in force. Raises BadInput when the operator's file was never good."""
    path = settings().gateway.policy_file
    return DEFAULT if path is None else _WATCHED.of(path).policy


def problem() -> str:
    """Why the operator's file as it is now is not in force; empty when it is, or there is none.

    Raises BadInput when it was never good.
    """
    path = settings().gateway.policy_file
    return "" if path is None else _WATCHED.of(path).problem


def read_policy(path: Path) -> RoutingPolicy:
    """A policy file. Raises BadInput with the file's name and what is wrong in it."""
    text = read_text(path, MAX_BYTES)
    try:
        return RoutingPolicy.parse(text)
    except BadInput as error:
        raise BadInput(f"{path.name}: {error}") from error


def _first(path: Path) -> _Held:
    stamp = _stamp(path)
    policy = read_policy(path)
    log.info("routing policy %s is in force", policy.digest[:12])
    return _Held(path, policy, stamp)


def _look_again(held: _Held) -> _Held:
    """The stamp is taken before the file is read: what changes meanwhile is seen the next time."""
    stamp = _stamp(held.path)
    if stamp == held.stamp:
        return held
    try:
        policy = read_policy(held.path)
    except BadInput as error:
        log.warning("routing policy refused, the one before stays in force: %s", error)
        return _Held(held.path, held.policy, stamp, str(error))
    if policy.digest != held.policy.digest:
        log.info("routing policy %s is in force", policy.digest[:12])
    return _Held(held.path, policy, stamp)


def _stamp(path: Path) -> _Stamp | None:
    """What changes with the file, as cheap as it can be asked for; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
