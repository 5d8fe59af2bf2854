"""Whether a control has left everything as it was: pods, templates, replicas, autoscalers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from deployments.lab.expectations import Check
from deployments.lab.kubernetes.manifests import API
from deployments.lab.stack import Lab
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident

_GOVERNED = ("deployments", "statefulsets", "horizontalpodautoscalers", "persistentvolumeclaims")
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """What a remedy would change: the identity of each pod, and what each object is told to be."""

    pods: frozenset[str]
    specs: dict[str, Any]


def state_of(lab: Lab) -> State:
    """As it is now."""
    cluster = lab.cluster_life.cluster
    return State(
        frozenset(each["metadata"]["uid"] for each in cluster.pods("*")),
        {
            f"{plural}/{each['metadata']['name']}": each["spec"]
            for plural in _GOVERNED
            for each in cluster.items(plural)
        },
    )


def of_nothing_changed(lab: Lab, before: State, incidents: Sequence[Incident]) -> list[Check]:
    """Nothing was proposed, held or done by what the journal says, nor by what the lab shows."""
    now = state_of(lab)
    facts = [fact for incident in incidents for fact in incident.facts]
    begun = [
        f"{fact.data['step']} on {fact.data['target']}"
        for fact in facts
        if fact.kind is FactKind.STEP_STARTED
    ]
    proposed = [
        str(fact.data["plan"]["summary"]) for fact in facts if fact.kind is FactKind.PLAN_PROPOSED
    ]
    held = [str(fact.data["scope"]) for fact in facts if fact.kind is FactKind.HOLD_SET]
    changed = sorted(
        name
        for name in before.specs.keys() | now.specs.keys()
        if before.specs.get(name) != now.specs.get(name)
    )
    pods = len(before.pods ^ now.pods)
    answer = _answer(lab)
    return [
        Check("the alert was looked at", bool(incidents), f"{len(incidents)} incidents"),
        Check("no plan was proposed", not proposed, "; ".join(proposed)),
        Check("nothing was held", not held, ", ".join(held)),
        Check("no step was begun", not begun, "; ".join(begun)),
        Check("no object was changed", not changed, ", ".join(changed)),
        Check("no pod was replaced", not pods, f"{pods} of them" if pods else ""),
        Check(f"{API} still serves", answer == str(httpx.codes.OK.value), answer),
    ]


def _answer(lab: Lab) -> str:
    """What the API answers: a status, or why there is none."""
    try:
        found = httpx.get(f"{lab.api.url}/health", timeout=_ANSWER_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        return type(error).__name__
    return str(found.status_code)
