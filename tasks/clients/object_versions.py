"""Versions of objects: what a delete marker hides and an overwrite covers; and writing over.

Nothing here deletes. Writing over is for a bucket that keeps versions: there the old object stays,
under its version id.
"""

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from tasks.clients.errors import Denied, Malformed, NotFound
from tasks.clients.object_errors import translated_errors
from tasks.clients.object_store import MAX_LISTED, check_key, control_client
from tasks.sections.systems import StoreSettings

_NO_VERSION = "null"


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or a delete marker, which has no content."""

    key: str
    version_id: str
    size: int
    modified: datetime
    is_latest: bool
    is_marker: bool = False


class ObjectVersions:
    """The versions in one S3 account. Safe to use from several threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._client = control_client(settings)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def are_kept(self, bucket: str) -> bool:
        """Whether what is written over stays; False when we may not know."""
        try:
            with translated_errors("s3:GetBucketVersioning", bucket, ""):
                answer = self._client.get_bucket_versioning(Bucket=bucket)
        except Denied:
            return False
        return bool(answer.get("Status") == "Enabled")

    def list(
        self, bucket: str, prefix: str = "", limit: int = MAX_LISTED
    ) -> Iterator[ObjectVersion]:
        """Every version and delete marker below the prefix; Malformed beyond `limit` of them."""
        seen = 0
        with translated_errors("s3:ListBucketVersions", bucket, prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for kind in ("Versions", "DeleteMarkers"):
                    for entry in page.get(kind, ()):
                        seen += 1
                        if seen > limit:
                            raise Malformed(
                                f"s3://{bucket}/{prefix}: expected at most {limit} versions"
                            )
                        yield ObjectVersion(
                            key=entry["Key"],
                            version_id=entry["VersionId"],
                            size=int(entry.get("Size") or 0),
                            modified=entry["LastModified"],
                            is_latest=bool(entry["IsLatest"]),
                            is_marker=kind == "DeleteMarkers",
                        )

    def get(self, bucket: str, key: str, version_id: str, limit: int) -> bytes:
        """The content of one version; Malformed when it is larger, NotFound without it."""
        check_key(key)
        with translated_errors("s3:GetObjectVersion", bucket, key):
            answer = self._client.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > limit:
                    raise Malformed(f"s3://{bucket}/{key}: expected at most {limit} bytes")
                return bytes(body.read())

    def current(self, bucket: str, key: str) -> tuple[str, str] | None:
        """(version id, ETag) of the object as everybody sees it; None when it is not there."""
        check_key(key)
        try:
            with translated_errors("s3:GetObject", bucket, key):
                answer = self._client.head_object(Bucket=bucket, Key=key)
        except NotFound:
            return None
        return str(answer.get("VersionId") or _NO_VERSION), str(answer["ETag"])

    def write_over(
        self, bucket: str, key: str, data: bytes, etag: str, retain_until: datetime | None = None
    ) -> None:
        """Put other content over an object, if it is still the one with this ETag; else Conflict.

        The caller has seen to it that the bucket keeps versions.
        """
        check_key(key)
        digest = sha256(data)
        locked: dict[str, Any] = {}
        if retain_until is not None:
            locked = {
                "ObjectLockMode": self._settings.lock_mode,
                "ObjectLockRetainUntilDate": retain_until,
            }
        with translated_errors("s3:PutObject", bucket, key):
            self._client.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                IfMatch=etag,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata={"sha256": digest.hexdigest()},
                **locked,
            )
