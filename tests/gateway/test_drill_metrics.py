"""What Prometheus hears of restore drills, over real HTTP."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.domain.drills import Choice, DrillResult, Ending, Phase, Rpo
from tasks.work import drill_records
from tests.gateway.test_metrics import metrics, value

pytestmark = pytest.mark.components

LATER = datetime(2026, 3, 15, 3, 45, tzinfo=UTC)
PASSED = DrillResult(
    "database/a.dump",
    Ending.PASSED,
    datetime(2026, 3, 14, 3, 45, tzinfo=UTC),
    identity="a" * 64,
    choice=Choice.NEWEST,
    rpo=Rpo(90.0, 3600.0),
    phases=((Phase.FETCH, 1.5), (Phase.LOAD, 2.5)),
)


def test_the_last_drill_of_each_choice_that_could_tell_is_shown(gateway: str) -> None:
    assert "runbook_drill_passed{" not in metrics(gateway)
    for result in (
        PASSED,
        replace(PASSED, choice=Choice.OLDER),
        replace(PASSED, choice=Choice.OLDER, ending=Ending.FAILED),
        replace(PASSED, ending=Ending.UNKNOWN),
        replace(PASSED, choice=Choice.NAMED, ending=Ending.FAILED),
    ):
        drill_records.record(result)
    text = metrics(gateway)
    assert value(text, 'runbook_drill_passed{choice="newest"}') == 1
    assert value(text, 'runbook_drill_rto_seconds{choice="newest"}') == 4
    assert value(text, 'runbook_drill_rpo_seconds{choice="newest"}') == 90
    assert value(text, 'runbook_drill_passed{choice="older"}') == 0
    assert value(text, 'runbook_drill_rto_seconds{choice="older"}') is None
    assert 'choice="named"' not in text


def test_a_drill_by_hand_does_not_hide_that_the_nightly_one_has_stopped(gateway: str) -> None:
    drill_records.record(PASSED)
    drill_records.record(replace(PASSED, at=LATER, ending=Ending.FAILED))
    drill_records.record(replace(PASSED, at=LATER, choice=Choice.NAMED))
    drill_records.record(replace(PASSED, at=LATER, choice=Choice.OLDER))
    text = metrics(gateway)
    name = "runbook_drill_last_success_timestamp_seconds"
    assert value(text, f'{name}{{choice="newest"}}') == PASSED.at.timestamp()
    assert value(text, f'{name}{{choice="older"}}') == LATER.timestamp()
    assert f'{name}{{choice="named"}}' not in text
