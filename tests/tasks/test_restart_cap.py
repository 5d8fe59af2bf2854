"""Restarts of one target are counted over all incidents, and of Redis and PostgreSQL too."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.cache_diagnosis import RESTART_CACHE
from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.settings import settings
from tasks.work import incidents, journal, pod_restarts
from tests.tasks.proposals import propose

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]


def restarted(target: str, step: str, incident: str = "") -> str:
    """A plan of an incident that has begun to restart the target; the incident."""
    if not incident:
        with incidents.durably() as connection:
            incident = incidents.open_in(connection, "down", "cache", "cache", "person", "anna")
    steps = (PlanStep(step, "restart it", target, "nothing"),)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    plan = Plan(incident, "cache", "down", steps, {"n": uuid.uuid4().hex}, "nothing", expires_at)
    propose(plan)
    started = {"step": step, "target": target, "fencing_token": 1}
    journal.append(incident, FactKind.STEP_STARTED, started)
    return incident


@pytest.mark.parametrize("step", [RESTART_CACHE, RESTART_DATABASE])
def test_the_fourth_restart_within_the_hour_is_no_remedy_in_the_same_incident_either(
    step: str,
) -> None:
    target = f"statefulset/{uuid.uuid4().hex}"
    remedy = Remedial(step, "restart it", target, "nothing", {})
    cause = Cause("cache.unreachable", "cache", Confidence.PROVEN, "it is away", {}, remedy)
    most = settings().changes.restarts_per_hour
    incident = restarted(target, step)
    restarted(target, step, incident)
    assert pod_restarts.kept_to_cap([cause], most) == (cause,)
    restarted(target, step)
    (found,) = pod_restarts.kept_to_cap([cause], most)
    assert found.remedy is None
    assert "restarted 3 times within the hour" in found.summary
