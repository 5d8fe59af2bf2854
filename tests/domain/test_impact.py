"""User impact from Prometheus's answers, and the runbook's rule about performance."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.impact import Impact, Questions, estimate
from tasks.domain.observation import Health, Observation
from tasks.domain.severity import (
    IMPACT,
    Severity,
    assess_errors,
    assess_impact,
    assess_performance,
)

NAMES = (
    "requests",
    "errors",
    "users",
    "p50_seconds",
    "p95_seconds",
    "p99_seconds",
    "baseline_requests",
    "baseline_p95_seconds",
)


def healthy(**other: object) -> dict[str, tuple[float, ...]]:
    answers = {
        "requests": (10.0,),
        "errors": (),
        "users": (40.0,),
        "p50_seconds": (0.02,),
        "p95_seconds": (0.2,),
        "p99_seconds": (0.3,),
        "baseline_requests": (10.0,),
        "baseline_p95_seconds": (0.2,),
    }
    return answers | {name: value for name, value in other.items() if value is not None}  # type: ignore[dict-item]  # no None is left


def told(answers: dict[str, tuple[float, ...]], noticeable: float = 0.05) -> Impact:
    return estimate(answers, window=300, baseline=3600, noticeable_seconds=noticeable)


def test_failing_requests_are_the_rate_times_the_share_of_errors() -> None:
    found = told(healthy(errors=(2.5,)))
    assert (found.error_share, found.failing) == (0.25, 2.5)
    assert found.users_affected == 10
    assert found.health is Health.DEGRADED
    assert found.summary == "25.0% of 10 requests/s fail, about 10 of 40 users, p95 200 ms"


def test_no_series_of_a_server_error_means_that_none_failed_yet() -> None:
    found = told(healthy())
    assert (found.error_share, found.users_affected, found.health) == (0.0, 0.0, Health.HEALTHY)


def test_without_requests_nothing_is_said_about_errors_and_traffic_that_vanished_is_trouble() -> (
    None
):
    quiet = told(healthy(requests=(0.0,), baseline_requests=(0.0,)))
    assert (quiet.error_share, quiet.vanished, quiet.health) == (None, False, Health.HEALTHY)
    gone = told(healthy(requests=(0.0,)))
    assert (gone.vanished, gone.health) == (True, Health.DEGRADED)
    assert "no requests arrive" in gone.summary


@pytest.mark.parametrize(
    "answer", [(), (math.nan,), (math.inf,), (-math.inf,), (-1.0,), (1.0, 2.0)]
)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_is_unknown_with_its_reason_and_never_zero(
    name: str, answer: tuple[float, ...]
) -> None:
    found = told(healthy(**{name: answer}))
    data = json.dumps(found.as_json(), allow_nan=False)
    assert found.summary
    if name == "errors" and answer == ():
        return  # the one absence that is an answer
    shown = "error_share" if name == "errors" else name
    assert shown in found.unknown, data
    if name == "requests":
        assert (found.health, found.requests) == (Health.UNKNOWN, None)


def test_no_answer_at_all_is_unknown() -> None:
    found = told({})
    assert found.health is Health.UNKNOWN
    assert found.summary == "user impact unknown: no query is configured"
    assert set(found.unknown) >= {"requests", "error_share", "users", "slower"}


def test_users_without_a_metric_are_unknown() -> None:
    answers = healthy(errors=(2.5,))
    del answers["users"]
    assert "users unknown" in told(answers).summary


def test_more_errors_than_requests_are_all_of_them() -> None:
    assert told(healthy(errors=(11.0,))).error_share == 1.0


@pytest.mark.parametrize(
    ("now", "before", "slower", "severity"),
    [
        (0.3, 0.2, 0.5, Severity.P1),  # exactly half: 0.3 / 0.2 - 1 is a little less in binary
        (0.299, 0.2, 0.495, Severity.P2),
        (0.301, 0.2, 0.505, Severity.P1),
        (2.0, 0.2, 9.0, Severity.P1),
        (0.26, 0.2, 0.3, Severity.P2),
    ],
)
def test_half_as_slow_again_is_p1_and_less_is_p2(
    now: float, before: float, slower: float, severity: Severity
) -> None:
    found = told(healthy(p95_seconds=(now,), baseline_p95_seconds=(before,)))
    assert found.slower == pytest.approx(slower)
    assert found.slower is not None
    assessed = assess_performance(found.slower)
    assert assessed is not None
    assert (assessed.severity, assessed.rule) == (
        severity,
        f"class.{severity.lower()}.performance",
    )


@pytest.mark.parametrize(
    "other",
    [
        {"p95_seconds": (0.24,)},  # twenty per cent, of 40 ms: nobody notices
        {"requests": (0.05,), "p95_seconds": (9.0,)},  # fifteen requests
        {"baseline_requests": (0.005,), "p95_seconds": (9.0,)},
        {"baseline_p95_seconds": (0.0,), "p95_seconds": (9.0,)},
    ],
)
def test_chance_and_what_nobody_notices_is_no_degradation(other: dict[str, object]) -> None:
    found = told(healthy(**other))
    assert found.slower is None
    assert "slower" in found.unknown


@pytest.mark.parametrize("slower", [0.0, -0.3, math.nan, math.inf, -math.inf])
def test_faster_or_no_number_justifies_nothing(slower: float) -> None:
    assert assess_performance(slower) is None


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_the_limit_between_p1_and_p2_is_half(slower: float) -> None:
    found = assess_performance(slower)
    assert found is not None
    assert found.severity is (Severity.P1 if slower >= 0.5 else Severity.P2)


def test_errors_that_reach_several_users_are_p1_and_those_of_one_user_are_not() -> None:
    found = assess_errors(0.05)
    assert found is not None
    assert (found.severity, found.rule) == (Severity.P1, "class.p1.api-errors")
    assert assess_errors(0.049) is None
    assert assess_errors(0.5, users=1) is None
    assert assess_errors(math.nan) is None


def seen(step: str = IMPACT, **evidence: object) -> Observation:
    return Observation(step, "api", Health.DEGRADED, "", 0.1, dict(evidence))


def test_severity_reads_the_estimate_and_takes_the_worse_of_errors_and_latency() -> None:
    found = assess_impact([seen(slower=0.2, error_share=0.3)])
    assert found is not None
    assert found.rule == "class.p1.api-errors"
    slow = assess_impact([seen(slower=0.2, error_share=0.0)])
    assert slow is not None
    assert slow.rule == "class.p2.performance"
    assert assess_impact([seen("triage.api-health", slower=9.0)]) is None


@pytest.mark.parametrize("value", [None, "9", True, [], {}])
def test_an_estimate_that_is_no_number_raises_nothing(value: object) -> None:
    assert assess_impact([seen(slower=value, error_share=value)]) is None


def test_the_questions_name_the_operators_own_series_and_a_baseline_before_the_onset() -> None:
    asked = Questions("reqs", "secs", "code", 'job="x"', "count(users)", 60, 600, 90).as_promql()
    assert asked["requests"] == 'sum(rate(reqs{job="x"}[60s]))'
    assert asked["errors"] == 'sum(rate(reqs{job="x",code=~"5.."}[60s]))'
    assert asked["baseline_p95_seconds"] == (
        'histogram_quantile(0.95, sum by (le) (rate(secs_bucket{job="x"}[600s] offset 150s)))'
    )
    assert asked["users"] == "count(users)"
    bare = Questions("reqs", "secs", "code", "", "", 60, 600, 0).as_promql()
    assert bare["errors"] == 'sum(rate(reqs{code=~"5.."}[60s]))'
    assert "users" not in bare


def test_every_question_has_its_place_in_the_estimate() -> None:
    asked = Questions("r", "d", "s", "", "u", 60, 600, 0).as_promql()
    assert set(asked) == set(NAMES)
