"""Nothing of a lab outlives it, however it ends."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT, clean_environment, require_loopback
from deployments.lab.errors import LabError
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from deployments.lab.sweeping import MARK, sweep
from tasks.clients.launcher import boot_id, start_ticks

_SMALL_LAB = """
import sys, time
from pathlib import Path
from deployments.lab.stack import Lab, Options
options = Options(records=300, prefect=False, state=Path(sys.argv[1]), checked_per_second=0)
with Lab(options) as lab:
    print(*lab.processes.pids(), flush=True)
    time.sleep(60)
"""


def _is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def _wait_until_gone(pids: list[int], seconds: float = 10) -> list[int]:
    until = time.monotonic() + seconds
    while (left := [pid for pid in pids if _is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _started_lab(state: Path) -> tuple[subprocess.Popen[str], list[int]]:
    lab = subprocess.Popen(
        [sys.executable, "-c", _SMALL_LAB, str(state)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert lab.stdout is not None
    pids = [int(pid) for pid in lab.stdout.readline().split()]
    lab.stdout.close()
    return lab, pids


@pytest.mark.components
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_a_lab_that_is_ended_by_a_signal_leaves_no_process(
    number: signal.Signals, state_path: Path
) -> None:
    lab, pids = _started_lab(state_path)
    assert len(pids) >= 6
    lab.send_signal(number)
    lab.wait(30)
    assert _wait_until_gone(pids) == []
    again = StateDirectory.take(state_path)
    assert sweep(again.path) == 0
    assert not (again.path / "litter").exists()
    again.release()


@pytest.mark.components
@pytest.mark.slow
def test_a_second_lab_starts_where_a_killed_one_was(state_path: Path) -> None:
    first, first_pids = _started_lab(state_path)
    first.kill()
    first.wait(30)
    second, second_pids = _started_lab(state_path)
    assert len(second_pids) >= 6
    assert not any(_is_running(pid) for pid in first_pids)
    second.terminate()
    second.wait(30)
    assert _wait_until_gone(second_pids) == []


def test_a_sweep_kills_what_the_registry_names(state_path: Path) -> None:
    state_path.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    line = f"{sleeper.pid} {start_ticks(sleeper.pid)} {boot_id()}\n"
    (state_path / "processes").write_text(line + "77 1")
    assert sweep(state_path) == 1
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not (state_path / "processes").exists()


def test_a_sweep_spares_a_process_that_got_the_number_later(state_path: Path) -> None:
    state_path.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    started = start_ticks(sleeper.pid)
    assert started is not None
    (state_path / "processes").write_text(f"{sleeper.pid} {started - 1} {boot_id()}\n")
    assert sweep(state_path) == 0
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait(5)


def test_a_sweep_finds_grandchildren_by_their_mark(state_path: Path) -> None:
    state_path.mkdir()
    environment = {**os.environ, MARK: str(state_path)}
    sleeper = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{state_path}-2"})
    assert sweep(state_path) == 1
    assert sleeper.wait(5) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait(5)


def test_a_part_that_dies_at_its_start_is_reported_with_its_last_words(state_path: Path) -> None:
    processes = Processes(StateDirectory.take(state_path))
    child = processes.start(
        "broken", [sys.executable, "-c", "raise SystemExit('no disk')"], environment={}
    )
    with pytest.raises(LabError, match=r"expected broken to start(.|\n)*no disk"):
        child.wait_ready(lambda: False, 10)
    processes.stop_all()


def test_labs_are_made_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_LAB_AREA", str(tmp_path))
    first, second = StateDirectory.take(), StateDirectory.take()
    assert [first.path, second.path] == [tmp_path / "lab-1", tmp_path / "lab-2"]
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o711
    first.release()
    second.release()


def test_two_labs_take_two_directories(state_path: Path) -> None:
    first, second = StateDirectory.take(), StateDirectory.take()
    assert first.path != second.path
    first.release()
    second.release()
    mine = StateDirectory.take(state_path)
    other = (
        "import sys; from pathlib import Path; from deployments.lab.state import StateDirectory;"
        "StateDirectory.take(Path(sys.argv[1]))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", other, str(state_path)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "found a lab in it" in refused.stderr
    mine.release()


def test_children_inherit_nothing_that_points_at_a_real_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KUBECONFIG", "AWS_PROFILE", "PGHOST", "PREFECT_API_URL", "RUNBOOK_API__URL"):
        monkeypatch.setenv(name, "production")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    inherited = clean_environment()
    assert "production" not in inherited.values()
    assert "https_proxy" not in inherited
    assert inherited["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("url", ["http://10.0.0.5:9000", "https://s3.example.com", "db.internal"])
def test_an_endpoint_beyond_this_machine_is_refused(url: str) -> None:
    with pytest.raises(LabError, match="on loopback"):
        require_loopback(url)
