"""The table at the end of `make bench`, its place in bench.json and the README, what is slower."""

import os
from collections.abc import Iterator

import pytest

from tests.benchmarks import history, table
from tests.benchmarks.figures import RECORDED

MEASURING = pytest.StashKey[float]()
"""Load of the machine before the run; only `make bench` measures: figures of a run among other
tests are nobody's figures."""


@pytest.hookimpl
def pytest_sessionstart(session: pytest.Session) -> None:
    if os.environ.get("RUNBOOK_BENCH"):
        session.config.stash[MEASURING] = os.getloadavg()[0]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield  # pytest's own summary
    load = session.config.stash.get(MEASURING, None)
    if load is None or not RECORDED.rows:
        return
    run = history.here(RECORDED.rows, load)
    before = history.committed()
    kept = history.read(history.FILE.read_text("utf-8")) if history.FILE.exists() else []
    history.write([*kept, run])
    table.write()  # here, so that the README never lags behind bench.json
    print(f"\n{history.table(run.rows)}")
    slower = history.regressions(run, before)
    for sentence in slower:
        print(f"SLOWER than the committed figures: {sentence}")
    if slower and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
