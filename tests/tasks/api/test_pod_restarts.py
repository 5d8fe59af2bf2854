"""Pods are restarted through the one door: one by one, within budgets, by uid, once."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from deployments.lab.environment import PROJECT
from deployments.lab.kubernetes.manifests import API
from deployments.lab.kubernetes.misbehaviour import Trouble
from tasks.domain.errors import NotApproved, PlanStale
from tasks.domain.restart_plan import RESTART, restart_in
from tasks.work import pod_restarts
from tests.tasks.api.restarts import TARGET, Restarts
from tests.tasks.passing import steps

pytestmark = pytest.mark.components


def test_an_unready_pod_is_evicted_once_and_its_successor_waited_for(restarts: Restarts) -> None:
    (bad,) = restarts.fail(1)
    others = [name for name in restarts.names if name != bad]
    plan = restarts.approved()
    done = restarts.carry_out(plan)
    assert (done["restarted"], done["stopped"]) == ([bad], "")
    assert (restarts.evicted, restarts.ready) == ([bad], 3)
    assert set(others) < set(restarts.names)
    assert steps(plan.incident) == [("step started", RESTART), ("step done", RESTART)]
    assert restarts.carry_out(plan) == done  # once more, by another run
    assert restarts.evicted == [bad]


def test_several_go_one_after_the_other_and_never_two_at_once(restarts: Restarts) -> None:
    bad = restarts.fail(0, 2)
    plan = restarts.approved()
    ready: list[int] = []
    pod_restarts.carry_out(restarts.site, restart_in(plan), lambda: ready.append(restarts.ready))
    assert restarts.evicted == bad
    assert ready == [1, 2]  # at each eviction
    assert restarts.ready == 3


def test_the_first_whose_successor_does_not_serve_ends_it(restarts: Restarts) -> None:
    bad = restarts.fail(0, 1)
    plan = restarts.approved()
    restarts.cluster.not_ready(f"{API}-*")
    done = restarts.carry_out(plan, ready_seconds=2.0)
    assert done["restarted"] == bad[:1]
    assert "1 successors do not serve yet" in done["stopped"]
    assert restarts.evicted == bad[:1]


def test_without_a_yes_no_pod_goes(restarts: Restarts) -> None:
    restarts.fail(1)
    plan = restarts.planned()
    with pytest.raises(NotApproved):
        restarts.carry_out(plan)
    assert restarts.evicted == []


def test_a_pod_that_got_ready_before_the_yes_makes_the_plan_stale(restarts: Restarts) -> None:
    (bad,) = restarts.fail(1)
    plan = restarts.approved()
    restarts.cluster.recover(bad)
    restarts.until(lambda: restarts.ready == 3)
    with pytest.raises(PlanStale):
        restarts.carry_out(plan)
    assert (restarts.evicted, steps(plan.incident)) == ([], [])


def test_of_two_planned_pods_the_one_that_got_ready_is_left_alone(restarts: Restarts) -> None:
    first, second = restarts.fail(0, 1)
    plan = restarts.approved()
    restarts.cluster.recover(first)
    restarts.until(lambda: restarts.ready == 2)
    done = restarts.carry_out(plan)
    assert (done["left_alone"], done["restarted"]) == ([first], [second])
    assert restarts.evicted == [second]


def test_a_release_that_came_in_between_makes_the_plan_stale(restarts: Restarts) -> None:
    restarts.fail(1)
    plan = restarts.approved()
    restarts.cluster.change(
        "deployments",
        API,
        {"spec": {"template": {"spec": {"containers": [{"name": "api", "image": "other:1"}]}}}},
    )
    with pytest.raises(PlanStale, match="another template"):
        restarts.carry_out(plan)
    assert restarts.evicted == []


def test_a_budget_that_allows_none_is_waited_for_and_then_left_alone(restarts: Restarts) -> None:
    plan = restarts.approved(asked=restarts.names[:1])
    restarts.budget(3)
    (line,) = pod_restarts.would_be_taken(restarts.site, restart_in(plan))
    assert "its disruption budget is spent" in line
    done = restarts.carry_out(plan, ready_seconds=1.0)
    assert done["restarted"] == []
    assert "allows none now" in done["stopped"]
    assert (restarts.evicted, restarts.ready) == ([], 3)


def test_where_no_unready_pod_may_go_all_are_rolled_out_once_more(restarts: Restarts) -> None:
    before = restarts.names
    restarts.budget(2)
    restarts.fail(0, 1, 2)
    plan = restarts.approved()
    assert restart_in(plan).rolled_at
    lines = pod_restarts.would_be_taken(restarts.site, restart_in(plan))
    assert lines == [f"the API server would roll {TARGET} out once more"]
    assert restarts.names == before
    done = restarts.carry_out(plan)
    assert done["stopped"] == ""
    assert not set(before) & set(restarts.names)
    assert (restarts.ready, restarts.evicted) == (3, [])
    generation = restarts.cluster.get("deployments", API)["metadata"]["generation"]
    pod_restarts.carry_out(restarts.site, restart_in(plan), lambda: None)
    assert restarts.cluster.get("deployments", API)["metadata"]["generation"] == generation


def test_an_eviction_whose_answer_never_came_is_found_to_be_done(restarts: Restarts) -> None:
    (bad,) = restarts.fail(1)
    plan = restarts.approved()
    restarts.cluster.misbehave(Trouble.HALF, "/eviction", times=1)
    done = restarts.carry_out(plan)
    assert done["restarted"] + done["gone_before"] == [bad]
    assert restarts.evicted == [bad]


def test_a_missing_grant_is_named_before_anybody_approves(restarts: Restarts) -> None:
    restarts.fail(1)
    plan = restarts.planned()
    diagnose = restarts.cluster.service.accounts[restarts.cluster.tokens["diagnose"]]
    restarts.cluster.grant("remediate", diagnose)
    (line,) = pod_restarts.would_be_taken(restarts.site, restart_in(plan))
    assert "the verb create on pods/eviction" in line


@pytest.mark.slow
@pytest.mark.parametrize("changes", [0, 1, 2])
def test_a_run_that_dies_anywhere_is_finished_by_the_next_and_no_pod_goes_twice(
    restarts: Restarts, changes: int
) -> None:
    bad = restarts.fail(0, 1)
    plan = restarts.approved()
    died = subprocess.run(
        [sys.executable, "-m", "tests.tasks.api.killed_restart", plan.incident, str(changes)],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    assert restarts.evicted == bad[:changes]
    done = restarts.carry_out(plan)
    assert sorted(done["restarted"] + done["gone_before"]) == sorted(bad)
    assert sorted(restarts.evicted) == sorted(bad)
    assert restarts.ready == 3


def test_plans_that_restarted_pods_within_the_hour_are_counted_by_plan(restarts: Restarts) -> None:
    restarts.fail(1)
    plan = restarts.approved()
    now = datetime.now(UTC)
    before = pod_restarts.attempts_lately(TARGET, "", now)
    restarts.carry_out(plan)
    now = datetime.now(UTC)
    assert pod_restarts.attempts_lately(TARGET, "", now) == before + 1
    assert pod_restarts.attempts_lately(TARGET, plan.hash, now) == before
    assert pod_restarts.attempts_lately("deployment/other", "", now) == 0
