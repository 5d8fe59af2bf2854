"""Marking dead runs: what can be said without a Prefect server; test_scaled_out.py has one."""

import os
import subprocess
import sys

import pytest

from deployments import dead_runs
from deployments.exits import COULD_NOT_TELL


@pytest.mark.parametrize(
    ("url", "said"),
    [(None, "expected PREFECT_API_URL"), ("http://127.0.0.1:9/api", "http://127.0.0.1:9/api")],
)
def test_without_a_server_nothing_is_said_to_be_in_place(
    url: str | None, said: str, tmp_path: os.PathLike[str]
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**kept, "PREFECT_HOME": str(tmp_path)}
    if url is not None:
        environment["PREFECT_API_URL"] = url
    command = [sys.executable, "-m", "deployments.dead_runs"]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == COULD_NOT_TELL
    assert said in ended.stderr
    assert "in place" not in ended.stdout


def test_silence_is_three_heartbeats_and_every_end_of_a_run_breaks_it() -> None:
    trigger = dead_runs.wanted().trigger
    assert trigger.within.total_seconds() == 3 * 30
    assert trigger.after == {"prefect.flow-run.heartbeat"}
    ends = {"Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused", "heartbeat"}
    assert trigger.expect == {f"prefect.flow-run.{each}" for each in ends}
