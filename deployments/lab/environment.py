"""What children inherit: nothing that could lead a fault to somebody's real system."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from deployments.lab.errors import LabError

PROJECT = Path(__file__).resolve().parents[2]
"""The directory that holds the packages `deployments`, `flows` and `tasks`."""

LOOPBACK = "127.0.0.1"

_DANGEROUS = ("KUBECONFIG", "AWS_", "PG", "PREFECT_", "RUNBOOK_", "LAB_")
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
_LOOPBACK_NAMES = {LOOPBACK, "localhost", "::1"}

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes the port
# between our look and the server's bind; SeaweedFS adds 10,000 for gRPC, and refuses a port that
# is 10,000 above another of its own.
_FIRST_PORT, _LAST_PORT, _GRPC_OFFSET = 10_240, 20_239, 10_000
_CLAIMS = Path(tempfile.gettempdir()) / f"runbook-lab-ports.{os.getuid()}"


def clean_environment() -> dict[str, str]:
    """Our environment without settings of clusters, clouds, databases, Prefect and proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_DANGEROUS) and name.upper() not in _PROXIES
    }
    kept["PYTHONPATH"] = str(PROJECT)
    kept["NO_PROXY"] = "*"
    return kept


def require_loopback(url: str) -> str:
    """The URL, if it points to this machine. LabError otherwise: faults never leave it."""
    host = urlsplit(url).hostname if "://" in url else url
    if host not in _LOOPBACK_NAMES:
        raise LabError(f"expected an endpoint on loopback, found {host!r}: the lab refuses it")
    return url


def free_port() -> int:
    """A loopback port below 20,240 that is free now, and the one 10,000 above it as well.

    It stays ours while this process lives, so that no other lab takes it before a server does.
    """
    for _ in range(1000):
        port = random.randint(_FIRST_PORT, _LAST_PORT)  # noqa: S311  not a secret
        if _claim(port) and _is_free(port) and _is_free(port + _GRPC_OFFSET):
            return port
    raise LabError(f"expected a free port from {_FIRST_PORT} to {_LAST_PORT}, found none")


def _claim(port: int) -> bool:
    """Whether no other lab of this user means to use it."""
    _CLAIMS.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(_CLAIMS / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True  # the descriptor, and with it the lock, is kept until the process ends


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
