"""Which component is the trouble, and which only suffers from another: by who needs whom.

A database that is down explains errors of the API; a cache that is down explains a queue that
grows. What nobody could look at is unknown and never counts as healthy: whoever needs it may be
explained by it, or not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from tasks.domain.errors import BadInput
from tasks.domain.observation import Health, Observation

BAD = frozenset({Health.FAILED, Health.DEGRADED})

_MOST = 200  # components


class Role(StrEnum):
    """What a component has to do with the trouble.

    ORIGIN: bad, and all that it needs is well. SUSPECT: bad, and nobody knows about something that
    it needs. EXPLAINED: bad, and something that it needs is bad. AT_RISK: well so far, but
    something that it needs is bad. UNKNOWN: nobody could look. WELL: the rest.
    """

    ORIGIN = "origin"
    SUSPECT = "suspect"
    EXPLAINED = "explained"
    AT_RISK = "at risk"
    UNKNOWN = "unknown"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Affected:
    """One component's part in the trouble.

    `because` names what it needs, directly or not: the origins and suspects that explain it, or
    that put it at risk. `unseen` names what it needs and nobody could look at.
    """

    component: str
    health: Health
    role: Role
    because: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        return {
            "component": self.component,
            "health": self.health.value,
            "role": self.role.value,
            "because": list(self.because),
            "unseen": list(self.unseen),
        }


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Who needs whom to work: a graph without cycles."""

    needs: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, needs: Mapping[str, Iterable[str]]) -> Self:
        """From component -> what it needs directly.

        Raises BadInput for more than 200 components, for a component that is needed but not named
        itself, and for a cycle: in one, everything would explain everything.
        """
        graph = {name: frozenset(needed) for name, needed in needs.items()}
        if len(graph) > _MOST:
            raise BadInput(f"expected at most {_MOST} components, found {len(graph)}")
        unnamed = sorted(set().union(*graph.values()) - set(graph)) if graph else []
        if unnamed:
            raise BadInput(f"expected each needed component to be named, found {unnamed[:5]}")
        cycle = _cycle(graph)
        if cycle:
            raise BadInput(f"expected no component to need itself, found {' -> '.join(cycle)}")
        return cls(graph)

    def behind(self, component: str) -> frozenset[str]:
        """All that a component needs, directly or not; nothing for one that is not in the graph."""
        found: set[str] = set()
        waiting = list(self.needs.get(component, ()))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.needs[name]
        return frozenset(found)

    def affected(self, healths: Mapping[str, Health]) -> tuple[Affected, ...]:
        """The part of each component of the graph, origins first; those not seen are unknown."""
        known = {name: healths.get(name, Health.UNKNOWN) for name in self.needs}
        found = [self._part(name, known) for name in self.needs]
        return tuple(sorted(found, key=lambda each: (_ORDER[each.role], each.component)))

    def _part(self, name: str, healths: Mapping[str, Health]) -> Affected:
        behind = self.behind(name)
        bad = {each for each in behind if healths[each] in BAD}
        # the deepest of them: a bad one that something bad explains is no explanation itself
        roots = tuple(sorted(each for each in bad if not bad & self.behind(each)))
        unseen = tuple(sorted(each for each in behind if healths[each] is Health.UNKNOWN))
        health = healths[name]
        if health is Health.UNKNOWN:
            role = Role.UNKNOWN
        elif health in BAD:
            role = Role.EXPLAINED if roots else Role.SUSPECT if unseen else Role.ORIGIN
        else:
            role = Role.AT_RISK if roots else Role.WELL
        return Affected(name, health, role, roots, unseen)


_ORDER = {role: place for place, role in enumerate(Role)}


def healths_of(observations: Iterable[Observation]) -> dict[str, Health]:
    """The health of each component that was looked at: the worst that was seen of it.

    Unknown is better than Failed and Degraded, but never than Healthy: a probe that saw nothing
    takes nothing back.
    """
    found: dict[str, Health] = {}
    for seen in observations:
        known = found.get(seen.component)
        if known is None or _WORSE[seen.health] > _WORSE[known]:
            found[seen.component] = seen.health
    return found


_WORSE = {Health.UNKNOWN: 0, Health.HEALTHY: 1, Health.DEGRADED: 2, Health.FAILED: 3}


def overall(affected: Iterable[Affected]) -> Health:
    """The worst health; Unknown when nothing is bad and something was not seen."""
    healths = {each.health for each in affected}
    worst = (Health.FAILED, Health.DEGRADED, Health.UNKNOWN)
    return next((health for health in worst if health in healths), Health.HEALTHY)


def in_words(affected: Iterable[Affected]) -> str:
    """One line: what is wrong, and what suffers from it."""
    parts, unseen = [], []
    for each in affected:
        if each.role is Role.ORIGIN:
            parts.append(f"{each.component} {each.health.value.lower()}")
        elif each.role is Role.SUSPECT:
            behind = ", ".join(each.unseen)
            parts.append(f"{each.component} {each.health.value.lower()} ({behind} unknown)")
        elif each.role in {Role.EXPLAINED, Role.AT_RISK}:
            said = "suffers" if each.role is Role.EXPLAINED else "at risk"
            parts.append(f"{each.component} {said} from {', '.join(each.because)}")
        elif each.role is Role.UNKNOWN:
            unseen.append(each.component)
    parts += [f"unknown: {', '.join(unseen)}"] if unseen else []
    return "; ".join(parts) or "no component is affected"


def _cycle(graph: Mapping[str, frozenset[str]]) -> list[str]:
    """One way from a component back to itself; empty when there is none."""
    left = {name: set(needed) for name, needed in graph.items()}
    while True:
        free = [name for name, needed in left.items() if not needed]
        if not free:
            break
        for name in free:
            del left[name]
        for needed in left.values():
            needed.difference_update(free)
    if not left:
        return []
    way = [min(left)]
    while True:
        following = min(left[way[-1]])
        if following in way:
            return [*way[way.index(following) :], following]
        way.append(following)


SERVED = Dependencies.of(
    {
        "api": ("database", "cache"),
        "audit-trail": ("database",),
        "cache": (),
        "database": (),
        "privacy-engine": ("database", "cache"),
        "queue": ("cache",),
        "workers": ("queue", "database"),
    }
)
"""The system under care. Its monitoring is left out: what it cannot see it does not need."""
