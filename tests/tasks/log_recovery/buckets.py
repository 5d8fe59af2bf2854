"""What happens to a bucket: written, written over, deleted; and a recovery of what is in it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import GenericError

from tasks.clients.object_store import bulk_client, control_client
from tasks.sections.systems import StoreSettings
from tasks.work.log_recovery import Proof, Recovery, recover
from tasks.work.recovery_sources import Source
from tests.domain.ledger.sample_log import TRUST

PREFIX = "audit-logs/"


class Bucket:
    def __init__(self, settings: StoreSettings, name: str, *, versions: bool = True) -> None:
        self.settings = settings
        self.name = name
        self.client: Any = control_client(settings)
        self.client.create_bucket(Bucket=name)
        if versions:
            self.client.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.bulk = bulk_client(settings, name)

    def close(self) -> None:
        self.client.close()

    def put(self, path: str, data: bytes, prefix: str = PREFIX) -> None:
        """By obstore, which is faster, or by boto3, which takes odd keys and asks again."""
        try:
            if not path.endswith("/"):  # obstore would leave the slash out
                obstore.put(self.bulk, prefix + path, data)
                return
        except (ValueError, GenericError):  # a busy server says 500 now and then
            pass
        self.client.put_object(Bucket=self.name, Key=prefix + path, Body=data)

    def fill(self, files: Mapping[str, bytes], prefix: str = PREFIX) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: self.put(*item, prefix), files.items()))

    def delete(self, path: str, prefix: str = PREFIX) -> None:
        """A delete marker: the versions stay."""
        self.client.delete_object(Bucket=self.name, Key=prefix + path)

    def recover(
        self,
        target: Path,
        prefix: str = PREFIX,
        proof: Proof = Proof(trust=TRUST),  # noqa: B008 - frozen
        **more: Any,
    ) -> Recovery:
        return recover(Source(self.name, prefix), target, self.settings, proof, **more)


def content(directory: Path) -> dict[str, bytes]:
    """Every file below the directory, but for what a recovery keeps for itself."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".unfinished-recovery" not in path.parts
    }
