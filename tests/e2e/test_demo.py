"""`runbook demo` as a stranger runs it: a process of its own, looked at from outside."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from deployments.lab import alertmanager, prometheus
from deployments.lab.environment import PROJECT
from deployments.lab.gameday.rounds import OF_PEOPLE
from deployments.lab.processes import MARK
from deployments.lab.scenarios import SCENARIOS
from deployments.lab.state import StateDirectory
from tasks.clients.server_user import NOBODY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_STATE = re.compile(r"--token-file\s+(\S+)/approver\.token")
RECORDS = 5000
SECONDS = 600.0
_TERMINAL = {"COLUMNS": "400", "PYTHONUNBUFFERED": "1"}
_SENT_BY = (
    "Prometheus and Alertmanager"
    if prometheus.installed() and alertmanager.installed()
    else "the demo itself"
)
_KEYS = {
    "scenario": (),
    "damaged": (),
    "checks": (),
    "incident": (),
    "severity": (),
    "findings": (),
    "restore": ("records_before", "records_after", "verified", "outage_seconds"),
    "report": ("html", "pdf"),
    "timeline": (),
    "alert_sent_by": (),
    "seconds": ("damage_to_alert", "alert_to_first_check", "alert_to_diagnosis", "total"),
    "state": (),
}


@dataclass
class Demo:
    """A running demo and what it has printed so far."""

    popen: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.printed)

    @property
    def state(self) -> Path:
        """Its state directory, as the line for people names it."""
        found = _STATE.search(self.text)
        assert found is not None, self.text
        return Path(found[1])

    def until_it_prints(self, words: str) -> None:
        deadline = time.monotonic() + SECONDS
        while words not in self.text:
            assert self.popen.poll() is None, self.text
            assert time.monotonic() < deadline, f"not printed: {words!r} in {self.text}"
            time.sleep(0.01)

    def ended(self, seconds: float = SECONDS) -> int:
        return self.popen.wait(seconds)


@contextmanager
def demo(
    directory: Path,
    *options: str,
    records: int = 2000,
    become: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Demo]:
    """The command, started; killed at the end if it still runs."""
    popen = subprocess.Popen(
        [
            *(*become, sys.executable, "-m", "deployments.cli", "demo"),
            *("--records", str(records), "--reports", str(directory / "reports"), *options),
        ],
        cwd=PROJECT,
        env={**environment, **_TERMINAL},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Demo(popen)
    assert popen.stdout is not None
    reading = Thread(target=lambda: running.printed.extend(iter(popen.stdout.readline, "")))
    reading.start()
    try:
        yield running
    finally:
        popen.kill()
        popen.wait()
        reading.join(10)
        popen.stdout.close()


def left_over(state: Path) -> list[str]:
    """Processes that carry the mark of the lab in this state directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(state):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def assert_gone(state: Path, seconds: float) -> None:
    """Nothing of the lab runs, and its directory can be taken, within the time."""
    deadline = time.monotonic() + seconds
    while (left := left_over(state)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    StateDirectory.take(state).release()


def assert_it_worked(
    running: Demo, written: Path, sent_by: str = _SENT_BY, severity: str = "P0"
) -> dict[str, Any]:
    """Exit 0, the JSON that programs rely on, both reports; the JSON."""
    assert running.ended() == 0, running.text
    said = json.loads(written.read_text(encoding="utf-8"))
    assert said.keys() >= _KEYS.keys()
    for name, inner in _KEYS.items():
        assert not inner or said[name].keys() >= set(inner)
    assert (said["state"], said["severity"]) == ("closed", severity)
    assert said["restore"]["verified"] is True
    assert said["acknowledged"]["missing"] == []
    assert said["alert_sent_by"] == sent_by, running.text
    assert f"Alert   sent by {sent_by}, " in running.text
    for form in ("html", "pdf"):
        assert Path(said["report"][form]).stat().st_size > 1000
    return dict(said)


def test_the_demo_proves_its_response_and_leaves_nothing_behind(tmp_path: Path) -> None:
    written = tmp_path / "demo.json"
    with demo(tmp_path, "--yes", "--json", str(written), records=RECORDS) as running:
        said = assert_it_worked(running, written)
        assert_gone(running.state, 0)
    codes = {finding["code"] for finding in said["findings"]}
    assert codes == {"MODIFIED", "DELETED", "UNSIGNED_TAIL", "SPLIT_VIEW"}
    damaged = {code: _records(said["findings"], code) for code in ("MODIFIED", "DELETED")}
    assert {code: len(seqs) for code, seqs in damaged.items()} == {"MODIFIED": 7, "DELETED": 5}
    assert max(map(max, damaged.values())) < RECORDS
    assert said["restore"]["records_after"] > RECORDS
    assert said["seconds"]["total"] < SECONDS  # 24 s on an idle machine; here others run beside it
    assert said["memory_bytes"] < 1.5e9
    assert "approved by demo approver (simulated)" in running.text
    assert "The proof holds." in running.text


@pytest.mark.slow
def test_a_dropped_table_comes_back_whole(tmp_path: Path) -> None:
    written = tmp_path / "demo.json"
    options = ("--yes", "--scenario", "table-dropped", "--json", str(written))
    with demo(tmp_path, *options) as running:
        said = assert_it_worked(running, written)
        assert_gone(running.state, 0)
    assert "SOURCE_MISSING" in {finding["code"] for finding in said["findings"]}
    assert said["restore"]["records_before"] == 0
    assert said["restore"]["records_after"] >= 2000


def restoring(tmp_path: Path, scenario: str) -> tuple[dict[str, Any], str]:
    """A scenario from its damage to a restored database: the JSON, and what was printed."""
    written = tmp_path / "demo.json"
    options = ("--yes", "--scenario", scenario, "--json", str(written))
    with demo(tmp_path, *options) as running:
        said = assert_it_worked(running, written)
        assert_gone(running.state, 0)
    assert said["scenario"] == scenario
    assert all(check["holds"] for check in said["checks"])
    assert said["memory_bytes"] < 1.5e9
    assert said["restore"]["records_after"] > 2000
    return said, running.text


@pytest.mark.slow
def test_a_corrupt_backup_is_named_and_the_one_before_it_restored(tmp_path: Path) -> None:
    said, printed = restoring(tmp_path, "corrupt-backup")
    assert "of the newest backup" in said["damaged"]
    assert "backup corrupt" in printed
    assert len(said["checks"]) == 6


@pytest.mark.slow
def test_poisoned_backups_are_named_and_the_last_clean_one_is_found_by_itself(
    tmp_path: Path,
) -> None:
    said, printed = restoring(tmp_path, "tampered-and-backed-up")
    assert printed.count("poisoned: 7 records altered") >= 2
    assert "the damage was done between" in printed
    assert {finding["code"] for finding in said["findings"]} >= {"MODIFIED"}


@pytest.mark.slow
def test_a_hole_in_the_wal_is_named_and_the_restore_comes_as_near_as_it_can(
    tmp_path: Path,
) -> None:
    said, printed = restoring(tmp_path, "missing-wal")
    segment = re.search(r"WAL segment ([0-9A-F]{24})", said["damaged"])
    assert segment is not None
    unwrapped = " ".join(printed.split())
    assert f"WAL segment {segment[1]} is missing; the latest moment that can be" in unwrapped
    assert "demo on-call engineer (simulated)" in printed


@pytest.mark.slow
def test_a_full_disk_stops_the_restore_before_it_begins_and_room_lets_it_go_on(
    tmp_path: Path,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    said, printed = restoring(tmp_path, "disk-full")
    refused, room = printed.index("make room"), printed.index("the disk is larger now")
    assert refused < room < printed.index("step started")
    assert "MB of disk to work in" in said["damaged"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["segments-deleted", "bucket-versions-deleted"])
def test_what_proves_the_log_is_put_back_and_proves_it(tmp_path: Path, scenario: str) -> None:
    written = tmp_path / "demo.json"
    options = ("--yes", "--scenario", scenario, "--json", str(written))
    with demo(tmp_path, *options) as running:
        said = assert_it_worked(running, written, "the demo itself", severity="P1")
        assert_gone(running.state, 0)
    assert "does not look at what is damaged" in running.text
    assert said["restore"]["records_after"] is None  # the table was never touched
    assert all(check["holds"] for check in said["checks"])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["lock-storm", "connections-exhausted", "slow-queries"])
def test_sessions_that_keep_the_database_from_serving_are_ended_and_no_others(
    tmp_path: Path, scenario: str
) -> None:
    written = tmp_path / "demo.json"
    options = ("--yes", "--scenario", scenario, "--json", str(written))
    severity = "P2" if scenario == "slow-queries" else "P0"
    with demo(tmp_path, *options) as running:
        said = assert_it_worked(running, written, "the demo itself", severity=severity)
        assert_gone(running.state, 0)
    assert all(check["holds"] for check in said["checks"])
    assert said["seconds"]["alert_to_diagnosis"] < 90  # 10 s on an idle machine
    assert f"db.{scenario}" in running.text


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(OF_PEOPLE))
def test_what_people_must_hear_of_or_judge_ends_as_the_demo_judges(
    tmp_path: Path, scenario: str
) -> None:
    written = tmp_path / "demo.json"
    with demo(tmp_path, "--yes", "--scenario", scenario, "--json", str(written)) as running:
        assert running.ended() == 0, running.text
        assert_gone(running.state, 0)
    said = json.loads(written.read_text())
    assert said["checks"]
    assert all(check["holds"] for check in said["checks"])
    assert said["state"] == "closed" or SCENARIOS[scenario].stays_open


