"""The writer's log is the truth about what was acknowledged."""

import time
from pathlib import Path

import psycopg
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from deployments.lab.writer import Acknowledged, acknowledged, longest_gap


def test_a_torn_last_line_was_not_acknowledged(tmp_path: Path) -> None:
    log = tmp_path / "acked.log"
    log.write_text("5 aa 100.5\n6 bb 100.75\n7 c")
    assert acknowledged(log) == [Acknowledged(5, "aa", 100.5), Acknowledged(6, "bb", 100.75)]
    assert acknowledged(tmp_path / "none") == []


def test_the_outage_is_the_longest_silence() -> None:
    records = [Acknowledged(seq, "", at) for seq, at in enumerate((1.0, 1.1, 1.1, 3.6, 3.7))]
    assert longest_gap(records) == pytest.approx(2.5)
    assert longest_gap(records[:1]) == 0


@pytest.mark.components
def test_what_was_acknowledged_through_outages_is_in_the_table_once(
    patient: Lab, database: psycopg.Connection
) -> None:
    patient.writer.log.unlink(missing_ok=True)
    patient.writer.start()
    _wait_for(patient, 40)
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'audit_api'"
    )
    _wait_for(patient, 80)
    with patient.patient.connect("postgres") as beside:
        beside.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
        beside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'audit_api'"
        )
        time.sleep(0.5)
        beside.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")
    _wait_for(patient, 60)
    patient.api.child.kill()  # type: ignore[union-attr]  # it runs
    patient.api.start()
    _wait_for(patient, 60)
    patient.writer.stop()
    told = [(record.seq, record.leaf) for record in patient.writer.acknowledged()]
    assert len({seq for seq, _ in told}) == len(told)
    there: dict[int, str] = dict(
        database.execute("SELECT seq, encode(leaf, 'hex') FROM audit_records").fetchall()
    )
    assert [pair for pair in told if there.get(pair[0]) != pair[1]] == []
    assert longest_gap(patient.writer.acknowledged()) >= 0.4
    assert sorted(there) == list(range(len(there)))


def _wait_for(lab: Lab, more: int) -> None:
    """Until `more` further records were acknowledged."""
    wanted = len(lab.writer.acknowledged()) + more
    until = time.monotonic() + 60
    while len(lab.writer.acknowledged()) < wanted:
        assert time.monotonic() < until, "the writer stands still"
        time.sleep(0.05)
