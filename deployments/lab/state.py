"""Where the lab keeps its files: one directory a lab, one lock a directory.

PostgreSQL refuses to run as root. When we are root it runs as `nobody`, which must reach its
binaries and its data: so root's labs live below /var/tmp, not below root's home.
"""

import fcntl
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from deployments.lab.errors import LabError

_NAME = "rlhf-audit-runbook"
_PARALLEL_LABS = 9
_KEEPER_SECONDS = 5.0  # a killed lab's keeper holds the lock until it has swept


def area() -> Path:
    """The user's directory for templates, copied binaries and labs; made when missing."""
    if os.geteuid() == 0:
        return _ours(Path("/var/tmp") / f"{_NAME}-0", mode=0o711)  # noqa: S108  checked in _ours
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    try:
        return _ours(Path(cache) / _NAME, mode=0o700)
    except OSError:  # a service account without a home
        return _ours(Path("/var/tmp") / f"{_NAME}-{os.geteuid()}", mode=0o700)  # noqa: S108


def _labs() -> Path:
    """Where labs are made: RLHF_LAB_AREA, a directory that others can pass, else in `area`.

    It does not begin with RUNBOOK_ or LAB_, of which `clean_environment` leaves nothing.
    """
    named = os.environ.get("RLHF_LAB_AREA")
    return Path(named).resolve() if named else area()


def _ours(directory: Path, mode: int) -> Path:
    """The directory, made or checked: /var/tmp is everybody's, so a stranger may sit there."""
    directory.mkdir(parents=True, exist_ok=True, mode=mode)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LabError(
            f"expected {directory} to be a directory of uid {os.geteuid()}, found another owner "
            "or a link: remove it"
        )
    directory.chmod(mode)
    return directory


@dataclass(slots=True)
class StateDirectory:
    """A locked directory. The lock dies with its holder, so a killed lab leaves none behind."""

    path: Path
    lock: int

    @classmethod
    def take(cls, path: Path | None = None) -> "StateDirectory":
        """Lock `path`, or the first free one of this user's. LabError when it is in use."""
        if path is not None:
            until = time.monotonic() + _KEEPER_SECONDS
            while (taken := cls._try(path.resolve())) is None:
                if time.monotonic() > until:
                    raise LabError(f"expected {path} to be free, found a lab in it: stop that one")
                time.sleep(0.05)
            return taken
        for number in range(1, _PARALLEL_LABS + 1):
            taken = cls._try(_labs() / f"lab-{number}")
            if taken is not None:
                return taken
        raise LabError(f"expected at most {_PARALLEL_LABS} labs of one user, found them running")

    @classmethod
    def _try(cls, path: Path) -> "StateDirectory | None":
        path.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.chmod(0o711)  # servers that run as nobody pass through; they cannot list
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return cls(path, lock)

    def clear(self) -> None:
        """Remove what an earlier lab left here, except its reports and the lock."""
        for entry in self.path.iterdir():
            if entry.name in {"lock", "reports", "processes"}:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def release(self) -> None:
        """Let another lab have the directory."""
        os.close(self.lock)


def private_file(path: Path, content: str) -> Path:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(content)
    return path
