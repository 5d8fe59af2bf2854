"""The room in memory: a run's own for as long as it lives, and gone after it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RUN = """
import sys
from tests import room
made = room.choose()
print(made.path if made else "", flush=True)
sys.stdin.read()
if made:
    made.leave()
"""


@contextmanager
def run(**variables: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run of tests, as far as its room goes, and the room."""
    known = {name: value for name, value in os.environ.items() if name != "RLHF_LAB_AREA"}
    running = subprocess.Popen(
        [sys.executable, "-c", _RUN],
        env=known | variables,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stdout is not None
        said = running.stdout.readline().strip()
        if not said and not variables:
            running.kill()
            pytest.skip("this machine has no room in memory")
        yield running, Path(said)


def test_room_is_left_alone_while_its_run_lives_and_goes_with_it() -> None:
    with run() as (_, first):
        (first / "file").write_text("mine")
        with run() as (_, second):
            assert second != first
        assert not second.exists()
        assert (first / "file").read_text() == "mine"
    assert not first.exists()


def test_room_of_a_killed_run_is_removed_by_the_next() -> None:
    with run() as (killed, left):
        killed.kill()
    assert left.is_dir()
    with run() as (_, second):
        assert not left.exists()
        assert second.is_dir()


@pytest.mark.parametrize("variable", ["RUNBOOK_BENCH", "RLHF_LAB_AREA"])
def test_benchmarks_and_workers_take_none(variable: str, tmp_path: Path) -> None:
    with run(**{variable: str(tmp_path)}) as (_, room):
        assert room == Path()
