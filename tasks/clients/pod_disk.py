"""`df` in a pod: what only the machine that holds the files knows of their file system."""

from dataclasses import dataclass

from tasks.clients.errors import Malformed
from tasks.clients.pod_exec import Pod, output_of
from tasks.sections.systems import KubernetesSettings

_LIMIT = 64 * 1024
_KIB = 1024
_MOST = 1 << 50  # KiB; no disk is as large
_NUMBERS = 3


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Bytes in use, and bytes that the server may still write; a reserve of root's is neither."""

    used: int
    free: int


def file_system(cluster: KubernetesSettings, pod: Pod, directory: str) -> FileSystem:
    """The file system that holds the directory. Raises as `output_of` does, and Malformed."""
    command = ["df", "-P", "-k", "--", directory]
    output = b"".join(output_of(cluster, pod, command, _LIMIT))
    lines = output.decode("utf-8", "replace").splitlines()
    fields = lines[-1].split() if len(lines) > 1 else []
    # device, total, used, free, share, place: the device's name may hold spaces, numbers do not
    share = next((at for at, each in enumerate(fields) if each.endswith("%")), 0)
    numbers = fields[max(0, share - _NUMBERS) : share]
    if len(numbers) < _NUMBERS or not all(
        each.isascii() and each.isdigit() and int(each) < _MOST for each in numbers
    ):
        raise Malformed(f"{pod}: expected what `df -P -k` prints, found {output[:120]!r}")
    _, used, free = (int(each) * _KIB for each in numbers)
    return FileSystem(used, free)
