"""What was restarted too often within the hour is not offered for one more restart."""

import pytest

from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.mending import to_mend
from tasks.domain.restart_cap import RESTARTS, within_cap

REDIS = "statefulset/redis"


def cause(step: str, target: str = REDIS) -> Cause:
    remedy = Remedial(step, "do it", target, "nothing", {"pod": "redis-0"})
    return Cause("cache.unreachable", "cache", Confidence.PROVEN, "it is away", {}, remedy)


@pytest.mark.parametrize("step", sorted(RESTARTS))
def test_a_cause_over_the_cap_loses_its_remedy_and_says_so(step: str) -> None:
    (found,) = within_cap([cause(step)], {REDIS: 3}, 3)
    assert found.remedy is None
    assert to_mend([found]) is None
    assert found.summary == (
        "it is away; statefulset/redis was restarted 3 times within the hour: something repeats"
    )
    assert found.evidence["restarts_within_the_hour"] == 3


def test_below_the_cap_and_for_another_target_it_keeps_it() -> None:
    asked = (cause("cache.resolution.restart"),)
    assert within_cap(asked, {REDIS: 2}, 3) == asked
    assert within_cap(asked, {"statefulset/postgresql": 9}, 3) == asked


def test_a_remedy_that_restarts_nothing_is_left_as_it_is() -> None:
    asked = (cause("recovery.scale.workers"),)
    assert within_cap(asked, {REDIS: 9}, 3) == asked


def test_the_restarts_are_those_of_pods_of_redis_and_of_the_database() -> None:
    assert {
        "api.resolution.restart", "cache.resolution.restart", "db.resolution.restart",
    } == RESTARTS  # fmt: skip
