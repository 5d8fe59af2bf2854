"""The diagnosis of Redis: what is seen on one side, what is wrong and what is restarted beside."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.cache_diagnosis import RESTART_CACHE, CacheLimits, diagnose
from tasks.domain.cache_plan import (
    dry_run,
    fits,
    plan_cache_remedy,
    planned_instance,
    target_of,
    why_manual,
)
from tasks.domain.cache_readings import CacheReadings, CacheState, LastCounted, Rates
from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.inside import Answer, Inside
from tasks.domain.instance_restart import Instance, InstanceKey
from tasks.domain.mending import BY_PEOPLE, to_mend
from tests.domain.database_instances import instance
from tests.domain.database_sessions import NOW, ago

LIMITS = CacheLimits()
SILENT = Inside(Answer.SILENT, "redis-cli ping: no answer")
MIB = 1 << 20
WELL = CacheState(
    version="8.0.1",
    role="master",
    replica_linked=False,
    loading=False,
    clients=20,
    max_clients=10_000,
    rejected=0,
    used_memory=20 * MIB,
    max_memory=64 * MIB,
    policy="noeviction",
    evicted=0,
    oom=0,
    misconf=0,
    keys=120,
    bgsave="ok",
    saved_at=ago(60),
    changes=12,
    saves=True,
    aof=False,
    aof_write="ok",
    aof_rewrite="ok",
)


def redis(**changes: Any) -> Instance:
    known = {"name": "redis-0", "owner": "StatefulSet/redis", "claim": ""}
    return instance(**(known | changes))


def seen(rates: Rates = Rates(), **changes: Any) -> CacheReadings:  # noqa: B008  frozen
    return CacheReadings(NOW, state=replace(WELL, **changes), rates=rates)


def away(**changes: Any) -> CacheReadings:
    known: dict[str, Any] = {"inside": SILENT, "instance": redis()}
    return CacheReadings(NOW, unreachable="TimeoutError", **(known | changes))


def first(found: CacheReadings) -> Cause:
    return diagnose(found, LIMITS)[0]


# A server that answers


def test_a_server_without_a_fault_has_no_cause() -> None:
    assert diagnose(seen(), LIMITS) == ()
    assert diagnose(seen(max_memory=0, max_clients=0, policy="", role=""), LIMITS) == ()


@pytest.mark.parametrize(
    ("found", "code", "confidence", "said"),
    [
        (seen(used_memory=61 * MIB), "cache.memory-full", Confidence.PROVEN, "refuses writes"),
        (seen(Rates(oom=3.0)), "cache.memory-full", Confidence.PROVEN, "20 of 64 MiB"),
        (
            seen(Rates(evicted=40.0), used_memory=63 * MIB, policy="allkeys-lru"),
            "cache.evicting",
            Confidence.LIKELY,
            "queued tasks may be among them",
        ),
        (
            seen(bgsave="err", changes=5000, saved_at=ago(7200)),
            "cache.persistence-failing",
            Confidence.PROVEN,
            "5,000 changes since the last save 120 min ago",
        ),
        (
            seen(aof=True, aof_write="err"),
            "cache.persistence-failing",
            Confidence.PROVEN,
            "append-only file: err",
        ),
        (seen(clients=9500), "cache.clients-exhausted", Confidence.LIKELY, "9,500 of 10,000"),
        (
            seen(Rates(rejected=1.0)),
            "cache.clients-exhausted",
            Confidence.PROVEN,
            "a client leaks them",
        ),
        (seen(role="slave"), "cache.is-replica", Confidence.LIKELY, "cut off from its primary"),
        (seen(loading=True), "cache.starting", Confidence.PROVEN, "answers nobody"),
    ],
)
def test_what_a_restart_would_only_make_worse_is_said_and_left_to_people(
    found: CacheReadings, code: str, confidence: Confidence, said: str
) -> None:
    cause = first(found)
    assert (cause.code, cause.confidence, cause.remedy) == (code, confidence, None)
    assert said in cause.summary
    assert why_manual(cause) != BY_PEOPLE
    assert to_mend(diagnose(found, LIMITS)) is None


def test_a_server_that_answers_and_a_pod_that_does_not_are_perhaps_not_the_same() -> None:
    found = first(replace(seen(), inside=SILENT))
    assert (found.code, found.confidence) == ("cache.answers-disagree", Confidence.POSSIBLE)
    assert "RUNBOOK_CACHE__POD" in found.summary


def test_a_full_memory_that_throws_nothing_away_now_is_no_trouble() -> None:
    assert diagnose(seen(used_memory=64 * MIB, policy="allkeys-lru"), LIMITS) == ()
    assert diagnose(seen(aof=False, aof_write="err"), LIMITS) == ()


# A server that does not


def test_a_server_that_is_silent_inside_too_is_restarted_and_the_plan_says_what_goes_with_it() -> (
    None
):
    found = first(away(counted=LastCounted(queued=1200)))
    assert (found.code, found.confidence) == ("cache.unreachable", Confidence.PROVEN)
    plan = plan_cache_remedy("INC-1", found, NOW + timedelta(hours=1))
    (step,) = plan.steps
    assert (step.step, target_of(plan)) == (RESTART_CACHE, "statefulset/redis")
    assert "all keys, queued and unfinished tasks among them" in plan.will_be_lost
    assert "1,200 queued tasks when last counted" in plan.will_be_lost
    assert planned_instance(plan) == InstanceKey("redis-0", "u-1", "StatefulSet/redis")
    assert not plan.destroys_nothing
    assert "would evict the pod" in dry_run((found,), {})[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instance": redis(claim="data-redis-0")}, "since its last save"),
        (
            {"instance": redis(claim="data-redis-0"), "counted": LastCounted(None, 77)},
            "(77 changes when last counted)",
        ),
        ({"instance": redis(runs=False)}, "gone already with its process"),
    ],
)
def test_what_is_lost_is_what_its_pod_does_not_keep(changes: dict[str, Any], said: str) -> None:
    remedy = first(away(**changes)).remedy
    assert remedy is not None
    assert said in remedy.destroys


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (
            {"inside": Inside(Answer.READY, "PONG")},
            "cache.unreachable-from-outside",
            "network policies",
        ),
        ({"inside": Inside(Answer.BUSY, "LOADING")}, "cache.starting", "loads its data"),
        (
            {"inside": Inside(Answer.BUSY, "ERR max number of clients reached")},
            "cache.clients-exhausted",
            "no more connections",
        ),
        ({"inside": Inside(Answer.UNKNOWN, "grant exec")}, "cache.unreachable", "grant exec"),
        ({"instance": None}, "cache.unreachable", "set RUNBOOK_CACHE__POD"),
        ({"instance": Unread("grant get on pods")}, "cache.unreachable", "grant get on pods"),
        ({"instance": redis(refusal="no controller")}, "cache.unreachable", "no controller"),
    ],
)
def test_nothing_else_is_restarted_and_the_reason_is_said(
    changes: dict[str, Any], code: str, said: str
) -> None:
    found = first(away(**changes))
    assert (found.code, found.remedy) == (code, None)
    assert said in found.summary


def test_a_pod_that_was_killed_for_its_memory_is_named_beside() -> None:
    codes = {each.code: each for each in diagnose(away(instance=redis(out_of_memory=True)), LIMITS)}
    assert codes["cache.out-of-memory"].confidence is Confidence.LIKELY
    assert codes["cache.unreachable"].remedy is not None
    well = replace(seen(), instance=redis(out_of_memory=True))
    assert first(well).confidence is Confidence.POSSIBLE


def test_a_server_that_refuses_us_has_no_cause_and_is_unread() -> None:
    refused = CacheReadings(NOW, state=Unread("expected our password to be accepted"))
    assert diagnose(refused, LIMITS) == ()
    assert refused.unread() == {"state": "expected our password to be accepted"}


# The plan


def test_a_plan_fits_only_the_pod_that_is_still_silent() -> None:
    plan = plan_cache_remedy("INC-1", first(away()), NOW + timedelta(hours=1))
    assert fits(plan, diagnose(away(), LIMITS)) == dict(plan.observed)
    for later in (
        seen(),
        away(instance=redis(uid="u-2")),
        away(inside=Inside(Answer.READY, "PONG")),
    ):
        assert fits(plan, diagnose(later, LIMITS)) != dict(plan.observed)


def test_without_a_remedy_or_a_plan_of_ours_there_is_nothing_to_carry_out() -> None:
    with pytest.raises(BadInput):
        plan_cache_remedy("INC-1", first(seen(bgsave="err")), NOW)
    plan = plan_cache_remedy("INC-1", first(away()), NOW)
    for other in (None, replace(plan, procedure="database"), replace(plan, steps=())):
        with pytest.raises(PlanStale):
            planned_instance(other)
