"""Segments that are in no version come back from the rows that their signed leaves prove."""

import pytest

from tasks.work.log_recovery import Ending, Proof
from tests.domain.ledger.sample_log import TRUST, chained, sealed_files

pytestmark = pytest.mark.components

LINES = chained(300)
FILES = {path: data for path, data in sealed_files(LINES).items() if not path.startswith("seg/")}


def test_a_lost_segment_is_made_again_from_the_table(bucket, audit_database, tmp_path):
    bucket.fill(FILES)
    audit_database.add(LINES)
    proof = Proof(trust=TRUST, table_dsn=audit_database.reader)
    recovery = bucket.recover(tmp_path, proof=proof)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert [each.path for each in recovery.mends.put] == ["seg/0-300.jsonl.zst"]
    assert "table" in recovery.mends.put[0].source


def test_rows_that_are_not_as_signed_stay_lost_and_are_named(bucket, audit_database, tmp_path):
    bucket.fill(FILES)
    altered = [*LINES[:102], b'{"not": "what was signed"}', *LINES[103:]]
    audit_database.add(altered)
    audit_database.run("DELETE FROM audit_records WHERE seq IN (7, 8, 200)")
    proof = Proof(trust=TRUST, table_dsn=audit_database.reader)
    recovery = bucket.recover(tmp_path, proof=proof)
    assert recovery.ending is Ending.LOST
    assert recovery.mends.lost == ((7, 9), (102, 103), (200, 201))


def test_a_table_that_is_away_is_told_and_stops_nothing(bucket, tmp_path):
    bucket.fill(FILES)
    away = "postgresql://nobody@127.0.0.1:9/nothing?connect_timeout=2"
    recovery = bucket.recover(tmp_path, proof=Proof(trust=TRUST, table_dsn=away))
    assert recovery.ending is Ending.LOST
    assert recovery.mends.lost == ((0, 300),)
    assert "the table was not looked at" in recovery.reason
