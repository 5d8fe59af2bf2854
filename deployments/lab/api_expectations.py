"""What must be true after the API's pods made trouble: mended as its cause asks, and no more."""

from deployments.lab.cluster_expectations import (
    api_answers,
    names_the_cause,
    only_done,
    pods_are_ready,
)
from deployments.lab.expectations import Check, Situation
from deployments.lab.kubernetes.manifests import API
from tasks.domain.facts import FactKind
from tasks.domain.restart_plan import RESTART
from tasks.domain.scale_plan import SCALE_API

_ENOUGH, _BEFORE = 5, 3


def of_api_slow(now: Situation) -> list[Check]:
    """More replicas, by the autoscaler's minimum, and nothing was restarted."""
    life = now.lab.cluster_life
    replicas = life.replicas(API)
    minimum = life.cluster.get("horizontalpodautoscalers", API)["spec"]["minReplicas"]
    return [
        names_the_cause(now),
        Check("there are replicas enough", replicas >= _ENOUGH, f"{replicas} of {_ENOUGH}"),
        Check("the autoscaler would not take them away", minimum >= _ENOUGH, f"at least {minimum}"),
        pods_are_ready(now, API, _ENOUGH),
        api_answers(now),
        only_done(now, SCALE_API),
    ]


def of_pods_crash_looping(now: Situation) -> list[Check]:
    """The broken pod was made anew, and the others were left alone."""
    restarted = _restarted(now)
    return [
        names_the_cause(now),
        Check("one pod was restarted, the broken one", len(restarted) == 1, ", ".join(restarted)),
        Check("it is gone", not restarted & _pods(now), ", ".join(sorted(_pods(now)))),
        pods_are_ready(now, API, _BEFORE),
        api_answers(now),
        only_done(now, RESTART),
    ]


def _pods(now: Situation) -> set[str]:
    return {str(each["metadata"]["name"]) for each in now.lab.cluster_life.cluster.pods(API)}


def _restarted(now: Situation) -> set[str]:
    return {
        str(name)
        for fact in now.incident.facts
        if fact.kind is FactKind.STEP_DONE
        for name in fact.data["result"].get("restarted", ())
    }
