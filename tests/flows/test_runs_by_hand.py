"""Runs that a person starts in Prefect's UI: they can ask for a change, never approve one."""

import pytest
import yaml

from deployments.lab.environment import PROJECT
from tasks.domain.incident import Stage
from tasks.work import journal
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

_ASKED: dict[str, set[str]] = {
    "integrity": {"full"},
    "sealing": set(),
    "healthy-revisions": set(),
    "follow-up": set(),
    "restore-drill": {"choice"},
    "audit-log-recovery": {"source"},
}


@pytest.mark.slow
def test_a_run_by_hand_opens_an_incident_that_stops_at_its_plan(responding: Responding) -> None:
    responding.damage()
    before = responding.production()
    by_hand = [
        responding.start_by_hand(deployment)
        for deployment in ("incident/incident", "database-recovery/database-recovery")
    ]
    assert [run["state"]["type"] for run in by_hand] == ["COMPLETED", "COMPLETED"]
    assert [run["name"] for run in by_hand] == ["declared by hand", "recover declared by hand"]
    (name,) = journal.all_incidents()  # the second asked for the same and found it open
    responding.plan(name)
    state = journal.read(name)
    assert state.stage is Stage.AWAITING_APPROVAL
    assert state.steps == {}
    assert responding.production() == before
    assert [run["name"] for run in responding.runs(name)] == [name]


@pytest.mark.slow
def test_a_run_for_an_incident_that_was_never_opened_fails_and_records_nothing(
    responding: Responding,
) -> None:
    run = responding.flow("flows.incident:incident('INC-typing-error')")
    assert run.returncode != 0
    assert "expected the id of a known incident" in run.stderr
    assert journal.facts_after(-1) == []


def test_no_parameter_of_any_deployment_can_express_an_approval(responding: Responding) -> None:
    known = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    deployed = responding.filtered("deployments")
    assert {each["name"] for each in deployed} == {each["name"] for each in known}
    for deployment in deployed:
        asked = deployment["parameter_openapi_schema"].get("properties", {})
        assert set(asked) == _ASKED.get(deployment["name"], {"incident_id"})
        assert deployment["parameters"] == {}
