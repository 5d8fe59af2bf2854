"""What must be true after a bad release: the one before serves again, and nothing else changed."""

from deployments.lab import cluster_manifests
from deployments.lab.cluster_expectations import (
    api_answers,
    names_the_cause,
    only_done,
    pods_are_ready,
)
from deployments.lab.expectations import Check, Situation
from deployments.lab.kubernetes.manifests import API
from tasks.domain.rollback_plan import UNDO

_REPLICAS = 3


def of_bad_release(now: Situation) -> list[Check]:
    """Undone to the last release that was seen healthy."""
    deployment = now.lab.cluster_life.cluster.get("deployments", API)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    image, known_good = container["image"], cluster_manifests.RELEASES[-1].image
    replicas = deployment["spec"]["replicas"]
    return [
        names_the_cause(now),
        Check("the release before serves again", image == known_good, image),
        Check(
            "its environment too", not container.get("env"), f"{len(container.get('env', ()))} set"
        ),
        Check("replicas are what they were", replicas == _REPLICAS, str(replicas)),
        pods_are_ready(now, API, _REPLICAS),
        api_answers(now),
        only_done(now, UNDO),
    ]
