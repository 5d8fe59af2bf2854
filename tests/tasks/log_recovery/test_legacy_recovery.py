"""Copies of a log in the legacy layout: by day, with manifests, and without."""

from dataclasses import replace
from hashlib import sha256

import pytest

from tasks.domain.ledger import Code
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.work.log_recovery import Ending, Proof
from tests.domain.ledger.legacy_log import one_chain, public_pem
from tests.tasks.log_recovery.buckets import content

pytestmark = pytest.mark.components

LOG = one_chain()
LOG_HEAD = ",".join(LOG.heads())
FILES = {f"audit_logs/{path.removeprefix('audit_logs/')}": data for path, data in LOG.files.items()}
DAY = "audit-logs/daily/20240122/"
EVENTS = sorted(path for path in FILES if "/events/" in path)
PROOF = Proof(public_key=LegacyKey.parse(public_pem()))
DIGESTS = {
    path.removeprefix("audit_logs/"): sha256(data).hexdigest() for path, data in FILES.items()
}
OUTSIDE = replace(PROOF, manifest=DIGESTS)


def manifest(files=FILES):
    return "".join(
        f"{sha256(data).hexdigest()}  /app/{path}\n" for path, data in files.items()
    ).encode()


@pytest.fixture
def copied(bucket):
    """As the served system copies it: a folder each day, a manifest beside."""
    bucket.put("audit_logs/s/events/old.json", b"{}", "audit-logs/daily/20240121/")
    bucket.fill(FILES, DAY)
    bucket.put("manifests/audit_manifest_20240122.txt", manifest())
    bucket.put("manifests/audit_manifest_20240121.txt", manifest({EVENTS[0]: b"old"}))
    return bucket


def test_of_copies_by_day_the_newest_comes_back_and_agrees_with_its_manifest(copied, tmp_path):
    """Which lies in the same bucket: so it does not say that nothing was cut off."""
    recovery = copied.recover(tmp_path, proof=PROOF)
    assert (recovery.ending, recovery.days) == (Ending.UNCLEAR, ("20240121", "20240122"))
    assert {each.code for each in recovery.verdict.findings} == {Code.UNPROVEN}
    assert "whoever can write one can write the other" in recovery.reason
    assert str(recovery.source).endswith(DAY)
    assert recovery.manifest.endswith("audit_manifest_20240122.txt")
    assert content(recovery.target) == FILES


def test_events_that_were_deleted_or_written_over_come_back_as_the_manifest_has_them(
    copied, tmp_path
):
    copied.delete(EVENTS[1], DAY)
    copied.put(EVENTS[2], b"{}", DAY)
    recovery = copied.recover(tmp_path, DAY, proof=replace(PROOF, head=LOG_HEAD))
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert {each.path: each.why for each in recovery.mends.put} == {
        EVENTS[1]: "missing",
        EVENTS[2]: "wrong content",
    }
    assert content(recovery.target) == FILES
    assert copied.recover(tmp_path, DAY, proof=PROOF).mirrored.fetched == 0


def test_a_manifest_that_was_written_over_counts_as_it_was_first_written(copied, tmp_path):
    edited = FILES | {EVENTS[3]: b'{"edited": true}'}
    copied.put("manifests/audit_manifest_20240122.txt", manifest(edited))
    copied.put(EVENTS[3], edited[EVENTS[3]], DAY)
    recovery = copied.recover(tmp_path, proof=replace(PROOF, head=LOG_HEAD))
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert content(recovery.target) == FILES


def test_files_of_the_manifest_that_are_in_no_version_are_named(copied, tmp_path):
    gone = EVENTS[4]
    for each in copied.client.list_object_versions(Bucket=copied.name, Prefix=DAY + gone)[
        "Versions"
    ]:
        copied.client.delete_object(Bucket=copied.name, Key=DAY + gone, VersionId=each["VersionId"])
    recovery = copied.recover(tmp_path, proof=PROOF)
    assert recovery.ending is Ending.LOST
    assert recovery.mends.lost_files == (gone.removeprefix("audit_logs/"),)


def test_without_a_manifest_what_was_deleted_comes_back_and_nothing_is_called_proven(
    bucket, tmp_path
):
    bucket.fill(FILES)
    bucket.delete(EVENTS[0])
    recovery = bucket.recover(tmp_path, proof=PROOF)
    assert [(each.path, each.why) for each in recovery.mends.put] == [(EVENTS[0], "deleted")]
    assert content(recovery.target) == FILES
    assert recovery.ending is Ending.UNCLEAR


def test_a_manifest_of_somebody_outside_is_preferred(copied, tmp_path):
    copied.put("manifests/audit_manifest_20240122.txt", b"no manifest at all\n")
    assert copied.recover(tmp_path, proof=OUTSIDE).ending is Ending.VERIFIED


def test_a_file_that_is_gone_here_and_there_comes_back_though_it_is_remembered(copied, tmp_path):
    copied.recover(tmp_path, DAY, proof=OUTSIDE)
    copied.delete(EVENTS[1], DAY)
    (tmp_path / "20240122" / EVENTS[1]).unlink()
    recovery = copied.recover(tmp_path, DAY, proof=OUTSIDE)
    assert recovery.ending is Ending.VERIFIED, recovery.reason
    assert [(each.path, each.why) for each in recovery.mends.put] == [(EVENTS[1], "missing")]
    assert content(recovery.target) == FILES


def test_a_stray_does_not_keep_what_was_deleted_from_coming_back(bucket, tmp_path):
    bucket.fill(FILES)
    for path in FILES:
        bucket.delete(path)
    bucket.put("README", b"to whom it may concern")
    recovery = bucket.recover(tmp_path, proof=PROOF)
    assert {each.path for each in recovery.mends.put} == set(FILES)
    assert {path: data for path, data in content(tmp_path).items() if path != "README"} == FILES
