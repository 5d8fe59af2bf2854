"""What the real API process prints, as logs of its pods: each line in one that serves, by turns."""

from itertools import groupby
from pathlib import Path

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.documents import is_ready
from deployments.lab.kubernetes.manifests import API

_MOST_BYTES = 256 * 1024
_TURN = 10
"""Lines that one pod gets before the next one does."""


class ApiLogs:
    """Follows the process's log file, from its present end on."""

    def __init__(self, cluster: Cluster, file: Path | None) -> None:
        self._cluster = cluster
        self._file = file
        self._read = file.stat().st_size if file is not None and file.exists() else 0
        self._turn = 0

    def beat(self) -> None:
        """Give to the pods what was printed since."""
        if self._file is None or not self._file.exists():
            return
        with self._file.open("rb") as log:
            log.seek(self._read)
            whole, end, _ = log.read(_MOST_BYTES).rpartition(b"\n")
        self._read += len(whole) + len(end)
        pods = [each["metadata"]["name"] for each in self._cluster.pods(API) if is_ready(each)]
        if not whole or not pods:
            return
        lines = whole.decode("utf-8", "replace").splitlines()
        numbered = enumerate(lines, self._turn)
        for turn, some in groupby(numbered, key=lambda each: each[0] // _TURN):
            self._cluster.log(pods[turn % len(pods)], *(line for _, line in some))
        self._turn += len(lines)
