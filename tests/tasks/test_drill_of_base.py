"""A base backup is drilled too: recovered with its WAL, dumped there, and proven."""

import pytest

from deployments.lab.s3 import BACKUPS
from deployments.lab.stack import Lab, Options
from tasks.domain.backups import Backup, Kind
from tasks.domain.drills import DrillResult, Ending, Phase
from tasks.settings import settings
from tasks.work import catalogue
from tasks.work.drill_ground import ground_of
from tasks.work.drills import drill

pytestmark = [pytest.mark.components, pytest.mark.slow]

RECORDS = 2000


def drilled(base: Backup) -> DrillResult:
    return drill(base, ground_of(settings()), progress=lambda *_: None)


def test_a_base_backup_passes_and_one_of_which_a_part_is_gone_fails() -> None:
    options = Options(
        records=RECORDS, prefect=False, writer=False, checked_per_second=0, archiving=True
    )
    with Lab(options) as lab:
        lab.back_up_base_now()
        lab.patient.stop()  # production is not needed
        base = max(
            (each for each in catalogue.list_all() if each.kind is Kind.BASE),
            key=lambda each: each.key,
        )
        result = drilled(base)
        assert result.ending is Ending.PASSED, result.reason
        assert (result.records, result.signed) == (RECORDS, RECORDS)
        assert result.identity == base.identity
        assert any("recovered to" in note for note in result.notes)
        assert dict(result.phases)[Phase.LOAD] > 0

        client = lab.objects.client("operator")
        for stored in client.list_objects_v2(Bucket=BACKUPS, Prefix=f"{base.key}/")["Contents"]:
            if "base.tar" in stored["Key"]:
                client.delete_object(Bucket=BACKUPS, Key=stored["Key"])
        client.close()
        gone = drilled(base)
        assert gone.ending is Ending.FAILED
        assert gone.proof is None
