"""A small file system for the responder to work in, which can be made larger: a full disk for real.

Only root may mount one. What a killed lab leaves mounted, the next one's sweep takes away.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deployments.lab.errors import LabError

_SECONDS = 20
_MEGABYTE = 1024 * 1024
_OPEN = "1777"  # as /tmp: the private PostgreSQL of root's responder is another user


@dataclass(slots=True)
class SmallDisk:
    """A tmpfs at `path`."""

    path: Path

    def mount(self, megabytes: int) -> None:
        """Make and mount it. LabError for anybody but root."""
        if os.geteuid() != 0:
            raise LabError(
                f"expected root, who may mount a small file system, found uid {os.geteuid()}: run "
                "this scenario as root, or choose another one"
            )
        self.path.mkdir()
        options = f"size={megabytes}m,mode={_OPEN},nosuid,nodev"
        _run("mount", "-t", "tmpfs", "-o", options, "runbook-lab", str(self.path))

    def grow(self, megabytes: int) -> None:
        """Make room, as one enlarges a volume."""
        _run("mount", "-o", f"remount,size={megabytes}m", str(self.path))

    def free_bytes(self) -> int:
        """Room that is left."""
        return shutil.disk_usage(self.path).free


def unmount_below(state: Path) -> None:
    """Take away what is mounted below a lab's state directory, whoever still uses it."""
    text = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        place = line.split(" ")[1].replace("\\040", " ")
        if Path(place).is_relative_to(state):
            _run("umount", "--lazy", place)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise LabError(
            f"expected {command[0]} to work, found: {done.stderr.strip()[:300]}: choose another "
            "scenario where nothing may be mounted"
        )
