"""What is wrong with one pod, by its own status."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.pod_health import PodHealth, Trouble, pod_health
from tasks.domain.pods import Ended, PodState, Stage
from tests.domain import cluster_values
from tests.domain.api_values import NOW, crashing, pod

STARTING = timedelta(minutes=2)


def health(found: PodState) -> PodHealth:
    return pod_health(found, NOW, STARTING)


def ended(ago: float, reason: str = "Error") -> dict[str, Any]:
    at = NOW - timedelta(seconds=ago)
    return {"last": Ended(reason, 1, "", None, at), "started_at": at, "restarts": 2}


@pytest.mark.parametrize(
    ("found", "trouble"),
    [
        (pod(1), Trouble.WELL),
        (pod(1, ready=False), Trouble.UNREADY),
        (pod(1, ready=False, age=timedelta(seconds=90)), Trouble.STARTING),
        (replace(pod(1, ready=False), created_at=None), Trouble.UNREADY),
        (replace(pod(1, ready=False), deleting_since=NOW), Trouble.ENDING),
        (replace(pod(1, ready=False), phase="Failed", reason="Evicted"), Trouble.ENDING),
        (replace(pod(1, ready=False), unschedulable="no room"), Trouble.NO_NODE),
        (crashing(1), Trouble.CRASHING),
        (crashing(1, oom=True), Trouble.OUT_OF_MEMORY),
        (pod(1, ready=False, stage=Stage.WAITING, reason="ImagePullBackOff"), Trouble.CANNOT_START),
        (
            pod(1, ready=False, stage=Stage.WAITING, reason="CreateContainerConfigError"),
            Trouble.CANNOT_START,
        ),
        (pod(1, **ended(5)), Trouble.CRASHING),
        (pod(1, **ended(61)), Trouble.WELL),
        (pod(1, ready=False, **ended(300)), Trouble.CRASHING),
        (pod(1, ready=False, **ended(601)), Trouble.UNREADY),
        (pod(1, ready=False, **ended(5) | {"restarts": 1}), Trouble.STARTING),
        (pod(1, **ended(5, "OOMKilled") | {"restarts": 1}), Trouble.OUT_OF_MEMORY),
    ],
)
def test_each_status_is_one_trouble(found: PodState, trouble: Trouble) -> None:
    assert health(found).trouble is trouble


def test_a_pod_is_named_with_what_ails_it() -> None:
    assert str(health(crashing(7))) == (
        "api-7 crashes again and again (api: 3 restarts, exit code 3)"
    )
    assert "readiness probe fails" in str(health(pod(1, ready=False)))


def test_the_recorded_pods_of_a_missing_image_cannot_start_and_their_elders_are_well() -> None:
    at = cluster_values.NOW
    found = [pod_health(each, at, STARTING).trouble for each in cluster_values.pods()]
    assert found == [Trouble.WELL, Trouble.WELL, Trouble.WELL, Trouble.CANNOT_START]