@pytest.mark.slow
def test_without_prometheus_and_alertmanager_the_demo_sends_the_alert_itself(
    tmp_path: Path,
) -> None:
    written = tmp_path / "demo.json"
    environment = {**os.environ, "PATH": str(_programs_without(tmp_path, "alertmanager"))}
    with demo(tmp_path, "--yes", "--json", str(written), environment=environment) as running:
        assert_it_worked(running, written, "the demo itself")
    assert "not both installed" in running.text


@pytest.mark.slow
def test_a_demo_that_was_killed_at_any_moment_leaves_nothing_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    moments = ("S3 ...", "gateway ...", "Damage", "evidence sealed", "step started")
    state = None
    for moment in moments:
        with demo(tmp_path, "--yes") as running:
            running.until_it_prints(moment)
            running.popen.send_signal(signal.SIGKILL)
            running.ended()
            marked = _STATE.search(running.text)
            state = Path(marked[1]) if marked else state
        if state is not None:
            assert_gone(state, 10)
    written = tmp_path / "demo.json"
    with demo(tmp_path, "--yes", "--json", str(written)) as running:
        assert_it_worked(running, written)
        assert running.state == state
    assert_gone(running.state, 0)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["S3 ...", "alert received"])
def test_ctrl_c_ends_the_demo_within_seconds(tmp_path: Path, moment: str) -> None:
    with demo(tmp_path, "--stay") as running:
        running.until_it_prints(moment)
        descendants = psutil.Process(running.popen.pid).children(recursive=True)
        running.popen.send_signal(signal.SIGINT)
        assert running.ended(15) == 2
        assert "Stopped." in running.text
        assert "Traceback" not in running.text
    _, alive = psutil.wait_procs(descendants, timeout=3)
    assert alive == []


@pytest.mark.slow
def test_the_demo_works_for_a_user_who_is_not_root() -> None:
    """As `nobody`, who here may read the checkout and the interpreter wherever root has them."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip(
            "needs root and setpriv to become `nobody`; without root, all tests are this one"
        )
    become = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        home = Path(directory)
        os.chown(home, NOBODY, NOBODY)
        written = home / "demo.json"
        environment = {"HOME": directory, "PATH": os.environ["PATH"]}
        options = ("--yes", "--json", str(written))
        with demo(home, *options, become=become, environment=environment) as running:
            assert_it_worked(running, written)
            assert running.state.is_relative_to(home)
            assert running.state.stat().st_uid == NOBODY
            assert left_over(running.state) == []


def _programs_without(directory: Path, name: str) -> Path:
    """A directory of all programs on PATH but those with this in their names."""
    made = directory / "bin"
    made.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*"):
            if name not in program.name and not (made / program.name).is_symlink():
                (made / program.name).symlink_to(program)
    return made


def _records(findings: list[dict[str, Any]], code: str) -> list[int]:
    """Every seq that the findings of one code name."""
    return [
        seq
        for finding in findings
        if finding["code"] == code
        for seq in range(finding["seq"], finding["seq"] + finding["count"])
    ]
