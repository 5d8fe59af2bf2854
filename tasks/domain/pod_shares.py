"""`kubectl top pods` against what the pods asked for and may have at most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.pods import PodState, PodUsage

TIGHT = 0.9
"""Share of a limit from which a pod is short of it."""

_NAMED = 20


@dataclass(frozen=True, slots=True)
class PodShare:
    """One pod's use (nanocores, bytes) as shares; None: nothing is declared to compare with."""

    name: str
    cpu: int
    memory: int
    cpu_of_request: float | None
    cpu_of_limit: float | None
    memory_of_request: float | None
    memory_of_limit: float | None

    @property
    def is_tight(self) -> bool:
        """Whether it is at a limit, or as good as."""
        return any(
            share is not None and share >= TIGHT
            for share in (self.cpu_of_limit, self.memory_of_limit)
        )

    def as_json(self) -> dict[str, Any]:
        """Small, for evidence: shares in percent."""
        shares = {
            "cpu_of_request": self.cpu_of_request,
            "cpu_of_limit": self.cpu_of_limit,
            "memory_of_request": self.memory_of_request,
            "memory_of_limit": self.memory_of_limit,
        }
        return {"pod": self.name[:253], "cpu": self.cpu, "memory": self.memory} | {
            name: round(100 * share) for name, share in shares.items() if share is not None
        }


def pod_shares(pods: Iterable[PodState], usage: Iterable[PodUsage]) -> tuple[PodShare, ...]:
    """By name; pods of which there are no figures (a new one has none at first) are left out."""
    figures = {(each.namespace, each.name): each for each in usage}
    found = []
    for pod in sorted(pods, key=lambda each: each.name):
        used = figures.get((pod.namespace, pod.name))
        if used is None:
            continue
        cpu = sum(each.cpu for each in used.containers.values())
        memory = sum(each.memory for each in used.containers.values())
        has = pod.resources
        found.append(
            PodShare(
                name=pod.name,
                cpu=cpu,
                memory=memory,
                cpu_of_request=_share(cpu, has.cpu_request),
                cpu_of_limit=_share(cpu, has.cpu_limit),
                memory_of_request=_share(memory, has.memory_request),
                memory_of_limit=_share(memory, has.memory_limit),
            )
        )
    return tuple(found)


def shares_text(shares: Mapping[str, Sequence[PodShare]]) -> str:
    """One line: what each workload's pods use in all, and their part of the limits."""
    return "; ".join(f"{name}: {_workload_text(found)}" for name, found in shares.items())


def shares_json(shares: Mapping[str, Sequence[PodShare]]) -> dict[str, Any]:
    """Small JSON by workload: the first pods each, those at a limit before the others."""
    return {
        name: [
            each.as_json()
            for each in sorted(found, key=lambda each: (not each.is_tight, each.name))[:_NAMED]
        ]
        for name, found in shares.items()
    }


def _workload_text(found: Sequence[PodShare]) -> str:
    if not found:
        return "no figures"
    cores = sum(each.cpu for each in found) / 10**9
    mebibytes = sum(each.memory for each in found) / 2**20
    tight = sum(each.is_tight for each in found)
    text = f"{len(found)} pods use {cores:.2f} cores and {mebibytes:.0f} MiB"
    requested = [each.cpu_of_request for each in found if each.cpu_of_request is not None]
    if requested:
        text += f", {100 * sum(requested) / len(requested):.0f} % of the CPU they ask for"
    return f"{text}, {tight} at a limit" if tight else text


def _share(used: int, has: int | None) -> float | None:
    return used / has if has else None
