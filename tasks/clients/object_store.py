"""The S3 object store. boto3 for control (locks, conditions, listings), obstore for bulk reading.

Writing is for things that never change: a key that exists with the same bytes counts as written,
with other bytes it is a Conflict. Nothing here deletes.
"""

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import obstore
from botocore.config import Config
from obstore.store import S3Store

from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.clients.object_errors import translated_errors
from tasks.clients.object_uploads import Upload
from tasks.domain.errors import BadInput
from tasks.sections.systems import StoreSettings

if TYPE_CHECKING:
    from obstore import GetOptions  # these exist for type checkers only
    from obstore.store import S3Config

MAX_OBJECT_BYTES = 2 * 1024**3
MAX_LISTED = 1_000_000
PART_BYTES = 64 * 1024 * 1024

_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_PARALLEL_READS = 16
_PIECE_BYTES = 4 * 1024 * 1024
_PIECES_AHEAD = 3
_KEY = re.compile(r"[A-Za-z0-9_=+@:,~ .-]+(/[A-Za-z0-9_=+@:,~ .-]+)*", re.ASCII)
_MAX_KEY = 1024


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing; `size` in bytes."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What the store says of one object. `sha256` (hex) is what its writer declared, or empty.

    `lock_mode` is COMPLIANCE, GOVERNANCE or empty; `retain_until` is None without a lock.
    """

    key: str
    size: int
    modified: datetime
    sha256: str
    lock_mode: str
    retain_until: datetime | None
    version_id: str


def check_key(key: str, prefix: str = "") -> str:
    """The key, if it is plain and inside `prefix`; BadInput for one that points outside."""
    parts = key.split("/")
    if not key.startswith(prefix) or ".." in parts or "." in parts:
        raise BadInput(f"the key {ascii(key)[:200]} points outside {prefix or 'its bucket'!r}")
    if len(key) > _MAX_KEY or not _KEY.fullmatch(key):
        raise BadInput(f"expected a plain key of at most {_MAX_KEY} marks: {ascii(key)[:200]}")
    return key


def control_client(settings: StoreSettings) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    """A boto3 client of the account that fails at once: whoever calls decides what to try again."""
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url or None,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id.get_secret_value() or None,
        aws_secret_access_key=settings.secret_access_key.get_secret_value() or None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=_PARALLEL_READS,
        ),
    )


def bulk_client(
    settings: StoreSettings, bucket: str, *, seconds: int = _READ_SECONDS, retries: int = 0
) -> S3Store:
    """An obstore client of a bucket; `seconds` for a whole answer, tried again `retries` times."""
    config: S3Config = {"region": settings.region}
    if settings.endpoint_url:
        config["endpoint"] = settings.endpoint_url
    if key_id := settings.access_key_id.get_secret_value():
        config["access_key_id"] = key_id
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    return S3Store(
        bucket,
        config=config,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": settings.endpoint_url.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={"max_retries": retries},
    )


class ObjectStore:
    """One S3 account. Safe to use from several threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._client = control_client(settings)

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[StoreSettings]]:
        """Pickled by its settings, for worker processes that make connections of their own."""
        return ObjectStore, (self._settings,)

    @property
    def endpoint_url(self) -> str:
        """The server's URL; empty for AWS."""
        return self._settings.endpoint_url

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self._settings.region

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, bucket: str, key: str, limit: int = MAX_OBJECT_BYTES) -> bytes:
        """The object's bytes; Malformed when it is larger than `limit`, NotFound without it."""
        check_key(key)
        with translated_errors("s3:GetObject", bucket, key):
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > limit:
                    raise Malformed(
                        f"s3://{bucket}/{key}: expected at most {limit} bytes,"
                        f" found {answer['ContentLength']}"
                    )
                return bytes(body.read())

    def get_pieces(self, bucket: str, key: str, limit: int = MAX_OBJECT_BYTES) -> Iterator[bytes]:
        """The object's bytes in pieces of 4 MiB, a few of them read ahead in parallel.

        Raises Conflict when the object is replaced meanwhile: all pieces are of the same one.
        """
        check_key(key)
        store = self._bulk(bucket)
        with translated_errors("s3:GetObject", bucket, key):
            meta = obstore.head(store, key)
        size, etag = meta["size"], meta["e_tag"]
        if size > limit:
            raise Malformed(f"s3://{bucket}/{key}: expected at most {limit} bytes, found {size}")

        def read(start: int) -> bytes:
            with translated_errors("s3:GetObject", bucket, key):
                end = min(size, start + _PIECE_BYTES)
                same: GetOptions = {"range": (start, end), "if_match": etag}
                return bytes(obstore.get(store, key, options=same).bytes())

        starts = iter(range(0, size, _PIECE_BYTES))
        with ThreadPoolExecutor(_PIECES_AHEAD) as pool:
            ahead = deque(pool.submit(read, start) for start in islice(starts, _PIECES_AHEAD))
            while ahead:
                piece = ahead.popleft().result()
                ahead.extend(pool.submit(read, start) for start in islice(starts, 1))
                yield piece

    def get_head(self, bucket: str, key: str, size: int) -> bytes:
        """The first `size` bytes of an object, or all of a smaller one."""
        check_key(key)
        with translated_errors("s3:GetObject", bucket, key):
            wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes=0-{size - 1}"}
            with closing(self._client.get_object(**wanted)["Body"]) as body:
                return bytes(body.read(size))

    def get_many(
        self, bucket: str, keys: Iterable[str], limit: int = MAX_OBJECT_BYTES
    ) -> Iterator[bytes]:
        """The bytes of many objects, in the order asked for, a few read ahead in parallel."""
        read = self.reader(bucket, limit)
        remaining = iter(keys)
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            while window := list(islice(remaining, 4 * _PARALLEL_READS)):
                yield from pool.map(read, window)

    def reader(self, bucket: str, limit: int = MAX_OBJECT_BYTES) -> Callable[[str], bytes]:
        """Reads an object by its key, by the bulk path; for several threads at once."""
        store = self._bulk(bucket)

        def read(key: str) -> bytes:
            check_key(key)
            with translated_errors("s3:GetObject", bucket, key):
                answer = obstore.get(store, key)
                if answer.meta["size"] > limit:
                    raise Malformed(f"s3://{bucket}/{key}: expected at most {limit} bytes")
                return bytes(answer.bytes())

        return read

    def get_file(self, bucket: str, key: str, path: Path) -> str:
        """Stream the object into the new file `path`; SHA-256 (hex) of what was written."""
        check_key(key)
        digest = sha256()
        with path.open("xb") as file, translated_errors("s3:GetObject", bucket, key):
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(1024 * 1024):
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    def put(
        self, bucket: str, key: str, data: bytes, *, retain_until: datetime | None = None
    ) -> None:
        """Write an object once, under Object Lock when `retain_until` is given.

        The same bytes under the key already: nothing to do. Other bytes: Conflict.
        """
        check_key(key)
        digest = sha256(data)
        try:
            with translated_errors("s3:PutObject", bucket, key):
                self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=data,
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                    Metadata={"sha256": digest.hexdigest()},
                    **self._retention(retain_until),
                )
        except Conflict:
            if self.get(bucket, key, max(len(data), 1024)) != data:
                raise

    def put_file(
        self, bucket: str, key: str, path: Path, *, retain_until: datetime | None = None
    ) -> str:
        """Stream a file into a new object; its SHA-256 (hex). Memory: one part of 64 MiB.

        A key that exists with the same declared digest and size counts as written; else Conflict.
        """
        check_key(key)
        with path.open("rb") as file:
            digest = _digest_of(iter(lambda: file.read(1024 * 1024), b""))
        known = self._known(bucket, key)
        if known is not None:
            if (known.sha256, known.size) != (digest, path.stat().st_size):
                raise Conflict(f"s3://{bucket}/{key} exists with other content; choose a new key")
            return digest
        if path.stat().st_size <= PART_BYTES:
            self.put(bucket, key, path.read_bytes(), retain_until=retain_until)
        else:
            self._put_parts(bucket, key, path, digest, retain_until)
        return digest

    @contextmanager
    def uploading(
        self, bucket: str, key: str, *, retain_until: datetime | None = None
    ) -> Iterator[Upload]:
        """Write a new object as its bytes come; what is not finished in the body is taken back.

        A large one declares no digest, for nobody knew it when it was begun.
        """
        check_key(key)
        upload = Upload(self._client, bucket, key, self._retention(retain_until))
        try:
            yield upload
        finally:
            upload.close()

    def list(self, bucket: str, prefix: str = "", limit: int = MAX_LISTED) -> list[StoredObject]:
        """Objects under the prefix by key; Malformed when there are more than `limit`."""
        found: list[StoredObject] = []
        with translated_errors("s3:ListBucket", bucket, prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                found.extend(
                    StoredObject(entry["Key"], int(entry["Size"]), entry["LastModified"])
                    for entry in page.get("Contents", ())
                )
                if len(found) > limit:
                    raise Malformed(
                        f"s3://{bucket}/{prefix}: expected at most {limit} objects; name a"
                        " narrower prefix"
                    )
        return sorted(found, key=lambda entry: entry.key)

    def head(self, bucket: str, key: str) -> ObjectHead:
        """Size, declared digest and Object Lock of one object."""
        check_key(key)
        with translated_errors("s3:GetObject", bucket, key):
            answer = self._client.head_object(Bucket=bucket, Key=key)
        return ObjectHead(
            key=key,
            size=int(answer["ContentLength"]),
            modified=answer["LastModified"],
            sha256=answer.get("Metadata", {}).get("sha256", ""),
            lock_mode=answer.get("ObjectLockMode", ""),
            retain_until=answer.get("ObjectLockRetainUntilDate"),
            version_id=answer.get("VersionId", ""),
        )

    def make_locked_bucket(self, bucket: str) -> None:
        """A bucket with versioning and Object Lock; one that exists already is left as it is."""
        place = {"LocationConstraint": self._settings.region}
        elsewhere = self._settings.region != "us-east-1"
        extra = {"CreateBucketConfiguration": place} if elsewhere else {}
        try:
            with translated_errors("s3:CreateBucket", bucket, ""):
                self._client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, **extra)
        except Conflict:
            return
        with translated_errors("s3:PutBucketVersioning", bucket, ""):
            self._client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )

    def locks_objects(self, bucket: str) -> bool:
        """Whether the bucket was made with Object Lock."""
        with translated_errors("s3:GetObjectLockConfiguration", bucket, ""):
            answer = self._client.get_object_lock_configuration(Bucket=bucket)
        configured = answer.get("ObjectLockConfiguration", {})
        return bool(configured.get("ObjectLockEnabled") == "Enabled")

    def _known(self, bucket: str, key: str) -> ObjectHead | None:
        try:
            return self.head(bucket, key)
        except NotFound:
            return None

    def _put_parts(
        self, bucket: str, key: str, path: Path, digest: str, retain_until: datetime | None
    ) -> None:
        place = {"Bucket": bucket, "Key": key}
        with path.open("rb") as file, translated_errors("s3:PutObject", bucket, key):
            upload = self._client.create_multipart_upload(
                **place,
                ChecksumAlgorithm="SHA256",
                Metadata={"sha256": digest},
                **self._retention(retain_until),
            )["UploadId"]
            done = False
            try:
                parts = []
                for number, part in enumerate(iter(lambda: file.read(PART_BYTES), b""), start=1):
                    checksum = base64.b64encode(sha256(part).digest()).decode()
                    answer = self._client.upload_part(
                        **place,
                        UploadId=upload,
                        PartNumber=number,
                        Body=part,
                        ChecksumSHA256=checksum,
                    )
                    parts.append(
                        {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}
                    )
                self._client.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )
                done = True
            finally:
                if not done:
                    self._client.abort_multipart_upload(**place, UploadId=upload)

    def _retention(self, until: datetime | None) -> dict[str, Any]:
        if until is None:
            return {}
        return {"ObjectLockMode": self._settings.lock_mode, "ObjectLockRetainUntilDate": until}

    def _bulk(self, bucket: str) -> S3Store:
        return bulk_client(self._settings, bucket)


def _digest_of(chunks: Iterable[bytes]) -> str:
    digest = sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
