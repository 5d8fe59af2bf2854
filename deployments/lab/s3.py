"""S3 with Object Lock: SeaweedFS's all-in-one server, three identities of least privilege."""

import json
import secrets
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deployments.lab.environment import LOOPBACK, clean_environment, free_port, require_loopback
from deployments.lab.errors import LabError
from deployments.lab.processes import Child, Processes
from deployments.lab.state import private_file

BACKUPS = "rlhf-audit-trail-backups"
EVIDENCE = "rlhf-audit-trail-evidence"
JOURNAL = "journal/"
"""The sealed journal's place in the evidence bucket."""

REGION = "us-east-1"

MEMORY_LIMIT = "512MiB"
"""For Go's collector. It counts pools that are reserved and never used: with half of it the same
objects take three times the processor time."""

_START_SECONDS = 30.0
_LOCKS = ("PutObjectRetention", "GetObjectRetention", "GetBucketObjectLockConfiguration")
_HOLDS = ("PutObjectLegalHold", "GetObjectLegalHold")
_GRANTS = {
    "operator": ("Admin", "Read", "Write", "List", "Tagging"),
    # writes what it signs; cannot touch evidence
    "sealer": (
        *(f"{action}:{BACKUPS}" for action in ("Read", "Write", "List", *_LOCKS)),
        *(f"{action}:{EVIDENCE}/{JOURNAL}*" for action in ("Read", "Write", "List", *_LOCKS)),
    ),
    # reads backups and the sealed log, adds evidence; cannot alter a backup
    "responder": (
        *(f"{action}:{BACKUPS}" for action in ("Read", "List", *_LOCKS[1:])),
        *(f"{action}:{EVIDENCE}" for action in ("Read", "Write", "List", *_LOCKS, *_HOLDS)),
    ),
}


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One identity's credentials."""

    key_id: str
    secret: str


@dataclass(slots=True)
class ObjectServer:
    """The server, its ports and its identities by name: operator, sealer, responder."""

    directory: Path
    processes: Processes
    ports: dict[str, int] = field(
        default_factory=lambda: {
            part: free_port() for part in ("s3", "filer", "master", "volume", "admin")
        }
    )
    keys: dict[str, AccessKey] = field(
        default_factory=lambda: {
            name: AccessKey(secrets.token_hex(10), secrets.token_urlsafe(30)) for name in _GRANTS
        }
    )
    child: Child | None = None

    @property
    def url(self) -> str:
        """The S3 endpoint."""
        return f"http://{LOOPBACK}:{self.ports['s3']}"

    def start(self) -> None:
        """Start, wait until it answers, and see to both buckets, versioned and with Object Lock."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        # A master that takes up its old Raft log never rests again: a twentieth of a processor.
        # Being alone, it learns all that it needs from the volumes.
        shutil.rmtree(data / f"m{self.ports['master']}", ignore_errors=True)
        # it puts sockets into /tmp whatever it is told
        names = (f"{part}-grpc-{port + 10_000}" for part, port in self.ports.items())
        self.processes.leaves([Path(f"/tmp/seaweedfs-{name}.sock") for name in names])  # noqa: S108
        identities = private_file(self.directory / "identities.json", self._identities())
        self.child = self.processes.start(
            "s3",
            [_program(), *self._flags(identities)],
            environment={
                **clean_environment(),
                "GOMEMLIMIT": MEMORY_LIMIT,
                "HOME": str(self.directory),
                "TMPDIR": str(self.directory),
            },
            directory=self.directory,
            stop_signal=signal.SIGKILL,  # asked politely it takes seconds to throw its data away
        )
        self.child.wait_ready(self._is_ready, _START_SECONDS)
        client = self.client("operator")
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in {BACKUPS, EVIDENCE} - there:
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        client.close()

    def stop(self) -> None:
        """Kill it; what it holds stays in `directory/data` for the next start."""
        if self.child is not None:
            self.child.kill()
            self.processes.forget(self.child)
            self.child = None

    def client(self, identity: str) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
        """A boto3 client of one identity; never retries, so that failures show at once."""
        key = self.keys[identity]
        return boto3.client(
            "s3",
            endpoint_url=require_loopback(self.url),
            region_name=REGION,
            aws_access_key_id=key.key_id,
            aws_secret_access_key=key.secret,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=30,
            ),
        )

    def destroy(self, bucket: str, key: str) -> None:
        """Remove an object and all its versions below S3, where no lock holds.

        Whoever administers the storage can, and so does a disk that fails.
        """
        address = f"http://{LOOPBACK}:{self.ports['filer']}/buckets/{bucket}/{key}.versions"
        answer = httpx.delete(address, params={"recursive": "true"}, timeout=30, trust_env=False)
        answer.raise_for_status()

    def store_environment(self, identity: str) -> dict[str, str]:
        """The product's settings (RUNBOOK_STORE__*) for one identity."""
        return {
            "RUNBOOK_STORE__ENDPOINT_URL": self.url,
            "RUNBOOK_STORE__REGION": REGION,
            "RUNBOOK_STORE__ACCESS_KEY_ID": self.keys[identity].key_id,
            "RUNBOOK_STORE__SECRET_ACCESS_KEY": self.keys[identity].secret,
            "RUNBOOK_STORE__BACKUPS_BUCKET": BACKUPS,
            "RUNBOOK_STORE__EVIDENCE_BUCKET": EVIDENCE,
            "RUNBOOK_STORE__JOURNAL_PREFIX": JOURNAL,
        }

    def _identities(self) -> str:
        return json.dumps(
            {
                "identities": [
                    {
                        "name": name,
                        "credentials": [
                            {
                                "accessKey": self.keys[name].key_id,
                                "secretKey": self.keys[name].secret,
                            }
                        ],
                        "actions": list(actions),
                    }
                    for name, actions in _GRANTS.items()
                ]
            }
        )

    def _flags(self, identities: Path) -> list[str]:
        return [
            "mini",
            "-dir=data",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            *(f"-{part}.port={port}" for part, port in self.ports.items()),
            f"-s3.config={identities}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=100",  # by itself one a free GB of the disk: none on a small one
            "-s3.localSocket=s3.sock",
            "-filer.localSocket=filer.sock",
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
        ]

    def _is_ready(self) -> bool:
        """Buckets are listed and objects read: after a restart the second comes later."""
        client = self.client("operator")
        try:
            for bucket in client.list_buckets()["Buckets"]:
                listed = client.list_objects_v2(Bucket=bucket["Name"], MaxKeys=1)
                for stored in listed.get("Contents", ()):
                    place = {"Bucket": bucket["Name"], "Key": stored["Key"]}
                    client.get_object(**place, Range="bytes=0-0")["Body"].read()
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


def _program() -> str:
    """The wheel's `weed`: beside this environment's Python, or on PATH."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise LabError("expected the S3 server, found no weed: install rlhf-audit-runbook[lab]")
    return found
