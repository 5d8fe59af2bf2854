"""Witness processes, and a real PostgreSQL with a table to seal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.sealing.witnessing import WitnessProcess


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    """One witness that has seen nothing."""
    one = WitnessProcess("witness.example/one", tmp_path / "one").start()
    yield one
    one.kill()


@pytest.fixture
def other_witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    """Another."""
    two = WitnessProcess("witness.example/two", tmp_path / "two").start()
    yield two
    two.kill()
