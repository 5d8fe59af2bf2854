"""Table and sealed log of a real system over the Dask cluster that the settings name."""

import pytest

from tasks.audit_log import log_trust, sealed_log
from tasks.clients.errors import Transient
from tasks.crews import hashing_crew, who_hashes
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work.table_verification import verify_table
from tasks.work.verification import verify_log
from tests.tasks.dask_clusters import cluster

pytestmark = pytest.mark.components


def verdicts():
    """Table and log, hashed by whoever the settings name."""
    found = []
    with hashing_crew() as crew:
        dsn = settings().database.reader_dsn.get_secret_value()
        found.append(verify_table(dsn, sealed_log(), log_trust(), crew=crew))
    with hashing_crew() as crew:
        found.append(verify_log(sealed_log(), log_trust(), crew=crew))
    return [{**each.as_json(), "seconds": 0} for each in found]


@pytest.mark.usefixtures("patient")
def test_table_and_log_are_verified_over_the_cluster_of_the_settings(tmp_path, monkeypatch):
    alone = verdicts()
    assert who_hashes() == "processes of this machine"
    assert [each["verdict"] for each in alone] == [Status.VERIFIED] * 2
    with cluster(tmp_path / "dask", 1) as started:
        monkeypatch.setenv("RUNBOOK_DASK__SCHEDULER", started.address)
        settings.cache_clear()
        assert verdicts() == alone
        assert who_hashes() == f"1 Dask workers at {started.address}"
        logs = started.logs()
    for secret in (
        settings().database.reader_dsn.get_secret_value(),
        settings().store.secret_access_key.get_secret_value(),
    ):
        assert secret
        assert secret not in logs


def test_a_scheduler_that_is_not_there_is_named_and_not_waited_for(monkeypatch):
    monkeypatch.setenv("RUNBOOK_DASK__SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setenv("RUNBOOK_DASK__CONNECT_SECONDS", "1")
    settings.cache_clear()
    with (
        pytest.raises(Transient, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        hashing_crew(),
    ):
        pass


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [("tcp://dask.example:8786", "must be tls"), ("tls://dask.example:8786", "CA_FILE")],
)
def test_a_cluster_elsewhere_is_reached_by_tls_with_certificates_alone(
    monkeypatch, scheduler, expected
):
    monkeypatch.setenv("RUNBOOK_DASK__SCHEDULER", scheduler)
    settings.cache_clear()
    with pytest.raises(BadInput, match=expected):
        settings()
