"""What is played on a game day, and how a response is measured. No lab is started here."""

import pytest
from click.testing import CliRunner

from deployments.gateway.advance import WAITS
from deployments.lab.expectations import Check
from deployments.lab.gameday import lines
from deployments.lab.gameday.__main__ import gameday
from deployments.lab.gameday.rounds import ASKED_FOR, OF_PEOPLE, Kind, chosen, every_round
from deployments.lab.gameday.watching import Course
from deployments.lab.scenarios import SCENARIOS
from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tests.builders import INCIDENT, JournalBuilder

pytestmark = pytest.mark.components


def _story() -> JournalBuilder:
    """Alert, causes after 3 s, plan after 4 s, a yes after 64 s, proof after 71 s."""
    return (
        JournalBuilder()
        .add(0.0, FactKind.ALERT_RECEIVED, {"name": "ApplicationDown"})
        .add(3.0, FactKind.CAUSES_FOUND, {"component": "api", "causes": []})
        .add(3.5, FactKind.CAUSES_FOUND, {"component": "api", "causes": [{"code": "api.unwell"}]})
        .add(4.0, FactKind.PLAN_PROPOSED, {"plan": {}, "hash": "h"})
        .add(64.0, FactKind.PLAN_DECIDED, {"hash": "h", "decision": "approved"}, "somebody")
        .add(66.0, FactKind.STEP_DONE, {"step": "api.resolution.restart", "target": "t"})
        .add(67.0, FactKind.STEP_DONE, {"step": "api.resolution.restart", "target": "u"})
        .add(71.0, FactKind.VERIFIED, {"holds": True, "summary": "gone"})
    )


def test_every_scenario_is_played_and_no_name_twice() -> None:
    found = every_round()
    names = [each.name for each in found]
    assert len(names) == len(set(names))
    assert {each.name for each in found if each.kind is Kind.SCENARIO} == set(SCENARIOS)
    kinds = [each.kind for each in found]
    assert (kinds.count(Kind.CONTROL), kinds.count(Kind.PAIR)) == (3, 2)


def test_a_generic_round_gives_nothing_away() -> None:
    generic = [each for each in every_round() if each.kind is Kind.GENERIC]
    assert {each.name.partition("/")[0] for each in generic} == set(
        SCENARIOS
    ) - ASKED_FOR - OF_PEOPLE
    for each in generic:
        (scenario,) = each.scenarios
        assert scenario.fault.labels["alertname"] == "HighErrorRate"
        assert not scenario.fault.monitored
        assert not each.alerting, "the scenario's own alert would come as well"
        own = SCENARIOS[scenario.fault.name].fault
        said = f"{scenario.fault.labels} {scenario.fault.annotations}"
        assert own.labels["alertname"] == "HighErrorRate" or own.labels["alertname"] not in said
        assert scenario.fault.inject is own.inject


def test_the_two_of_a_pair_have_alerts_of_their_own() -> None:
    for each in every_round():
        if each.kind is Kind.PAIR:
            first, second = (one.fault.labels["alertname"] for one in each.scenarios)
            assert first != second


def test_rounds_are_chosen_by_kind_and_name() -> None:
    assert [each.name for each in chosen((), ("api-down",))] == ["api-down"]
    assert {each.kind for each in chosen(("control",), ())} == {Kind.CONTROL}
    assert [each.name for each in chosen(("generic",), ("api-down*",))] == ["api-down/errors"]
    with pytest.raises(BadInput, match="none"):
        chosen((), ("api-dwon",))


def test_waiting_for_a_person_is_no_part_of_the_recovery() -> None:
    incident = _story().incident_state()
    assert lines.seconds_to_recovery(incident) == pytest.approx(11.0)
    assert lines.first_finding(incident) == "api.unwell"
    assert lines.done(incident) == "api.resolution.restart"


def test_without_a_proof_there_was_no_recovery() -> None:
    story = JournalBuilder().add(0.0, FactKind.ALERT_RECEIVED, {"name": "ApplicationDown"})
    assert lines.seconds_to_recovery(story.incident_state()) is None
    story.add(5.0, FactKind.VERIFIED, {"holds": False, "summary": "not gone"})
    assert lines.seconds_to_recovery(story.incident_state()) is None
    assert lines.first_finding(story.incident_state()) == "no cause"


def test_a_line_without_checks_or_with_a_wrong_one_is_not_right() -> None:
    (control,) = chosen((), ("harmless-alert",))
    holds, fails = Check("a", holds=True), Check("b", holds=False)
    assert lines.of_control(control, [], [holds], 1.0).right
    assert not lines.of_control(control, [], [holds, fails], 1.0).right
    assert not lines.of_control(control, [], [], 1.0).right
    assert not lines.of_failure(control, "the lab did not start").right


def _fact(kind: FactKind, incident: str = INCIDENT, **data: object) -> Fact:
    (made,) = JournalBuilder(incident).add(0.0, kind, data).facts
    return made


def test_a_round_is_over_when_each_incident_is_reported_or_left_to_people() -> None:
    course = Course()
    assert not course.is_over(["ApplicationDown"])
    course.add(_fact(FactKind.ALERT_RECEIVED, name="ApplicationDown"))
    course.add(_fact(FactKind.RUN_STARTED))
    assert not course.is_over(["ApplicationDown"])
    course.add(_fact(FactKind.NOTE, text="a person must look", ended_plan=""))
    assert course.is_over(["ApplicationDown"])
    course.add(_fact(FactKind.RUN_STARTED))
    assert not course.is_over(["ApplicationDown"]), "another run looks again"
    course.add(_fact(FactKind.NOTE, text=f"run r failed: {WAITS}"))
    assert course.is_over(["ApplicationDown"])
    course.add(_fact(FactKind.ALERT_RECEIVED, "other", name="RedisDown"))
    course.add(_fact(FactKind.REPORTED))
    assert not course.is_over(["ApplicationDown"]), "the other incident is not over"
    course.add(_fact(FactKind.REPORTED, "other"))
    assert course.is_over(["ApplicationDown", "RedisDown"])
    assert course.first == {"ApplicationDown": INCIDENT, "RedisDown": "other"}


def test_an_unknown_round_ends_with_two() -> None:
    ended = CliRunner().invoke(gameday, ["--only", "no-such-round"])
    assert ended.exit_code == 2
    assert "no-such-round" in ended.output
    listed = CliRunner().invoke(gameday, ["--list", "--kind", "control"])
    assert listed.exit_code == 0
    assert len(listed.output.splitlines()) == 3
