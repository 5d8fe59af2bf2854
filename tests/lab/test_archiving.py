"""The patient's archive command, as PostgreSQL runs it."""

import subprocess
from pathlib import Path

from deployments.lab.archiving import archive_options


def archived(segment: Path, directory: Path) -> int:
    """The command's exit status for a finished segment."""
    command = archive_options(directory)["archive_command"]
    filled = command.replace("%p", str(segment)).replace("%f", segment.name)
    return subprocess.run(["/bin/sh", "-c", filled], check=False).returncode


def test_a_segment_is_archived_once_and_the_same_one_again(tmp_path: Path) -> None:
    directory = tmp_path / "it's here"
    directory.mkdir()
    segment = tmp_path / "000000010000000000000001"
    segment.write_bytes(b"one")
    assert archived(segment, directory) == 0
    assert archived(segment, directory) == 0
    assert [each.read_bytes() for each in directory.iterdir()] == [b"one"]


def test_another_segment_of_the_same_name_is_refused_and_the_first_kept(tmp_path: Path) -> None:
    directory = tmp_path / "out"
    directory.mkdir()
    segment = tmp_path / "000000010000000000000001"
    segment.write_bytes(b"one")
    assert archived(segment, directory) == 0
    segment.write_bytes(b"another")
    assert archived(segment, directory) != 0
    assert (directory / segment.name).read_bytes() == b"one"
