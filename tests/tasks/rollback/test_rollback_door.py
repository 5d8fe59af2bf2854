"""A rollback goes through the one door, once, to the planned revision, and back if it fails."""

import os
import signal
import subprocess
import sys

import pytest

from deployments.lab.environment import PROJECT
from deployments.lab.kubernetes.manifests import API, BUSYBOX, MISSING, Release
from deployments.lab.kubernetes.misbehaviour import Trouble
from tasks.clients.errors import Denied, Transient
from tasks.domain.errors import NotApproved, PlanStale
from tasks.domain.rollback_plan import RETURN, UNDO, planned_in, way_back
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.rollout_history import CannotUndo, Why
from tasks.settings import settings
from tasks.work import rollbacks
from tests.tasks.passing import steps
from tests.tasks.rollback.releases import TARGET, Releases

pytestmark = pytest.mark.components

WISH = RollbackWish(TARGET, "", "rosa")
OLD, NOW = "registry.local/rlhf-audit-trail:1.4.1", "registry.local/rlhf-audit-trail:1.4.2"


def test_an_approved_undo_brings_back_what_serves_and_is_not_made_twice(broken: Releases) -> None:
    plan = broken.approved()
    assert broken.images == (MISSING,)
    done = broken.carry_out(plan)
    assert (done["done"], done["progress"], done["sent"]) == (True, "done", True)
    assert broken.images == (BUSYBOX,)
    assert rollbacks.effect(broken.site, plan).gone
    assert steps(plan.incident) == [("step started", UNDO), ("step done", UNDO)]
    assert broken.carry_out(plan) == done  # once more, by another run
    assert len(broken.patches) == 1


def test_the_dry_run_shows_what_the_server_says_and_keeps_nothing(broken: Releases) -> None:
    plan = broken.planned()
    lines = rollbacks.dry_run(broken.site, planned_in(plan))
    assert lines[0].startswith(f"the API server would take the patch of {TARGET} from revision 3")
    assert lines[1] == "replicas stay at 3"
    assert broken.patches == []
    assert broken.images == (MISSING,)


def test_without_a_yes_nothing_is_patched(broken: Releases) -> None:
    plan = broken.planned()
    with pytest.raises(NotApproved):
        broken.carry_out(plan)
    assert broken.patches == []


def test_replicas_that_were_changed_since_the_plan_stay_as_they_are(broken: Releases) -> None:
    plan = broken.approved()
    broken.cluster.change("deployments", API, {"spec": {"replicas": 5}}, "horizontal-autoscaler")
    broken.carry_out(plan)
    assert broken.images == (BUSYBOX,)
    assert broken.cluster.get("deployments", API)["spec"]["replicas"] == 5


STALE = {
    "paused": {"spec": {"paused": True}},
    "another release": {
        "spec": {"template": {"spec": {"containers": [{"name": "api", "image": "other:1"}]}}}
    },
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE)
def test_what_people_did_before_the_yes_makes_the_plan_stale_and_nothing_is_patched(
    broken: Releases, change: dict[str, object]
) -> None:
    plan = broken.approved()
    broken.cluster.change("deployments", API, change)
    with pytest.raises(PlanStale):
        broken.carry_out(plan)
    assert broken.patches == []
    assert steps(plan.incident) == []


def test_a_person_who_was_quicker_leaves_nothing_to_do(broken: Releases) -> None:
    plan = broken.approved()
    broken.cluster.release(Release(BUSYBOX, {"RELEASE": "1.4.1"}))
    with pytest.raises(PlanStale, match="somebody has rolled it back meanwhile"):
        broken.carry_out(plan)
    assert broken.patches == []


def test_a_conflict_is_looked_at_anew_and_too_many_of_them_end_it(broken: Releases) -> None:
    plan = broken.approved()
    broken.cluster.misbehave(Trouble.FAILS, "PATCH", code=409, times=2)
    assert broken.carry_out(plan)["done"]
    broken.cluster.recover_api()
    other = broken.planned(RollbackWish(TARGET, _holder(broken, MISSING), "rosa"))
    broken.cluster.misbehave(Trouble.FAILS, "PATCH", code=409)
    with pytest.raises(PlanStale, match="somebody else is at work on it"):
        rollbacks.dry_run(broken.site, planned_in(other))


def test_a_missing_grant_is_named_before_anybody_approves(broken: Releases) -> None:
    plan = broken.planned()
    broken.without("remediate", "patch", "deployments")
    with pytest.raises(Denied, match="the verb patch on deployments of API group apps named rlhf"):
        rollbacks.dry_run(broken.site, planned_in(plan))


