"""Real Dask clusters on loopback: a scheduler and workers, processes that tests may kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client

from tasks.clients.dask_cluster import DaskCluster
from tasks.work.dask_crew import DaskCrew

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_LOOPBACK = ["--host", "127.0.0.1", "--no-dashboard"]


class Cluster:
    """A scheduler, and the workers that `add` starts; all of them end with the test."""

    def __init__(self, folder: Path, certificates: Path | None = None) -> None:
        self.folder = folder
        self.encrypted = _tls(certificates) if certificates else []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.file = folder / "scheduler.json"
        where = ["--port", "0", "--scheduler-file", str(self.file)]
        self.scheduler = self._start("scheduler", [*_LOOPBACK, *self.encrypted, *where], ROOT)
        _wait_for(self.file.exists)

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def add(self, preload: str = "", root: Path = ROOT) -> int:
        """Another worker of one thread, with the code in `root`; `preload` runs first. Its pid."""
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)]
        if preload:
            file = self.folder / f"preload_{len(self.workers)}.py"
            file.write_text(preload)
            options += ["--preload", str(file)]
        command = [*_LOOPBACK, *self.encrypted, "--scheduler-file", str(self.file), *options]
        self.workers.append(self._start("worker", command, root))
        return self.workers[-1].pid

    def _start(self, what: str, options: list[str], root: Path) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{what}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *options],
                cwd=root,
                env=os.environ | {"PYTHONPATH": str(root)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def cluster(folder: Path, workers: int, certificates: Path | None = None) -> Iterator[Cluster]:
    folder.mkdir(parents=True, exist_ok=True)
    started = Cluster(folder, certificates)
    try:
        for _ in range(workers):
            started.add()
        yield started
    finally:
        started.stop()


@contextmanager
def crew_of(cluster: Cluster, workers: int, **options: float) -> Iterator[DaskCrew]:
    """A crew over the cluster, once so many workers are there."""
    limits = {"lost_seconds": 5.0, "shard_seconds": 60.0} | options
    rechecked = int(limits.pop("rechecked", 0))
    with Client(cluster.address, set_as_default=False, timeout=10) as client:
        if workers:
            client.wait_for_workers(workers, timeout=_START_SECONDS)
        source = DaskCluster(client, "verify-test")
        yield DaskCrew(source, rechecked=rechecked, **limits)
        source.close()


def _tls(certificates: Path) -> list[str]:
    files = (("ca-file", "ca"), ("cert", "cert"), ("key", "key"))
    named = [each for what, name in files for each in (f"--tls-{what}", str(certificates / name))]
    return ["--protocol", "tls", *named]


def make_certificates(folder: Path) -> Path:
    """An authority, and a certificate by it with its key: the files `ca`, `cert` and `key`."""
    folder.mkdir()
    authority = ec.generate_private_key(ec.SECP256R1())
    own = ec.generate_private_key(ec.SECP256R1())
    signer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    ca = _certificate(signer, signer, authority.public_key(), authority, is_authority=True)
    cert = _certificate(name, signer, own.public_key(), authority, is_authority=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "ca").write_bytes(ca.public_bytes(pem))
    (folder / "cert").write_bytes(cert.public_bytes(pem))
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key").write_bytes(key)
    return folder


def _certificate(name, issuer, public, signer, *, is_authority):
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


def _wait_for(look, seconds=_START_SECONDS):
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, "the cluster did not start"
        time.sleep(0.05)
    return seen
