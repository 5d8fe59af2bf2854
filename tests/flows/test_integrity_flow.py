"""The nightly verification, as the schedule runs it."""

from pathlib import Path

import pytest

from tasks.domain.facts import FactKind
from tasks.work import journal, responder
from tests.flows.responding import Responding
from tests.tasks.dask_clusters import cluster

pytestmark = pytest.mark.flows

_NIGHTLY = "flows.integrity:integrity()"


def test_on_a_healthy_log_the_anchor_advances_and_nothing_is_opened(
    responding: Responding,
) -> None:
    nights = responding.flow(f"{_NIGHTLY}, integrity()")
    assert nights.returncode == 0, nights.stderr
    assert nights.stdout.count("verified: 5000 signed records") == 2
    with responder.connection() as connection:
        assert connection.execute("SELECT size FROM anchors").fetchall() == [(5000,)]
    assert journal.all_incidents() == []


@pytest.mark.slow
def test_damage_opens_one_incident_however_many_nights_find_it(responding: Responding) -> None:
    responding.damage()
    before = responding.production()
    first = responding.flow(_NIGHTLY)
    assert first.returncode == 0, first.stderr
    (opened,) = journal.all_incidents()
    assert f"returned tampered: {opened} was opened" in first.stdout
    responding.plan(opened)

    second = responding.flow(_NIGHTLY)
    assert second.returncode == 0, second.stderr
    assert f"returned tampered: {opened} is open already" in second.stdout
    assert journal.all_incidents() == [opened]
    assert [fact.data["text"] for fact in responding.facts(opened, FactKind.NOTE)] == [
        "seen again: Nightly verification: tampered"
    ]
    with responder.connection() as connection:
        assert connection.execute("SELECT size FROM anchors").fetchall() == []
    assert responding.production() == before


@pytest.mark.slow
def test_an_api_that_shows_no_head_leaves_the_anchor_where_it_is(responding: Responding) -> None:
    night = responding.flow(_NIGHTLY, RUNBOOK_API__URL="http://127.0.0.1:9")
    assert night.returncode == 0, night.stderr
    assert "not anchored: the API showed no head" in night.stdout
    with responder.connection() as connection:
        assert connection.execute("SELECT size FROM anchors").fetchall() == []
    assert journal.all_incidents() == []


@pytest.mark.slow
def test_over_a_dask_cluster_the_night_ends_as_without_one(
    responding: Responding, tmp_path: Path
) -> None:
    with cluster(tmp_path / "dask", 2) as started:
        night = responding.flow(_NIGHTLY, RUNBOOK_DASK__SCHEDULER=started.address)
    assert night.returncode == 0, night.stderr
    assert "verified: 5000 signed records" in night.stdout
    with responder.connection() as connection:
        assert connection.execute("SELECT size FROM anchors").fetchall() == [(5000,)]
    assert journal.all_incidents() == []
