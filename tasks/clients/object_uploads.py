"""Writing an object whose size and digest nobody knows yet, as its bytes come.

What fits into one part is one request, as `ObjectStore.put` makes it. More goes up in parts, two at
a time beside the reading, and is there only once its last part is: an upload that is killed leaves
no object. Memory: at most four parts of 16 MiB.
"""

import base64
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tasks.clients.errors import ClientError
from tasks.clients.object_errors import translated_errors

PART_BYTES = 16 * 1024 * 1024
_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A whole object: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class Upload:
    """Takes bytes by `write`; nothing is there before `finish` returns."""

    def __init__(self, client: Any, bucket: str, key: str, extra: dict[str, Any]) -> None:  # noqa: ANN401  boto3 makes its classes at run time
        """`extra`: the arguments of every kind of writing, such as a retention."""
        self._client = client
        self._place = {"Bucket": bucket, "Key": key}
        self._extra = extra
        self._pending = bytearray()
        self._digest = sha256()
        self._size = 0
        self._upload = ""
        self._sent = 0
        self._parts: list[dict[str, Any]] = []
        self._ahead: deque[Future[dict[str, Any]]] = deque()
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        self.error: Exception | None = None
        """What the store has said, if it was the store that ended it."""

    def write(self, data: bytes) -> int:
        """Take all of the bytes. Raises what the store says, of earlier ones too."""
        self._digest.update(data)
        self._size += len(data)
        self._pending += data
        while len(self._pending) > PART_BYTES:
            part = bytes(self._pending[:PART_BYTES])
            del self._pending[:PART_BYTES]
            self._noting(self._send, part)
        return len(data)

    def finish(self) -> Uploaded:
        """Make the object; Conflict when there is one under the key."""
        self._noting(self._complete if self._upload else self._put_at_once)
        self._upload = ""
        return Uploaded(self._digest.hexdigest(), self._size)

    def close(self) -> None:
        """Take back what is not finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._upload:
            with suppress(ClientError), translated_errors("s3:AbortMultipartUpload", *self._named):
                self._client.abort_multipart_upload(**self._place, UploadId=self._upload)

    @property
    def _named(self) -> tuple[str, str]:
        return self._place["Bucket"], self._place["Key"]

    def _noting(self, act: Any, *arguments: Any) -> None:  # noqa: ANN401  a method of this class
        try:
            act(*arguments)
        except Exception as error:  # of any kind: by it the caller tells this end from its own
            self.error = error
            raise

    def _put_at_once(self) -> None:
        with translated_errors("s3:PutObject", *self._named):
            self._client.put_object(
                **self._place,
                Body=bytes(self._pending),
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(self._digest.digest()).decode(),
                Metadata={"sha256": self._digest.hexdigest()},
                **self._extra,
            )

    def _send(self, part: bytes) -> None:
        if not self._upload:
            with translated_errors("s3:PutObject", *self._named):
                answer = self._client.create_multipart_upload(
                    **self._place, ChecksumAlgorithm="SHA256", **self._extra
                )
            self._upload = answer["UploadId"]
        while len(self._ahead) >= _AT_A_TIME:
            self._parts.append(self._ahead.popleft().result())
        self._sent += 1
        self._ahead.append(self._pool.submit(self._send_part, self._sent, part))

    def _send_part(self, number: int, part: bytes) -> dict[str, Any]:
        checksum = base64.b64encode(sha256(part).digest()).decode()
        with translated_errors("s3:PutObject", *self._named):
            answer = self._client.upload_part(
                **self._place,
                UploadId=self._upload,
                PartNumber=number,
                Body=part,
                ChecksumSHA256=checksum,
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _complete(self) -> None:
        self._send(bytes(self._pending))
        while self._ahead:
            self._parts.append(self._ahead.popleft().result())
        with translated_errors("s3:PutObject", *self._named):
            self._client.complete_multipart_upload(
                **self._place,
                UploadId=self._upload,
                MultipartUpload={"Parts": self._parts},
                IfNoneMatch="*",
            )
