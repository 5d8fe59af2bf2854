"""Where the files of a container lie: which claim, if any, holds a directory of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.domain.json_fields import Fields

_VOLUMES = 64
_CONTAINERS = 64
_PATH = 1024


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume at a path of a container; `claim` is empty where the volume is of another kind."""

    path: str
    claim: str


def read_mounts(value: object, container: str = "") -> tuple[Mount, ...]:
    """Mounts of a container of a Pod (without a name: of its first one). Raises BadInput."""
    spec = Fields.of("pod", value).within("spec")
    claims = {
        each.exact("name"): each.within("persistentVolumeClaim").exact("claimName")
        for each in spec.each("volumes", _VOLUMES)
    }
    for each in spec.each("containers", _CONTAINERS):
        if container in {"", each.exact("name")}:
            mounts = each.each("volumeMounts", _VOLUMES)
            return tuple(
                Mount(one.text("mountPath", _PATH), claims.get(one.exact("name"), ""))
                for one in mounts
            )
    return ()


def mount_of(mounts: Iterable[Mount], directory: str) -> Mount | None:
    """The mount that holds the directory: the deepest one above it; None: the container itself."""
    wanted = PurePosixPath(directory)
    holding = [each for each in mounts if each.path and wanted.is_relative_to(each.path)]
    return max(holding, key=lambda each: len(PurePosixPath(each.path).parts), default=None)


def only_claim(mounts: Iterable[Mount], but: str = "") -> Mount | None:
    """The one mount of a claim, leaving out what holds the directory `but`; None: not one."""
    known = tuple(mounts)
    left_out = mount_of(known, but) if but else None
    found = [each for each in known if each.claim and each != left_out]
    return found[0] if len(found) == 1 else None
