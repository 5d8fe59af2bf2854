"""A plan that must not be carried out: denied, expired, held, or no longer true."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.patient import DATABASE
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work import incidents, journal
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

_TARGET = f"database/{DATABASE}"


@pytest.mark.slow
def test_a_denied_plan_changes_nothing_and_the_next_run_makes_another(
    responding: Responding,
) -> None:
    responding.damage()
    before = responding.production()
    name = responding.alert()
    denied = responding.plan(name)
    responding.decide(name, denied, "deny")
    responding.until_note(name, "denied")
    responding.until_idle(name)
    assert responding.production() == before
    assert journal.read(name).stage is Stage.OPEN

    responding.run_again(name)
    state = journal.read(name)
    assert state.stage is Stage.AWAITING_APPROVAL
    assert state.plan_hash != denied
    assert not state.steps
    assert responding.production() == before


@pytest.mark.slow
def test_an_expired_plan_changes_nothing_and_the_next_run_makes_another(
    responding: Responding,
) -> None:
    responding.damage()
    before = responding.production()
    name = responding.alert()
    responding.plan(name)
    short = _replan(name, expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    responding.until_note(name, "expired")
    responding.until_idle(name)
    assert responding.production() == before
    state = journal.read(name)
    assert (state.stage, state.steps) == (Stage.OPEN, {})

    responding.run_again(name)
    state = journal.read(name)
    assert state.stage is Stage.AWAITING_APPROVAL
    assert state.plan_hash != short
    assert responding.production() == before


@pytest.mark.slow
def test_a_hold_without_sealed_evidence_refuses_the_change_until_it_is_lifted(
    responding: Responding,
) -> None:
    responding.damage()
    before = responding.production()
    name = responding.alert()
    plan = responding.plan(name)
    other = incidents.declare("a breach?", "security", "breach", by="anna", starts_run=False)
    hold = {"scope": _TARGET, "reason": "a suspected breach", "review_at": "", "needs": "evidence"}
    journal.append(other, FactKind.HOLD_SET, hold, actor="anna")

    responding.decide(name, plan, "approve")
    responding.until_note(name, f"held by {other}")
    responding.until_idle(name)
    assert responding.production() == before
    state = journal.read(name)
    assert (state.closed_at, state.steps) == (None, {})
    assert [run["state"]["type"] for run in responding.runs(name)] == ["FAILED"]

    lifted = {"scope": _TARGET, "reason": "no breach", "by": "anna"}
    journal.append(other, FactKind.HOLD_LIFTED, lifted, actor="anna")
    responding.run_again(name)
    assert journal.read(name).outcome == "restored"
    assert responding.production().databases[DATABASE] != before.databases[DATABASE]


@pytest.mark.slow
def test_a_plan_that_no_longer_fits_is_replaced_by_one_that_needs_its_own_approval(
    responding: Responding,
) -> None:
    responding.damage()
    name = responding.alert()
    stale = responding.plan(name)
    planned = journal.read(name).plan
    assert planned is not None
    observed = {**planned.observed, "production_oid": 1}
    other = _replan(name, observed=observed)
    before = responding.production()

    responding.decide(name, other, "approve")
    responding.until_note(name, "found changes in ['production_oid']")
    new = responding.plan(name, count=3)
    assert new not in {stale, other}
    assert journal.read(name).stage is Stage.AWAITING_APPROVAL
    assert responding.production() == before


def _replan(incident: str, **changes: Any) -> str:
    """The standing plan once more with these changes, now the one that stands: its hash."""
    standing = journal.read(incident).plan
    assert standing is not None
    other = replace(standing, **changes)
    data = {"plan": other.as_json(), "hash": other.hash, "expires_at": other.expires_at.isoformat()}
    journal.append(incident, FactKind.PLAN_PROPOSED, data)
    return other.hash
