"""Why the API is in trouble: from what a look shows, without a server."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.api_diagnosis import ApiReadings, diagnose
from tasks.domain.causes import Cause, Confidence
from tasks.domain.impact import Impact, estimate
from tasks.domain.observation import Health
from tasks.domain.pods import ContainerState, Ended, PodState, PodUsage, Resources, Stage, Usage
from tasks.domain.recent_changes import RecentChange, Release, correlate
from tests.domain import cluster_values

NOW = datetime(2026, 3, 14, 3, 10, tzinfo=UTC)
ONSET = NOW - timedelta(minutes=5)
MIB = 1 << 20
WELL = {"database": Health.HEALTHY, "cache": Health.HEALTHY}


def impact(errors: float = 0.0, p95: float = 0.2) -> Impact:
    return estimate(
        {
            "requests": (10.0,),
            "errors": (errors,),
            "p50_seconds": (0.1,),
            "p95_seconds": (p95,),
            "p99_seconds": (p95,),
            "baseline_requests": (10.0,),
            "baseline_p95_seconds": (0.2,),
        },
        window=300,
        baseline=3600,
        noticeable_seconds=0.05,
    )


def pod(number: int = 1, *, ready: bool = True, age: float = 60, **container: object) -> PodState:
    limits = Resources(cpu_limit=4_000_000_000, memory_limit=512 * MIB)
    running = ContainerState(
        "api", "rlhf:1", False, ready, 0, Stage.RUNNING, "", "", None, None, None, limits, ()
    )
    return PodState(
        "rlhf", f"api-{number}", f"uid-{number}", "1", "Running", "", "", "node", ready, "",
        NOW - timedelta(minutes=age), None, {}, (), (replace(running, **container),), limits,
    )  # fmt: skip


def usage(number: int, cpu: float, memory: float) -> PodUsage:
    used = Usage(int(cpu * 4_000_000_000), int(memory * 512 * MIB))
    return PodUsage("rlhf", f"api-{number}", NOW, {"api": used})


def changes(minutes_before: float = 3, component: str = "api") -> tuple[RecentChange, ...]:
    at = ONSET - timedelta(minutes=minutes_before)
    return correlate([Release(component, "rlhf-audit-trail", 7, ("rlhf:2",), "", at, "")], ONSET)


def look(**seen: object) -> ApiReadings:
    known = {"pods": (pod(1), pod(2)), "impact": impact(), "needs": WELL} | seen
    return ApiReadings(NOW, "rlhf-audit-trail", **known)  # type: ignore[arg-type]


def first(seen: ApiReadings) -> Cause:
    found = diagnose(seen)
    json.dumps([each.as_json() for each in found], allow_nan=False)
    return found[0]


def test_an_api_that_is_well_has_no_cause_whatever_was_released_and_however_busy_it_is() -> None:
    busy = (usage(1, 0.95, 0.2), usage(2, 0.95, 0.2))
    assert diagnose(look(changes=changes(), usage=busy, connections=(200, 200))) == ()


def test_a_database_that_is_away_explains_pods_that_are_not_ready_and_nothing_is_restarted() -> (
    None
):
    seen = look(
        pods=(pod(1, ready=False), pod(2, ready=False)),
        impact=impact(errors=9.0),
        needs=WELL | {"database": Health.FAILED},
        changes=changes(),
    )
    assert (first(seen).code, first(seen).confidence) == ("api.dependency", Confidence.PROVEN)
    assert all(each.remedy is None for each in diagnose(seen))


def test_a_dependency_that_nobody_could_see_is_possible_and_hides_no_other_cause_for_good() -> None:
    seen = look(pods=(pod(1, ready=False), pod(2)), needs=WELL | {"database": Health.UNKNOWN})
    codes = {each.code: each.confidence for each in diagnose(seen)}
    assert codes["api.dependency"] is Confidence.POSSIBLE
    assert all(each.remedy is None for each in diagnose(seen))


def test_exhausted_connections_are_told_before_what_they_cause() -> None:
    seen = look(pods=(pod(1, ready=False), pod(2)), connections=(200, 200))
    assert first(seen).code == "api.database-connections"
    assert diagnose(look(impact=impact(errors=5.0), connections=(100, 200))) == ()


def test_pods_that_run_and_are_not_ready_are_restarted_by_name_and_uid() -> None:
    cause = first(look(pods=(pod(1, ready=False), pod(2))))
    assert cause.code == "api.unhealthy-pods"
    assert cause.remedy is not None
    assert cause.remedy.step == "api.resolution.restart"
    assert cause.remedy.arguments == {"pods": [{"name": "api-1", "uid": "uid-1"}]}


@pytest.mark.parametrize(
    "starting",
    [pod(1, ready=False, age=1), replace(pod(1, ready=False), deleting_since=NOW)],
)
def test_a_pod_that_is_starting_or_ending_is_not_unhealthy(starting: PodState) -> None:
    assert diagnose(look(pods=(starting, pod(2)))) == ()


def test_pods_that_cannot_start_after_a_release_are_mended_by_returning_to_the_last_good_one() -> (
    None
):
    stuck = pod(1, ready=False, age=1, stage=Stage.WAITING, reason="ImagePullBackOff")
    cause = first(look(pods=(stuck, pod(2)), changes=changes()))
    assert (cause.code, cause.confidence) == ("api.release-change", Confidence.PROVEN)
    assert cause.remedy is not None
    assert cause.remedy.step == "recovery.rollback.undo"
    assert cause.remedy.arguments == {"deployment": "rlhf-audit-trail", "bad_revision": 7}


def test_crash_loops_without_a_release_are_left_to_people() -> None:
    crashing = pod(1, ready=False, reason="CrashLoopBackOff", stage=Stage.WAITING, restarts=9)
    cause = first(look(pods=(crashing, pod(2))))
    assert (cause.code, cause.remedy) == ("api.unhealthy-pods", None)


def test_errors_right_after_a_release_of_the_api_make_it_likely_and_of_another_component_not() -> (
    None
):
    seen = look(impact=impact(errors=3.0), changes=changes())
    assert (first(seen).code, first(seen).confidence) == ("api.release-change", Confidence.LIKELY)
    assert diagnose(look(impact=impact(errors=3.0), changes=changes(component="workers"))) == ()
    assert diagnose(look(impact=impact(errors=3.0), changes=changes(minutes_before=-10))) == ()


def test_pods_at_their_limit_that_answer_slowly_are_scaled_up_to_a_bearable_share() -> None:
    cause = first(look(impact=impact(p95=0.9), usage=(usage(1, 0.99, 0.2), usage(2, 0.95, 0.2))))
    assert (cause.code, cause.confidence) == ("api.resource-constrained", Confidence.LIKELY)
    assert cause.remedy is not None
    assert cause.remedy.arguments == {"deployment": "rlhf-audit-trail", "more": 1}
    assert cause.remedy.destroys == "nothing"


def test_one_busy_pod_of_three_is_no_shortage() -> None:
    pods = (pod(1), pod(2), pod(3))
    used = (usage(1, 0.99, 0.2), usage(2, 0.2, 0.2), usage(3, 0.2, 0.2))
    assert diagnose(look(pods=pods, impact=impact(p95=0.9), usage=used)) == ()


def test_a_container_that_was_killed_for_its_memory_proves_the_shortage() -> None:
    killed = pod(1, last=Ended("OOMKilled", 137, "", None, None))
    cause = first(look(pods=(killed, pod(2))))
    assert (cause.code, cause.confidence) == ("api.resource-constrained", Confidence.PROVEN)


def test_usage_of_unknown_pods_and_pods_without_limits_say_nothing() -> None:
    bare = replace(pod(1), containers=(replace(pod(1).containers[0], resources=Resources()),))
    used = (usage(1, 9.0, 9.0), usage(77, 9.0, 9.0))
    assert diagnose(look(pods=(bare,), impact=impact(p95=0.9), usage=used)) == ()


def test_many_refused_logins_are_told_even_when_all_else_is_well() -> None:
    assert first(look(refused_logins=11.0)).code == "api.authentication"
    assert diagnose(look(refused_logins=10.0)) == ()


def test_nothing_known_is_no_cause() -> None:
    assert diagnose(ApiReadings(NOW, "x")) == ()


def test_recorded_pods_of_a_release_without_an_image_are_a_broken_release() -> None:
    pods = tuple(cluster_values.pods())
    at = cluster_values.NOW
    release = Release("api", "rlhf-audit-trail", 3, (), "", at - timedelta(minutes=9), "")
    changed = correlate([release], at - timedelta(minutes=5))
    seen = ApiReadings(at, "rlhf-audit-trail", pods=pods, needs=WELL, changes=changed)
    assert first(seen).code == "api.release-change"
    assert "Image" in first(seen).summary