def test_a_patch_whose_answer_never_came_is_found_to_be_there(broken: Releases) -> None:
    plan = broken.approved()
    broken.cluster.misbehave(Trouble.HALF, "PATCH", times=1)
    with pytest.raises(Exception, match="deployments") as lost:
        broken.carry_out(plan)
    assert isinstance(lost.value, Transient)
    assert broken.images == (BUSYBOX,)
    done = broken.carry_out(plan)
    assert (done["sent"], done["done"]) == (False, True)
    assert len(broken.patches) == 1


def test_a_release_that_answers_but_is_bad_is_left_for_one_that_was_seen_healthy(
    serving: Releases,
) -> None:
    found = way_back(serving.look())
    assert isinstance(found, CannotUndo)
    assert found.why is Why.NO_EVIDENCE
    serving.saw(1)
    serving.saw(2)
    plan = serving.approved(WISH)
    assert serving.carry_out(plan)["done"]
    assert serving.images == (OLD,)
    # It was seen healthy as well, once, but we have rolled it back: that is no way back.
    serving.saw(4)
    again = way_back(serving.look())
    assert not isinstance(again, CannotUndo)
    assert again.good.images == ("registry.local/rlhf-audit-trail:1.4.0",)


def test_a_rollback_that_cannot_start_is_returned_from(serving: Releases) -> None:
    serving.saw(2)
    plan = serving.approved(WISH)
    serving.cluster.image_is_missing(OLD)
    serving.cluster.change("deployments", API, {"spec": {"progressDeadlineSeconds": 1}})
    done = serving.carry_out(plan)
    assert (done["done"], done["progress"]) == (False, "failed")
    assert "no progress within 1 s" in done["text"]
    effect = rollbacks.effect(serving.site, plan)
    assert not effect.gone
    back = serving.carry_out(plan, RETURN)
    assert (back["done"], back["sent"]) == (True, True)
    assert serving.images == (NOW,)
    assert len(serving.patches) == 2
    # What failed once is no way back any more, and the release is blamed no longer.
    against = {each.holder for each in serving.look().evidence if each.worth == "failed"}
    assert against == {planned_in(plan).good.holder}


def test_a_rollback_that_takes_too_long_is_a_result_and_no_error(
    serving: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.saw(2)
    plan = serving.approved(WISH)
    serving.cluster.not_ready(API)
    monkeypatch.setenv("RUNBOOK_ROLLBACK__SECONDS", "2")
    settings.cache_clear()
    done = serving.carry_out(plan)
    assert (done["done"], done["progress"]) == (False, "updating")
    assert "not finished within 2 s" in done["text"]


@pytest.mark.parametrize("step", [UNDO, pytest.param(RETURN, marks=pytest.mark.slow)])
def test_a_run_that_dies_between_the_patch_and_its_record_is_finished_by_the_next(
    broken: Releases, step: str
) -> None:
    plan = broken.approved()
    if step == RETURN:
        broken.carry_out(plan)
    before = len(broken.patches)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.tasks.rollback.killed_undo", plan.incident, step],
        cwd=PROJECT,
        env=os.environ | {"RUNBOOK_ROLLBACK__RETURN_SECONDS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert steps(plan.incident)[-1] == ("step started", step)
    expected = (BUSYBOX,) if step == UNDO else (MISSING,)
    assert broken.images == expected
    done = broken.carry_out(plan, step)
    assert done["sent"] is False  # the dead run's patch is the only one
    assert broken.images == expected
    assert len(broken.patches) == before + 1
    assert steps(plan.incident)[-1] == ("step done", step)


def test_after_a_kill_a_person_who_went_on_is_not_overruled(broken: Releases) -> None:
    plan = broken.approved()
    broken.cluster.misbehave(Trouble.HALF, "PATCH", times=1)
    with pytest.raises(Transient):
        broken.carry_out(plan)
    assert broken.images == (BUSYBOX,)
    broken.cluster.release(Release(MISSING, {"RELEASE": "1.4.1"}))  # they want the other one
    broken.cluster.advance(2)
    with pytest.raises(PlanStale, match="or this one once more"):
        broken.carry_out(plan)
    assert broken.images == (MISSING,)
    assert len(broken.patches) == 1


def _holder(releases: Releases, image: str) -> str:
    return next(each.holder for each in releases.look().revisions if image in each.images)
