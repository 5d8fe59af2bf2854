"""What the API needs and does not get: its database, the connections to it, its cache. Pure.

What is to be mended then is not the API. The cause is the component's own and names it, and the
response goes on with that component's procedure.
"""

from collections.abc import Iterable
from dataclasses import replace

from tasks.domain.api_limits import ApiLimits
from tasks.domain.api_readings import ApiReadings, Need
from tasks.domain.causes import Cause, Confidence
from tasks.domain.observation import Health

COMPONENT = "api"
NEEDS = "component"
"""In the evidence: which component has to be mended."""


def need_causes(seen: ApiReadings, limits: ApiLimits) -> Iterable[Cause]:
    """One for each component that the API needs and that is not well, or that nobody could see."""
    for component, need in sorted(seen.needs.items()):
        if need.health is Health.UNKNOWN:
            if seen.is_troubled(limits):
                yield _dependency(component, need, Confidence.POSSIBLE, "nothing is known of it")
        elif need.health is not Health.HEALTHY and need.hurts:
            yield _cause_of(component, need)


def coming_causes(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    """What the API needs and will soon not get: after everything that hurts already."""
    for component, need in sorted(seen.needs.items()):
        if need.health is Health.DEGRADED and not need.hurts:
            cause = _cause_of(component, need)
            yield replace(cause, confidence=Confidence.POSSIBLE) if explained else cause


def explains_pods(seen: ApiReadings) -> bool:
    """Whether pods that are not ready are no wonder: something that they need serves nobody."""
    return any(need.health is Health.FAILED for need in seen.needs.values())


def needed_component(cause: Cause) -> str:
    """The component whose procedure mends the cause; empty when the API's own does."""
    if cause.confidence is Confidence.POSSIBLE:
        return ""
    return str(cause.evidence.get(NEEDS, ""))


def _cause_of(component: str, need: Need) -> Cause:
    """The component's own cause, by its own name: mended by its own procedure, which plans anew."""
    if not need.causes:
        return _dependency(component, need, Confidence.LIKELY, "it is not well")
    own = need.causes[0]
    return replace(
        own,
        summary=f"the API needs {component}: {own.summary}",
        evidence={**own.evidence, NEEDS: component},
        remedy=None,
    )


def _dependency(component: str, need: Need, confidence: Confidence, what: str) -> Cause:
    return Cause(
        "api.dependency",
        COMPONENT,
        confidence,
        f"the API needs {component}, and {what}: {need.summary}",
        {NEEDS: component, "health": need.health.value},
    )
