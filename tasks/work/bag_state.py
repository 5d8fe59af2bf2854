"""What an earlier attempt has sealed of a bag of evidence, as it lies in the store.

Its description makes an item one; its place in the custody log says who did it. Both are read
strictly: what somebody else wrote there is nothing to go on with.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from tasks.clients.errors import Malformed
from tasks.clients.object_store import ObjectStore
from tasks.domain.collection import META, Collected
from tasks.domain.custody import Custody, CustodyHead, verify_custody
from tasks.domain.errors import BadInput, NotProven

SMALL_BYTES = 16 * 1024 * 1024
"""Of a file that describes, rather than holds, evidence."""


@dataclass(frozen=True, slots=True)
class BagPlace:
    """Which bag. `name`: one of its own within the incident; `purpose`: in whose name it is made.

    `recipients`: age recipients; none: what is put into the bag stays in clear.
    """

    incident: str
    name: str
    purpose: str
    recipients: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Of everything that belongs to the bag."""
        return f"evidence/{self.incident}/bag-{self.name}/"

    @property
    def root(self) -> str:
        """Of the bag itself."""
        return f"{self.prefix}bag/"


def read_items(store: ObjectStore, bucket: str, keys: Collection[str]) -> list[Collected]:
    """The items of which the keys are. Raises Malformed when a description is none of ours."""
    named = sorted(key for key in keys if key.endswith(f"/{META}"))
    found = []
    for key, data in zip(named, store.get_many(bucket, named, SMALL_BYTES), strict=True):
        try:
            found.append(Collected.from_json(json.loads(data)))
        except (ValueError, BadInput) as error:
            raise Malformed(
                f"s3://{bucket}/{key}: expected what we wrote, found {error}: somebody wrote "
                "there; keep it and look"
            ) from error
    return found


def read_custody(
    store: ObjectStore, bucket: str, place: BagPlace, keys: Collection[str]
) -> tuple[list[bytes], CustodyHead]:
    """The custody log until now. Raises NotProven when it is not whole."""
    named = sorted(key for key in keys if key.startswith(f"{place.prefix}custody/"))
    parts = store.get_many(bucket, named, SMALL_BYTES)
    lines = [line for part in parts for line in part.splitlines(keepends=True)]
    found = verify_custody(lines)
    if found.custody is Custody.BROKEN:
        raise NotProven(
            f"expected the custody log of s3://{bucket}/{place.prefix} to be whole, found "
            f"{found.reason}: list the versions of its parts, and tell security"
        )
    return lines, found.head
