"""Faults of the sealed log in the object store, done with an administrator's access key."""

from typing import Any

from botocore.exceptions import ClientError

from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.s3 import BACKUPS

_SEALED_LOG = "audit-logs/"


def segments_deleted(lab: Parts) -> Damage:
    """Segments and every third tile are deleted: each stays as a version below its marker."""
    client = lab.objects.client("operator")
    keys = _proving(client)
    for key in keys:
        client.delete_object(Bucket=BACKUPS, Key=key)
    client.close()
    said = f"{len(keys)} objects of the sealed log deleted; the bucket keeps their versions"
    return Damage(said, objects=tuple(keys))


def bucket_versions_deleted(lab: Parts) -> Damage:
    """The same, and their versions with them: refused by Object Lock, then done below it."""
    client = lab.objects.client("operator")
    keys = _proving(client)
    refused = 0
    for key in keys:
        listed = client.list_object_versions(Bucket=BACKUPS, Prefix=key).get("Versions", ())
        for version in (each for each in listed if each["Key"] == key):
            try:
                client.delete_object(Bucket=BACKUPS, Key=key, VersionId=version["VersionId"])
            except ClientError:
                refused += 1
        lab.objects.destroy(BACKUPS, key)
    client.close()
    said = (
        f"{len(keys)} objects of the sealed log destroyed with all their versions, on the disk of "
        f"the store, after Object Lock had refused it {refused} times"
    )
    return Damage(said, objects=tuple(keys), refused=refused)


def _proving(client: Any) -> list[str]:  # noqa: ANN401  boto3 makes its classes at run time
    """Keys of all segments and of every third tile of the sealed log."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BACKUPS, Prefix=_SEALED_LOG)
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))
    segments = [key for key in keys if key.startswith(f"{_SEALED_LOG}seg/")]
    tiles = [key for key in keys if key.startswith(f"{_SEALED_LOG}tile/")]
    return segments + tiles[::3]
