"""One round, in a lab of its own: damage, alert, response, judgement."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from deployments.lab import demo, watching
from deployments.lab.alarm import raise_alarm
from deployments.lab.damage import Damage
from deployments.lab.gameday.lines import Line, of_control, of_scenario
from deployments.lab.gameday.rounds import Kind, Round
from deployments.lab.gameday.unchanged import of_nothing_changed, state_of
from deployments.lab.gameday.watching import until_over
from deployments.lab.on_call import OnCall
from deployments.lab.scenarios import options_for
from deployments.lab.stack import Lab
from deployments.lab.stack import Options as LabOptions
from tasks.domain.facts import Fact
from tasks.work import journal

_RESPONSE_SECONDS = 300.0
_CONTROL_SECONDS = 120.0


def play(played: Round, console: Console, reports: Path, records: int) -> list[Line]:
    """Play it; a line for each of its scenarios, or the control's one. Raises LabError."""
    wanted = LabOptions(records=records, **played.options)
    for scenario in played.scenarios:
        wanted = replace(wanted, **options_for(scenario, records))
    with demo.lab_of(console, wanted, reports, alerting=played.alerting) as lab:
        time.sleep(demo.TAIL_SECONDS)
        if played.kind is Kind.CONTROL:
            return [_control(played, console, lab)]
        return _scenarios(played, console, lab)


def _scenarios(played: Round, console: Console, lab: Lab) -> list[Line]:
    began = time.monotonic()
    acting = {
        scenario.fault.labels["alertname"]: (scenario, OnCall(lab, scenario.fault.inject(lab)))
        for scenario in played.scenarios
    }
    damaged = time.monotonic()
    alarms = {
        name: raise_alarm(lab, scenario.fault, damaged) for name, (scenario, _) in acting.items()
    }
    course = until_over(
        acting.keys(),
        _RESPONSE_SECONDS,
        {name: partial(scenario.act, on_call) for name, (scenario, on_call) in acting.items()},
        _approving([on_call for _, on_call in acting.values()]),
        partial(_show, console),
    )
    lines = []
    for name, (scenario, on_call) in acting.items():
        incident = journal.read(course.first[name])
        judged = demo.judge(scenario, on_call, incident, alarms[name], began)
        of_several = scenario.fault.name if len(acting) > 1 else ""
        lines.append(of_scenario(played, judged, of_several))
    return lines


def _control(played: Round, console: Console, lab: Lab) -> Line:
    played.disturb(lab)
    before, began = state_of(lab), time.monotonic()
    on_call = OnCall(lab, Damage())
    course = until_over(
        played.alerts, _CONTROL_SECONDS, {}, _approving([on_call]), partial(_show, console)
    )
    incidents = [journal.read(each) for each in course.over]
    checks = of_nothing_changed(lab, before, incidents)
    return of_control(played, incidents, checks, time.monotonic() - began)


def _approving(people: list[OnCall]) -> Callable[[Fact], None]:
    """A yes to every plan that is what somebody wanted: whatever is proposed is carried out."""

    def approve(fact: Fact) -> None:
        if all(each.is_what_was_asked_for(fact.data["plan"]) for each in people):
            people[0].approve(fact.incident, fact.data["hash"])

    return approve


def _show(console: Console, fact: Fact) -> None:
    watching.show(console, fact, None)
