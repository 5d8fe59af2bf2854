"""How the programs in the simulated pods behave: what tests and the lab set to make faults."""

import fnmatch
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.lab.kubernetes.kinds import Json


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of a container. `exits_after` seconds of each run it exits, by the kernel's hand if `oom`.

    With `once` it does so a single time and then runs. `pending` keeps a pod from any node, for
    that reason of the scheduler. `log` is written at each start, `last_words` before an exit.
    """

    starts_in: float = 1.0
    ready_in: float = 1.0
    ready: bool = True
    unready_because: str = "Readiness probe failed: HTTP probe failed with statuscode: 500"
    exits_after: float | None = None
    exit_code: int = 1
    oom: bool = False
    once: bool = False
    pending: str = ""
    cpu: str = "1m"
    memory: str = "16Mi"
    log: tuple[str, ...] = ()
    last_words: tuple[str, ...] = ()


@dataclass
class Behaviours:
    """Which behaviour a container has: its app's usual one, changed by image, then by pod.

    Pods are named by app or by pattern (`rlhf-audit-trail-*`); images in `missing` cannot be had.
    `probed` says, by app, whose readiness probe fails now: the pod's uid, and why.
    """

    usual: dict[str, Behaviour] = field(default_factory=dict)
    by_image: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_pod: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    probed: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, pod: Json, container: Json) -> Behaviour:
        """Of a container of a pod."""
        app = app_of(pod)
        changes = dict(self.by_image.get(container["image"], {}))
        for who, found in self.by_pod.items():
            if means(who, pod):
                changes |= found
        why = self.probed.get(app, {}).get(pod["metadata"]["uid"])
        if why is not None:
            changes |= {"ready": False, "unready_because": why}
        return replace(self.usual.get(app, Behaviour()), **changes)


def app_of(pod: Json) -> str:
    """Its label `app`."""
    return str(pod["metadata"].get("labels", {}).get("app", ""))


def means(who: str, pod: Json) -> bool:
    """Whether an app's name or a pattern of names means this pod."""
    return who == app_of(pod) or fnmatch.fnmatchcase(pod["metadata"]["name"], who)
