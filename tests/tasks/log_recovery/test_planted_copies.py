"""Copies that somebody laid into the bucket, so that they are taken for the log."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from tasks.domain.ledger import Layout
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.work.log_recovery import Ending, Proof
from tests.domain.ledger.legacy_log import one_chain, public_pem
from tests.domain.ledger.sample_log import TRUST, chained, sealed_files
from tests.tasks.log_recovery.buckets import PREFIX

pytestmark = pytest.mark.components

SEALED = sealed_files(chained(300))
LEGACY = {f"audit_logs/{path}": data for path, data in one_chain().files.items()}
KEY = LegacyKey.parse(public_pem())
BOTH = Proof(trust=TRUST, public_key=KEY)
REAL = "20240122"


def plant(bucket, day, files):
    bucket.fill(files, f"{PREFIX}daily/{day}/")
    lines = [f"{sha256(data).hexdigest()}  /app/{path}\n" for path, data in files.items()]
    bucket.put(f"manifests/audit_manifest_{day}.txt", "".join(lines).encode())


def cut_off():
    """The log without its last events, as sound in itself as the whole."""
    kept = one_chain()
    kept.drop(*range(5, 12))
    flushes = kept.flushes()
    return {
        f"audit_logs/{path}": kept.files[path] for path in kept.files if path not in flushes[1:]
    }


@pytest.mark.parametrize("where", ["daily/20240122/", ""])
def test_a_legacy_log_before_a_sealed_one_that_was_deleted_is_not_taken_for_it(
    bucket, tmp_path, where
):
    bucket.fill(SEALED)
    for path in SEALED:
        bucket.delete(path)
    if where:
        plant(bucket, REAL, LEGACY)
    else:
        bucket.fill(LEGACY)
    recovery = bucket.recover(tmp_path, proof=BOTH)
    assert str(recovery.source).endswith("/audit-logs/")
    assert (recovery.ending, recovery.verdict.layout) == (Ending.VERIFIED, Layout.SEALED)
    assert recovery.verdict.signed == 300


@pytest.mark.parametrize("day", ["99999999", "99991231", "20240230", "00000000"])
def test_a_day_that_has_not_been_is_passed_over_and_named(bucket, tmp_path, day):
    plant(bucket, REAL, LEGACY)
    plant(bucket, day, cut_off())
    recovery = bucket.recover(tmp_path, proof=BOTH)
    assert str(recovery.source).endswith(f"/daily/{REAL}/")
    assert (recovery.days, recovery.verdict.records) == ((REAL,), 12)
    assert day in recovery.reason


def test_a_copy_of_today_that_was_cut_off_is_not_proven_by_the_manifest_beside_it(bucket, tmp_path):
    plant(bucket, REAL, LEGACY)
    plant(bucket, f"{datetime.now(UTC):%Y%m%d}", cut_off())
    recovery = bucket.recover(tmp_path, proof=Proof(public_key=KEY))
    assert recovery.verdict.records == 5
    assert recovery.ending is Ending.UNCLEAR
    assert "--manifest" in recovery.reason


@pytest.mark.parametrize("stray", ["tile/x", "seg/notes.txt", "checkpoints/old"])
def test_a_stray_in_a_folder_of_a_sealed_log_hides_no_copy_of_a_day(bucket, tmp_path, stray):
    plant(bucket, REAL, LEGACY)
    bucket.put(stray, b"x")
    recovery = bucket.recover(tmp_path, proof=BOTH)
    assert str(recovery.source).endswith(f"/daily/{REAL}/")
    assert recovery.verdict.records == 12
