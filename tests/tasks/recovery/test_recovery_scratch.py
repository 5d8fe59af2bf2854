"""Room for personal data: private, empty, and cleared after a process that was killed."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT
from tasks.domain.errors import Refused
from tasks.work.scratch import private_scratch

_KILLED = """
import os, signal
from tasks.work.scratch import private_scratch
with private_scratch("INC-1") as directory:
    (directory / "table").write_bytes(b"personal")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_use_is_private_and_leaves_nothing(temporary: Path) -> None:
    with private_scratch("INC-1/../../x") as directory:
        (directory / "table").write_bytes(b"personal")
        for each in (directory, directory.parent, directory.parent.parent):
            assert each.stat().st_mode & 0o777 == 0o700
        assert directory.parent.parent.parent == temporary

    assert files_below(temporary) == []
    assert list(next(temporary.iterdir()).iterdir()) == []


@pytest.mark.parametrize("incident", ["INC-1", "INC-2"])
def test_what_a_killed_process_left_is_removed_by_the_next_use(
    temporary: Path, incident: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(files_below(temporary)) == 1

    with private_scratch(incident) as directory:
        assert files_below(temporary) == []
        assert directory.is_dir()


def test_a_use_that_goes_on_is_left_alone_by_another() -> None:
    with private_scratch("INC-1") as first:
        (first / "table").write_bytes(b"personal")
        for incident in ("INC-1", "INC-2"):
            with private_scratch(incident) as second:
                assert second != first
        assert (first / "table").read_bytes() == b"personal"


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_place_that_others_can_read_is_refused(temporary: Path, kind: str) -> None:
    with private_scratch("INC-1") as directory:
        top = directory.parent.parent
    for each in top.iterdir():
        each.rmdir()
    if kind == "open":
        top.chmod(0o755)
    else:
        top.rmdir()
        elsewhere = temporary / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        top.symlink_to(elsewhere) if kind == "link" else top.write_bytes(b"")

    with pytest.raises(Refused, match="set TMPDIR"), private_scratch("INC-1"):
        pass
