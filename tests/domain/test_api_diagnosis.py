"""Why the API is in trouble: from what a look shows, without a server."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.api_diagnosis import assess, diagnose, unexplained
from tasks.domain.api_need_causes import needed_component
from tasks.domain.api_plan import next_to_mend
from tasks.domain.api_readings import ApiReadings, Need, Unread
from tasks.domain.causes import Cause, Confidence
from tasks.domain.configuration import Configuration, ConfigurationChange, Held, Source
from tasks.domain.observation import Health
from tasks.domain.pods import Stage
from tasks.domain.releases import RESTARTED
from tasks.domain.restart_plan import RESTART
from tasks.domain.rollback_plan import UNDO
from tasks.domain.scale_plan import SCALE_API
from tasks.domain.severity import Severity
from tests.domain import cluster_values
from tests.domain.api_values import (
    LIMITS,
    NOW,
    ONSET,
    WELL,
    around,
    budget,
    crashing,
    impact,
    look,
    pod,
    released,
    traffic,
    usage,
)


def need(health: Health, code: str, *, hurts: bool = True) -> Need:
    own = Cause(code, "database", Confidence.PROVEN, f"{code}, it says", {"used": 192})
    return Need(health, own.summary, (own,), hurts=hurts)


AWAY = need(Health.FAILED, "db.unreachable")
FULL = (usage(1, 0.99), usage(2, 0.98), usage(3, 0.97))


def causes_of(**seen: Any) -> tuple[Cause, ...]:
    found = diagnose(look(**seen), LIMITS)
    json.dumps([each.as_json() for each in found], allow_nan=False)
    return found


def first(**seen: Any) -> Cause:
    return causes_of(**seen)[0]


def serious(**seen: Any) -> list[str]:
    """Codes of what is more than possible; and whether users notice what nothing explains."""
    found = causes_of(**seen)
    codes = [each.code for each in found if each.confidence is not Confidence.POSSIBLE]
    return codes + ["unexplained"] * bool(unexplained(look(**seen), found, LIMITS))


def test_an_api_that_is_well_has_no_serious_cause_however_busy_and_whatever_was_released() -> None:
    assert causes_of() == ()
    assert serious(usage=FULL, looked=released(), pods=(pod(1), pod(2))) == []


@pytest.mark.parametrize("pods", [(pod(1, ready=False),), (crashing(1), crashing(2))])
def test_a_database_that_is_away_explains_the_pods_and_the_response_goes_on_there(
    pods: tuple[Any, ...],
) -> None:
    seen = {"pods": pods, "needs": WELL | {"database": AWAY}, "traffic": traffic(errors=9.0)}
    assert (first(**seen).code, first(**seen).confidence) == ("db.unreachable", Confidence.PROVEN)
    assert needed_component(first(**seen)) == "database"
    assert all(each.remedy is None for each in causes_of(**seen))


def test_a_need_that_has_failed_without_a_cause_of_its_own_is_a_dependency() -> None:
    hung = Need(Health.FAILED, "expected an answer within 6 s, found none")
    cause = first(needs=WELL | {"database": hung})
    assert (cause.code, needed_component(cause)) == ("api.dependency", "database")


def test_what_a_need_itself_is_diagnosed_with_keeps_its_name_and_its_evidence() -> None:
    cause = first(needs=WELL | {"database": need(Health.FAILED, "db.connections-exhausted")})
    assert cause.code == "db.connections-exhausted"
    assert cause.summary == "the API needs database: db.connections-exhausted, it says"
    assert cause.evidence["used"] == 192


def test_a_need_that_nobody_could_see_is_possible_and_nobodys_to_mend() -> None:
    unknown = Need(Health.UNKNOWN, "answers HTML")
    seen = {"needs": WELL | {"cache": unknown}, "traffic": traffic(errors=2.0)}
    possible = [each for each in causes_of(**seen) if each.code == "api.dependency"]
    assert [each.confidence for each in possible] == [Confidence.POSSIBLE]
    assert needed_component(possible[0]) == ""
    assert causes_of(needs=WELL | {"cache": unknown}) == ()


def test_a_disk_that_fills_comes_after_what_hurts_now_and_first_when_nothing_does() -> None:
    needs = WELL | {"database": need(Health.DEGRADED, "db.disk-filling", hurts=False)}
    assert serious(needs=needs) == ["db.disk-filling"]
    assert serious(needs=needs, pods=(crashing(1), pod(2), pod(3))) == ["api.crash-looping"]


def test_one_pod_that_crashes_beside_siblings_that_serve_is_restarted_by_its_uid() -> None:
    cause = first(pods=(crashing(1), pod(2), pod(3)), traffic=traffic(errors=3.0))
    assert (cause.code, cause.confidence) == ("api.crash-looping", Confidence.LIKELY)
    assert cause.remedy is not None
    assert cause.remedy.step == RESTART
    assert [each["uid"] for each in cause.remedy.arguments["restart"]["pods"]] == ["uid-1"]
    assert serious(pods=(crashing(1), pod(2), pod(3)), traffic=traffic(errors=3.0)) == [
        "api.crash-looping"
    ]


def test_when_all_pods_of_an_old_release_crash_a_restart_is_no_remedy() -> None:
    cause = first(pods=(crashing(1), crashing(2), crashing(3)))
    assert (cause.code, cause.remedy) == ("api.crash-looping", None)
    assert "does not help" in cause.summary


def test_a_pod_that_was_killed_for_its_memory_waits_no_longer_for_its_next_start() -> None:
    cause = first(pods=(crashing(1, oom=True), pod(2), pod(3)))
    assert cause.code == "api.out-of-memory"
    assert cause.remedy is not None
    again = replace(crashing(1, oom=True).containers[0], started_at=NOW, ready=True)
    passed = replace(pod(1), containers=(replace(again, stage=Stage.RUNNING, reason=""),))
    assert serious(pods=(passed, pod(2), pod(3))) == []


def test_when_half_of_the_pods_are_killed_for_their_memory_the_load_is_spread_over_more() -> None:
    cause = first(pods=(crashing(1, oom=True), crashing(2, oom=True), pod(3)))
    assert cause.code == "api.resource-constrained"
    assert cause.remedy is not None
    assert cause.remedy.step == SCALE_API


def test_pods_that_run_and_are_not_ready_are_restarted_one_by_one() -> None:
    cause = first(pods=(pod(1, ready=False), pod(2), pod(3)), around=around(budget(2, 2)))
    assert cause.code == "api.unhealthy-pods"
    assert cause.remedy is not None
    assert cause.remedy.arguments["restart"]["rolled_at"] == ""


def test_where_the_budget_lets_no_unready_pod_go_the_workload_is_rolled_out_once_more() -> None:
    pods = tuple(pod(number, ready=False) for number in (1, 2, 3))
    cause = first(pods=pods, around=around(budget(2, 0)))
    assert cause.remedy is not None
    assert cause.remedy.arguments["restart"]["rolled_at"]
    assert "disruption budget" in cause.remedy.action
    patient = first(pods=pods, around=around(budget(2, 0, always=True)))
    assert patient.remedy is not None
    assert patient.remedy.arguments["restart"]["rolled_at"] == ""


def test_pods_that_were_restarted_often_enough_within_the_hour_are_left_to_people() -> None:
    cause = first(pods=(pod(1, ready=False), pod(2), pod(3)), restarts_lately=3)
    assert (cause.code, cause.remedy) == ("api.unhealthy-pods", None)
    assert "something repeats" in cause.summary


@pytest.mark.parametrize(
    "young",
    [
        pod(1, ready=False, age=timedelta(seconds=20)),
        replace(pod(1, ready=False), deleting_since=NOW),
    ],
)
def test_a_pod_that_is_starting_or_ending_is_nobodys_trouble(young: Any) -> None:
    assert causes_of(pods=(young, pod(2), pod(3))) == ()


def test_a_release_whose_pods_cannot_start_is_proven_and_undone_even_while_a_need_is_away() -> None:
    at = tuple(cluster_values.pods())
    seen = {"looked": released(at), "pods": at, "needs": WELL | {"database": AWAY}}
    codes = {each.code: each for each in causes_of(**seen)}
    release = codes["api.release-change"]
    assert release.confidence is Confidence.PROVEN
    assert "ErrImageNeverPull" in release.summary
    assert release.remedy is not None
    assert release.remedy.step == UNDO


def test_a_release_whose_pods_all_crash_while_older_ones_serve_is_to_blame_whenever_it_came() -> (
    None
):
    bad = released()
    old = tuple(cluster_values.pods())[:3]
    seen = {
        "looked": released((*old, crashing(9, of=bad))),
        "pods": (*old, crashing(9, of=bad)),
        "onset": NOW + timedelta(days=3),
    }
    assert (first(**seen).code, first(**seen).confidence) == (
        "api.release-change",
        Confidence.LIKELY,
    )
    assert serious(**seen) == ["api.release-change"]


def test_errors_right_after_a_release_are_laid_to_it_and_long_after_it_are_not() -> None:
    bad = released()
    serving = tuple(pod(number, of=bad) for number in (1, 2, 3))
    seen = {"looked": released(serving), "pods": serving, "traffic": traffic(errors=3.0)}
    cause = first(**seen)
    assert (cause.code, cause.confidence) == ("api.release-change", Confidence.LIKELY)
    assert cause.remedy is not None
    later = seen | {"onset": NOW + timedelta(days=2)}
    assert serious(**later) == ["unexplained"]
    before = seen | {"onset": ONSET - timedelta(days=1)}
    assert serious(**before) == ["unexplained"]


def test_a_pod_that_crashes_in_a_fresh_release_whose_others_serve_is_not_the_releases() -> None:
    bad = released()
    pods = (crashing(1, of=bad), pod(2, of=bad), pod(3, of=bad))
    seen = {"looked": released(pods), "pods": pods, "traffic": traffic(errors=3.0)}
    assert serious(**seen) == ["api.crash-looping"]


def test_pods_at_their_limit_and_slow_answers_are_mended_by_so_many_more_replicas() -> None:
    cause = first(traffic=traffic(p95=0.9), usage=FULL)
    assert (cause.code, cause.confidence) == ("api.resource-constrained", Confidence.LIKELY)
    assert cause.remedy is not None
    assert (
        cause.remedy.arguments["scale"]["former"],
        cause.remedy.arguments["scale"]["replicas"],
    ) == (3, 5)
    assert cause.remedy.destroys == "nothing"


def test_how_far_it_may_be_scaled_must_be_known_and_allowed() -> None:
    unknown = first(traffic=traffic(p95=0.9), usage=FULL, around=Unread("403"))
    assert (unknown.code, unknown.remedy) == ("api.resource-constrained", None)
    no_autoscaler = first(traffic=traffic(p95=0.9), usage=FULL, around=replace(around(), hpas=None))
    assert no_autoscaler.remedy is None
    assert "autoscaler" in no_autoscaler.summary


@pytest.mark.parametrize(
    ("used", "is_short"),
    [
        ((usage(1, 0.99), usage(2, 0.2), usage(3, 0.2)), False),
        ((usage(1, 0.9), usage(2, 0.9), usage(3, 0.2)), True),
        ((usage(1, 0.89), usage(2, 0.89), usage(3, 0.89)), False),
        ((usage(77, 9.0),), False),
        ((), False),
    ],
)
def test_half_of_the_pods_at_nine_tenths_of_a_limit_are_a_shortage(
    used: tuple[Any, ...], is_short: bool
) -> None:
    codes = serious(traffic=traffic(p95=0.9), usage=used)
    assert ("api.resource-constrained" in codes) is is_short
    assert ("unexplained" in codes) is not is_short


def test_configuration_that_was_changed_just_before_is_named_and_left_to_people() -> None:
    source = Source(Held.CONFIG_MAP, "api-config")
    change = ConfigurationChange(source, ONSET - timedelta(minutes=2), "kubectl-edit")
    seen = {"configuration": Configuration((change,), {}), "traffic": traffic(errors=1.0)}
    cause = first(**seen)
    assert (cause.code, cause.remedy) == ("api.configuration-change", None)
    assert "kubectl-edit" in cause.summary
    old = replace(change, at=ONSET - timedelta(hours=2))
    assert serious(**seen | {"configuration": Configuration((old,), {})}) == ["unexplained"]


@pytest.mark.parametrize(("refused", "is_told"), [(10.0, False), (10.5, True), (None, False)])
def test_more_than_ten_refused_logins_are_told(refused: float | None, is_told: bool) -> None:
    seen = {"traffic": traffic(refused)}
    assert (serious(**seen) == ["api.authentication"]) is is_told
    found = assess(look(**seen), LIMITS)
    assert (found is not None and found.rule == "class.p1.authentication") is is_told


def test_an_api_that_does_not_answer_though_its_pods_are_ready_is_not_called_well() -> None:
    dead = Need(Health.FAILED, "expected an answer within 5 s, found none")
    assert serious(answers=dead) == ["unexplained"]
    assert assess(look(answers=dead), LIMITS) is not None


def test_an_api_that_somebody_has_shut_down_is_left_shut_down() -> None:
    here = look().looked
    assert not isinstance(here, Unread)
    none = replace(here, workload=replace(here.workload, replicas=0))  # type: ignore[type-var]  # a dataclass
    cause = first(looked=none, pods=())
    assert (cause.code, cause.remedy) == ("api.scaled-to-zero", None)


@pytest.mark.parametrize(
    ("p95", "severity"),
    [(0.3, Severity.P1), (0.2999, Severity.P2), (0.19, None), (0.24, None)],
)
def test_exactly_half_as_slow_again_is_p1_and_what_nobody_notices_is_nothing(
    p95: float, severity: Severity | None
) -> None:
    found = assess(look(traffic=traffic(p95=p95)), LIMITS)
    assert (found.severity if found else None) == severity


@pytest.mark.parametrize(("errors", "is_urgent"), [(0.5, True), (0.499, False)])
def test_errors_are_p1_from_five_percent_on(errors: float, is_urgent: bool) -> None:
    found = assess(look(traffic=traffic(errors=errors)), LIMITS)
    assert (found is not None and found.severity is Severity.P1) is is_urgent


def test_fewer_than_twenty_requests_say_nothing_of_errors_and_slowness() -> None:
    few = replace(traffic(errors=0.05, p95=9.0), impact=impact(errors=0.05, p95=9.0, requests=0.05))
    assert serious(traffic=few) == []
    assert assess(look(traffic=few), LIMITS) is None


def test_slow_answers_without_a_baseline_are_slow_from_two_seconds_on() -> None:
    for p95, codes in ((2.0, ["unexplained"]), (1.9, [])):
        bare = replace(impact(p95=p95), slower=None, seconds={"p95_seconds": p95})
        assert serious(traffic=replace(traffic(), impact=bare)) == codes


def test_nothing_known_is_no_cause_and_a_look_that_saw_nothing_never_raises() -> None:
    assert diagnose(ApiReadings(NOW), LIMITS) == ()
    assert assess(ApiReadings(NOW), LIMITS) is None


def test_the_next_to_mend_skips_procedures_that_were_gone_through() -> None:
    found = causes_of(needs=WELL | {"database": AWAY}, traffic=traffic(errors=5.0))
    chosen = next_to_mend(found)
    assert chosen is not None
    assert chosen.code == "db.unreachable"
    assert next_to_mend(found, {"database"}) is None


def test_a_restart_that_changes_nothing_is_no_release_to_blame() -> None:
    seen = look(looked=released(), traffic=traffic(errors=0.4))
    assert seen.suspect is not None
    changes = tuple(
        replace(each, release=replace(each.release, cause=RESTARTED)) for each in seen.changes
    )
    restarted = replace(seen, changes=changes)
    assert restarted.suspect is None
    assert "api.release-change" not in {each.code for each in diagnose(restarted, LIMITS)}


def test_what_is_measured_goes_before_a_release_that_only_came_shortly_before() -> None:
    busy = tuple(usage(number, 0.99) for number in (1, 2, 3))
    here = released()
    pods = tuple(pod(number, of=here) for number in (1, 2, 3))
    seen = look(looked=here, traffic=traffic(errors=0.4), usage=busy, pods=pods)
    found = diagnose(seen, LIMITS)
    assert found[0].code == "api.resource-constrained"
