"""Faults of what a recovery needs: of backups, of archived WAL, of the room to work in."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import httpx

from deployments.lab.damage import Damage
from deployments.lab.errors import LabError
from deployments.lab.parts import Parts
from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from deployments.lab.table_faults import table_dropped, tampered_records

_FLIPPED = 64  # bytes, in the middle of the dump
_CHECK_SECONDS = 120.0
_BETWEEN_SECONDS = 1.1  # two dumps of one second would have one name
_WRITTEN_SECONDS = 1.0  # so that each WAL segment holds something
_STORE_SECONDS = 1.1  # its times, by which a plan says how far WAL reaches, are whole seconds
_ANNOTATIONS = "SELECT event_id FROM annotations"
_WAL = "wal/"


def corrupt_backup(lab: Parts) -> Damage:
    """The newest dump's bytes are others than its signed manifest says; then records are damaged.

    Object Lock keeps the version behind; whoever fetches the dump by its name gets the new one.
    """
    good, bad = lab.backup_key, lab.back_up_now()
    lab.seal_now()
    client = lab.objects.client("operator")
    content = bytearray(client.get_object(Bucket=BACKUPS, Key=bad)["Body"].read())
    middle = len(content) // 2
    for place in range(middle, middle + _FLIPPED):
        content[place] ^= 0xFF
    client.put_object(Bucket=BACKUPS, Key=bad, Body=bytes(content))
    client.close()
    damage = tampered_records(lab)
    said = f"{damage.said}; {_FLIPPED} bytes of the newest backup, {bad}, flipped"
    return replace(damage, said=said, bad_backups=(bad,), good_backup=good)


def tampered_and_backed_up(lab: Parts) -> Damage:
    """Records are rewritten, and nobody notices while two backups are taken of them.

    None is removed: the sealer, which counts them, would have refused to go on. The manifests are
    honest: it signs which bytes it has dumped. Then the patient's own full check finds it. Needs a
    patient that does not check all the time.
    """
    good = lab.backup_key
    damage = tampered_records(lab, remove=False)
    bad = []
    for _ in range(2):
        time.sleep(_BETWEEN_SECONDS)
        bad.append(lab.back_up_now())
    lab.seal_now()
    _check_all(lab)
    said = f"{damage.said}; the two newest backups were taken after that, with valid signatures"
    return replace(damage, said=said, bad_backups=tuple(bad), good_backup=good)


def missing_wal(lab: Parts) -> Damage:
    """A migration drops the audit table and empties another, and the archive lacks a WAL segment.

    What came before that segment can be had as of its moment, what is in it and behind it cannot.
    """
    time.sleep(_WRITTEN_SECONDS)
    kept = _annotations(lab)
    time.sleep(_STORE_SECONDS)
    lab.archive_now()
    reachable = _annotations(lab)
    time.sleep(_WRITTEN_SECONDS)
    lost = lab.archive_now()
    lab.seal_now()
    time.sleep(_WRITTEN_SECONDS)
    lab.archive_now()
    everything = _annotations(lab)
    later = everything - reachable
    client = lab.objects.client("operator")
    keys = [
        each["Key"]
        for each in client.list_objects_v2(Bucket=BACKUPS, Prefix=f"{_WAL}{lost}")["Contents"]
    ]
    for key in keys:
        client.delete_object(Bucket=BACKUPS, Key=key)
    client.close()
    if not later:
        raise LabError(
            "expected annotations in the WAL that is lost, found none: does nobody write?"
        )
    at = datetime.now(UTC)
    damage = table_dropped(lab)
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("TRUNCATE annotations")
    said = f"{damage.said} and {len(everything):,} annotations deleted; WAL segment {lost} gone"
    return replace(
        damage, said=said, segment=lost, at=at, annotations=kept, annotations_later=later
    )


def disk_full(lab: Parts) -> Damage:
    """Records are damaged while the responder's disk has too little room for a restore."""
    if lab.small_disk is None:
        raise LabError("expected a lab with a small disk, found one without: Options.small_disk")
    damage = tampered_records(lab)
    free = lab.small_disk.free_bytes()
    said = f"{damage.said}; the responder has {free / 1e6:.0f} MB of disk to work in"
    return replace(damage, said=said, free_bytes=free)


def _annotations(lab: Parts) -> frozenset[str]:
    with lab.patient.connect(DATABASE) as connection:
        return frozenset(event for (event,) in connection.execute(_ANNOTATIONS))


def _check_all(lab: Parts) -> None:
    """The nightly check of the patient: every record against its hash and its neighbour."""
    answer = httpx.get(
        f"{lab.api.url}/api/v1/audit/integrity/verify",
        params={"full": "true"},
        headers={"authorization": f"Bearer {lab.api.token}"},
        timeout=_CHECK_SECONDS,
        trust_env=False,
    )
    answer.raise_for_status()
    if not answer.json()["anomalies_detected"]:
        raise LabError("expected the full check to find the damage, found that it is content")
