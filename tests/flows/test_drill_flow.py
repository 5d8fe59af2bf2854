"""The nightly and the weekly restore drill, as the schedules run them."""

import pytest

from deployments.lab.s3 import BACKUPS
from tasks.domain.drills import Choice, Ending
from tasks.work import drill_records, journal, successes
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows

_DRILL = "flows.restore_drill:restore_drill"


@pytest.mark.slow
def test_both_schedules_drill_a_backup_and_leave_production_alone(responding: Responding) -> None:
    before = responding.production()
    nights = responding.flow(f"{_DRILL}(), restore_drill('older')")
    assert nights.returncode == 0, nights.stderr
    older, newest = drill_records.history()
    assert [(each.choice, each.ending) for each in (newest, older)] == [
        (Choice.NEWEST, Ending.PASSED),
        (Choice.OLDER, Ending.PASSED),
    ]
    assert (newest.seed, len(older.seed)) == ("", 32)
    assert "drill" in successes.last()
    assert journal.all_incidents() == []
    assert responding.production() == before
    wanted = {"drill-newest", "drill-older", "drills", "drills-trend"}
    found = responding.filtered("artifacts", artifacts={"key": {"any_": sorted(wanted)}})
    assert {artifact["key"] for artifact in found} == wanted
    (plot, *_) = (each["data"] for each in found if each["key"] == "drills-trend")
    assert str(plot).startswith("data:image/svg+xml;base64,")


@pytest.mark.slow
def test_a_drill_that_fails_opens_one_incident_and_is_not_tried_again(
    responding: Responding,
) -> None:
    client = responding.lab.objects.client("operator")
    key = responding.lab.backup_key
    whole = client.get_object(Bucket=BACKUPS, Key=key)["Body"].read()
    client.put_object(Bucket=BACKUPS, Key=key, Body=whole[:-100] + bytes(100))
    client.close()
    nights = responding.flow(f"{_DRILL}(), restore_drill()")
    assert nights.returncode == 0, nights.stderr
    (incident,) = journal.all_incidents()
    assert f"{incident} was opened" in nights.stdout
    assert f"{incident} is open already" in nights.stdout
    assert [each.ending for each in drill_records.history()] == [Ending.FAILED] * 2
    assert "drill" not in successes.last()


@pytest.mark.slow
def test_a_drill_that_could_not_begin_opens_an_incident_and_is_on_record(
    responding: Responding,
) -> None:
    """Nothing can be listed: whether there is a backup is not known."""
    night = responding.flow(f"{_DRILL}()", RUNBOOK_STORE__ENDPOINT_URL="http://127.0.0.1:9")
    assert night.returncode == 0, night.stderr
    (incident,) = journal.all_incidents()
    assert f"{incident} was opened" in night.stdout
    (result,) = drill_records.history()
    assert (result.ending, result.choice) == (Ending.UNKNOWN, Choice.NEWEST)
    assert result.reason
    (fired,) = journal.read(incident).alerts
    assert "could not tell" in str(fired)
