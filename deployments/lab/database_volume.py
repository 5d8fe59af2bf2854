"""The database's volume, as `df` in its pod and the kubelet's metrics tell it: it is played.

Nothing is really written: the claim says how large it is, the lab how full, and how fast it fills.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from deployments.lab.cluster_manifests import CLAIM, CLAIM_BYTES
from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.quantities import amount

_USUAL_SHARE = 0.31


@dataclass
class DatabaseVolume:
    """Bytes in use, and bytes a second that are added; `file` is what `df` in the pod reads.

    `mounted`: where the pod has the volume.
    """

    cluster: Cluster
    file: Path
    mounted: str
    used_bytes: float = _USUAL_SHARE * CLAIM_BYTES
    growing: float = 0.0
    _at: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """Let it fill, never beyond its end, and write what `df` shows."""
        now = time.monotonic()
        size = self.size_bytes
        self.used_bytes = min(self.used_bytes + self.growing * (now - self._at), size)
        self._at = now
        unfinished = self.file.with_suffix(".new")
        unfinished.write_text(f"{size} {int(self.used_bytes)} {self.mounted}", encoding="ascii")
        unfinished.replace(self.file)

    def fill(self, share: float) -> None:
        """So full at once."""
        self.used_bytes = share * self.size_bytes

    @property
    def size_bytes(self) -> int:
        """Of the volume, as its claim has it."""
        claim = self.cluster.get("persistentvolumeclaims", CLAIM)
        return int(amount(claim["status"]["capacity"]["storage"]))
