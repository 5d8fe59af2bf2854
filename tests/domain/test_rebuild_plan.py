"""What a plan to rebuild names, when it still fits, and what its end leaves to be done."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Checkpoint
from tasks.domain.log_rebuild import MAX_RUNS, Consistency, Damaged, Mode, StoredTree, Survey, Why
from tasks.domain.plan import Plan
from tasks.domain.rebuild_plan import (
    REBUILD,
    changed_so_far,
    dry_run,
    has_failed_for_good,
    needs_restore,
    plan_log_rebuild,
    planned_mode,
    planned_objects,
    rebuilds,
    still_fits,
    without_what_lies_beside,
)
from tasks.domain.recovery_plan import SWAP

AT = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
INCIDENT = "INC-20260314-030000-aaaa"
HEAD = Checkpoint("audit.example/lab", 10_000_000, bytes(32))
LOST = {"verdict": "tampered", "altered": 3, "missing": 0}


def survey(*paths: str, why: Why = Why.WRONG, kept: bool = True) -> Survey:
    objects = tuple(Damaged(path, why, "the signed leaves") for path in paths)
    found = StoredTree(1, bytes(32))
    return Survey(HEAD, found, Consistency.CONSISTENT, objects=objects, versions_kept=kept)


def planned(found: Survey) -> Plan:
    return plan_log_rebuild(INCIDENT, found, AT + timedelta(hours=1))


def state(*facts: tuple[FactKind, dict[str, Any]], diagnosis: Any = None) -> Incident:
    made = [Fact(at, INCIDENT, AT, kind, "x", data) for at, (kind, data) in enumerate(facts, 1)]
    return replace(Incident(INCIDENT), facts=tuple(made), diagnosis=diagnosis)


def done(step: str, **result: Any) -> tuple[FactKind, dict[str, Any]]:
    return FactKind.STEP_DONE, {"step": step, "result": result}


def test_a_plan_fits_what_it_names_and_less_but_not_more() -> None:
    plan = planned(survey("tile/0/001", "tile/0/002", "checkpoints/5"))
    assert planned_objects(plan) == ("checkpoints/5", "tile/0/001..tile/0/002")
    assert still_fits(plan, survey("tile/0/002"))
    assert still_fits(plan, survey())
    assert not still_fits(plan, survey("tile/0/001", "tile/0/003"))


def test_a_plan_to_write_over_does_not_fit_a_place_that_keeps_nothing() -> None:
    plan = planned(survey("tile/0/001"))
    assert planned_mode(plan) is Mode.IN_PLACE
    assert not still_fits(plan, survey("tile/0/001", kept=False))
    with pytest.raises(BadInput, match="mode"):
        planned_mode(replace(plan, observed={"objects": []}))


def test_a_plan_for_a_tree_that_agreed_does_not_fit_a_forged_one() -> None:
    found = survey("tile/0/001")
    plan = planned(found)
    forged = replace(found, consistency=Consistency.INCONSISTENT)
    assert not still_fits(plan, forged)
    assert still_fits(planned(forged), forged)
    assert still_fits(planned(forged), found), "a part of it was put back already"
    older = dict(plan.observed)
    del older["consistency"]
    assert not still_fits(replace(plan, observed=older), forged)


def test_of_more_than_an_order_may_name_the_first_are_planned_and_fit() -> None:
    every = [f"checkpoints/{at * 1000 + 1}" for at in range(MAX_RUNS + 500)]
    found = survey(*every)
    plan = planned(found)
    assert len(planned_objects(plan)) == MAX_RUNS
    assert f"the first {MAX_RUNS} of {MAX_RUNS + 500} objects" in plan.summary
    assert still_fits(plan, found)
    assert not still_fits(plan, survey(*every, "tile/0/001"))
    rest = survey(*(each for each in every if each not in planned_objects(plan)))
    assert still_fits(planned(rest), rest)


def test_what_lies_beside_already_is_not_planned_again() -> None:
    found = survey("tile/0/001", "tile/0/002", kept=False)
    left = without_what_lies_beside(found, ["tile/0/001..tile/0/001"])
    assert [one.path for one in left.objects] == ["tile/0/002"]
    assert "put back: 1" in dry_run(left)[1]
    kept = replace(found, versions_kept=True)
    assert without_what_lies_beside(kept, ["tile/0/001"]) == kept
    gone = survey("tile/0/001", why=Why.MISSING, kept=False)
    assert without_what_lies_beside(gone, ["tile/0/001"]) == gone


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([], "nothing was changed"),
        ([done(SWAP)], "the database was restored; what this plan names was not put back"),
        (
            [done(REBUILD, put_back=4), done(SWAP)],
            (
                "the database was restored and 4 objects of its proof were put back by an earlier "
                "plan; what this plan names was not put back"
            ),
        ),
    ],
)
def test_the_end_of_a_plan_says_what_earlier_ones_have_changed(
    facts: Sequence[tuple[FactKind, dict[str, Any]]], said: str
) -> None:
    assert changed_so_far(state(*facts)) == said


def test_lost_records_need_a_restore_until_one_is_in_service() -> None:
    assert needs_restore(state(diagnosis=LOST))
    assert not needs_restore(state(done(SWAP), diagnosis=LOST))
    assert not needs_restore(state(diagnosis=LOST | {"altered": 0}))
    assert not needs_restore(state(diagnosis=None))
    assert [each["put_back"] for each in rebuilds(state(done(REBUILD, put_back=4)))] == [4]


def test_a_sealer_that_is_away_is_waited_for_and_one_that_cannot_is_not() -> None:
    failed = (FactKind.STEP_FAILED, {"step": REBUILD, "error": "away"})
    assert has_failed_for_good(state(failed), transient=False)
    assert not has_failed_for_good(state(*[failed] * 3), transient=True)
    assert has_failed_for_good(state(*[failed] * 4), transient=True)
