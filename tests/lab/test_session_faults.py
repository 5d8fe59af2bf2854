"""Each fault of sessions is there when it says so, is diagnosed first, and can be mended."""

import psycopg
import pytest

from deployments.lab.faults import FAULTS
from deployments.lab.stack import Lab
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.signals import keys_in
from tasks.settings import settings
from tasks.work import database_remedies

pytestmark = [pytest.mark.components, pytest.mark.slow]

TARGET = "database/rlhf_audit"


@pytest.mark.parametrize("name", ["lock-storm", "connections-exhausted", "slow-queries"])
def test_a_fault_of_sessions_is_diagnosed_first_and_mended(patient: Lab, name: str) -> None:
    damage = FAULTS[name].inject(patient)
    site = database_remedies.site_of(settings(), TARGET)
    cause = diagnose(database_remedies.looked_at(site), TARGET, site.limits)[0]
    assert cause.code == damage.cause == f"db.{name}"
    assert cause.remedy is not None
    why, keys = keys_in(cause.remedy.arguments)
    assert {key.pid for key in keys} <= damage.culprits
    database_remedies.cancel(site, keys, why, lambda: None)
    database_remedies.terminate(site, keys, why, lambda: None)
    left, _ = database_remedies.still_there(site, cause.code)
    assert [each.code for each in left] == []
    with psycopg.connect(patient.reader_dsn) as reader:
        row = reader.execute("SELECT count(*) FROM audit_records").fetchone()
    assert row is not None
    assert row[0] >= patient.backup_size
