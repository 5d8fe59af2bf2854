"""Bulk reading of a bucket: objects listed page by page, and downloaded as fast as it gives them.

obstore downloads; boto3 lists, because obstore refuses a whole page for one odd key in it. The
entries of a page are read here: boto3 takes four times as long, most of it for fields that nobody
asks for. Nothing here writes to the store.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import obstore

from tasks.clients.errors import Conflict, Malformed
from tasks.clients.local_folder import Unfinished
from tasks.clients.object_errors import translated_errors
from tasks.clients.object_store import bulk_client, control_client
from tasks.sections.systems import StoreSettings

if TYPE_CHECKING:
    from obstore import GetOptions  # exists for type checkers only

WHOLE_BYTES = 64 * 1024
"""Up to here an object is read at once, up to `RANGED_BYTES` as a stream, beyond it in ranges."""
RANGED_BYTES = 64 * 1024 * 1024

_CHUNK_BYTES = 1024 * 1024
_RANGE_BYTES = 8 * 1024 * 1024
_RANGES_AHEAD = 3
_READ_SECONDS = 300
_RETRIES = 3
_CONTENTS = "Contents"


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing; `size` in bytes."""

    key: str
    size: int
    etag: str


class BulkReader:
    """Reads one bucket. Safe to use from several threads."""

    def __init__(self, settings: StoreSettings, bucket: str) -> None:
        self.bucket = bucket
        self._client = _listing_client(settings)
        self._store = bulk_client(settings, bucket, seconds=_READ_SECONDS, retries=_RETRIES)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def pages(self, prefix: str) -> Iterator[list[Listed]]:
        """The objects below the prefix, up to a thousand at a time, in the store's order."""
        with translated_errors("s3:ListBucket", self.bucket, prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                yield [self._listed(entry) for entry in page.get("Contents", ())]

    def folders(self, prefix: str) -> list[str]:
        """What stands between the prefix and the next slash, of all keys below it; sorted."""
        found: list[str] = []
        with translated_errors("s3:ListBucket", self.bucket, prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
                found += [
                    entry["Prefix"].removeprefix(prefix).removesuffix("/")
                    for entry in page.get("CommonPrefixes", ())
                ]
        return sorted(found)

    def download(self, listed: Listed, file: Unfinished) -> str:
        """Write the object's bytes into `file`; the ETag of what came.

        Memory: at most 32 MiB. NotFound when it is gone, Conflict when it is replaced meanwhile,
        Transient when the store cannot be reached: `file` then holds a part.
        """
        if listed.size > RANGED_BYTES:
            return self._in_ranges(listed, file)
        with translated_errors("s3:GetObject", self.bucket, _shown(listed.key)):
            answer = obstore.get(self._store, listed.key)
            size, etag = answer.meta["size"], answer.meta["e_tag"] or ""
            if size > RANGED_BYTES:
                raise Conflict(f"{self._name(listed.key)} was replaced while it was read")
            if size <= WHOLE_BYTES:
                pieces: Iterator[Any] = iter((answer.bytes(),))
            else:
                pieces = iter(answer.stream(min_chunk_size=_CHUNK_BYTES))
            piece = next(pieces, None)
        while piece is not None:
            file.write(memoryview(piece))  # outside: errors of the local disk are not the store's
            with translated_errors("s3:GetObject", self.bucket, _shown(listed.key)):
                piece = next(pieces, None)
        if file.size != size:
            raise Malformed(f"{self._name(listed.key)}: {file.size} of {size} bytes came")
        return etag

    def _in_ranges(self, listed: Listed, file: Unfinished) -> str:
        """Ranges of one and the same object, a few read ahead in parallel, written in order."""

        def read(start: int) -> obstore.Bytes:
            end = min(listed.size, start + _RANGE_BYTES)
            same: GetOptions = {"range": (start, end), "if_match": listed.etag}
            with translated_errors("s3:GetObject", self.bucket, _shown(listed.key)):
                return obstore.get(self._store, listed.key, options=same).bytes()

        starts = iter(range(0, listed.size, _RANGE_BYTES))
        with ThreadPoolExecutor(_RANGES_AHEAD) as pool:
            ahead = deque(pool.submit(read, start) for start in islice(starts, _RANGES_AHEAD))
            while ahead:
                file.write(memoryview(ahead.popleft().result()))
                ahead.extend(pool.submit(read, start) for start in islice(starts, 1))
        if file.size != listed.size:
            name = self._name(listed.key)
            raise Malformed(f"{name}: {file.size} of {listed.size} bytes came")
        return listed.etag

    def _listed(self, entry: Mapping[str, str]) -> Listed:
        try:
            return Listed(entry["Key"], int(entry["Size"]), entry["ETag"])
        except (KeyError, ValueError) as error:
            raise Malformed(
                f"s3://{self.bucket}: expected key, size and ETag of each listed object, found "
                f"{ascii(dict(entry))[:200]}"
            ) from error

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{_shown(key)}"


def _shown(key: str) -> str:
    return ascii(key)[1:-1][:200]


def _listing_client(settings: StoreSettings) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    client = control_client(settings)
    client.meta.events.register("before-parse.s3.ListObjectsV2", _read_contents)
    return client


def _read_contents(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    """Take the entries out of a page: what is left of it boto3 reads, and it decodes the keys."""
    try:
        page = ET.fromstring(response_dict["body"])  # noqa: S314  boto3 does the same
    except ET.ParseError:
        return  # boto3 says it in its own way
    entries = [each for each in page if _tag(each) == _CONTENTS]
    if entries:
        customized_response_dict[_CONTENTS] = [
            {_tag(part): part.text or "" for part in each} for each in entries
        ]
        page[:] = [each for each in page if _tag(each) != _CONTENTS]
        response_dict["body"] = ET.tostring(page)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
