"""Where a log lies, told to another machine: everything but the secrets, which it has itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from tasks.domain.errors import BadInput
from tasks.work.log_files import LogStore


class LogPlace(Protocol):
    """Something that can be pickled and shown to anybody, and opens the log where it arrives."""

    def open(self) -> LogStore:
        """The log, with the credentials of this process."""


@runtime_checkable
class Placed(Protocol):
    """A log that another machine can open too."""

    def place(self) -> LogPlace:
        """Where it lies."""


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """A directory under the same path on every machine: a shared disk, or one machine alone."""

    root: Path

    def open(self) -> LogStore:
        """The directory's log."""
        from tasks.work.log_directory import DirectoryLog  # noqa: PLC0415  it knows its place

        return DirectoryLog(self.root)


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A prefix of a bucket, in the account whose keys the opening process has."""

    endpoint_url: str
    region: str
    bucket: str
    prefix: str

    def open(self) -> LogStore:
        """The bucket's log. BadInput without keys of one's own for the store."""
        from tasks.clients.object_store import ObjectStore  # noqa: PLC0415  directories need no SDK
        from tasks.settings import settings  # noqa: PLC0415  read where it is opened
        from tasks.work.log_store import ObjectLog  # noqa: PLC0415  directories need no SDK

        own = settings().store
        if own.endpoint_url != self.endpoint_url:
            raise BadInput(
                f"expected the object store {self.endpoint_url or 'of AWS'}, found "
                f"{own.endpoint_url or 'AWS'} in RUNBOOK_STORE__ENDPOINT_URL of this worker: "
                "keys are sent to the store that they are for"
            )
        store = own.model_copy(update={"region": self.region})
        return ObjectLog(ObjectStore(store), self.bucket, self.prefix)


def place_of(log: LogStore) -> LogPlace:
    """Where the log lies; BadInput for one that only this process has."""
    if not isinstance(log, Placed):
        raise BadInput(f"{log} is in this process alone: verify it without a cluster")
    return log.place()
