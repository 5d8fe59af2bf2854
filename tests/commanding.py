"""`runbook ...` in the tests' own process: its exit code and what it printed."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.cli import main
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.settings import settings
from tests.domain.ledger.sample_log import chained, sealed_files


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """No setting of ours, except in tests with a lab; what a test sets is read."""
    if "patient" not in request.fixturenames:
        for name in [name for name in os.environ if name.startswith("RUNBOOK_")]:
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`runbook ...` in this process, its output into a pipe."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["runbook", *map(str, arguments)])
        code: object = GOOD
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert isinstance(code, int)
        return Ended(code, said.out, said.err)

    return run


def could_not_tell(ended: Ended, words: str) -> None:
    """Exit 2 with one line that says why, and no traceback."""
    assert ended.code == COULD_NOT_TELL, ended
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert ended.err.startswith("runbook: ")
    assert words in ended.err


def sealed_log(directory: Path, records: int = 300) -> Path:
    """A directory as the sealer leaves it."""
    for path, data in sealed_files(chained(records), older=(100,)).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory
