"""The intake alone: notifications per second, each durable before its 2xx, and its memory.

Run it: python -m pytest tests/benchmarks/bench_intake.py -rP. A gateway process as in production
(without Prefect, so that nothing is dispatched), a PostgreSQL with all its guarantees on, and the
senders in a third process, all on this machine. A peer does less in the same minute.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from deployments.lab.postgres import SUPERUSER, PostgresServer
from deployments.lab.processes import Child, Processes
from deployments.lab.state import StateDirectory
from tasks.work import responder
from tests.benchmarks.figures import Row, Sense, show
from tests.gateway.stack import ALERT_TOKEN, answers, free_port, new_server, pointed_at, until_true

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
COMPONENTS = 40
SENDERS = 64
WARM_UP = 500
COUNT = 5000
MEMORY_COUNT = 10_000
LEAST_PER_SECOND = 800
LIMIT_P99_SECONDS = 0.5
MEMORY_SLACK_MIB = 16
KIB_PER_OPEN_ALERT = 6
TICK_SECONDS = 12.0
"""Until the ticker has read further alerts of what fires, as it does every ten seconds."""

GUARANTEES = ("fsync", "synchronous_commit", "full_page_writes")

ROUTE = """
[[routes]]
name = "component-{number:02d}"
matchers = ['alertname="Component{number:02d}"']
component = "component-{number:02d}"
procedure = "triage"
title = "Component {number:02d}: it does not answer"
severity = "P2"
remedy = "manual"
"""
LAST = """
[[routes]]
name = "rest"
matchers = []
component = "unknown"
procedure = "triage"
title = "Alert: {alertname}"
remedy = "manual"
"""


@dataclass(frozen=True)
class Bench:
    url: str
    gateway: Child
    server: PostgresServer
    processes: Processes


@dataclass(frozen=True)
class Run:
    whole: float
    seconds: list[float]

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.whole

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, round(share * len(self.seconds)))]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as directory,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        processes = Processes(StateDirectory.take(Path(directory)))
        policy = Path(directory) / "policy.toml"
        routes = [ROUTE.format(number=number) for number in range(COMPONENTS)]
        policy.write_text("".join(routes) + LAST)
        try:
            server = new_server(processes, "responder")
            server.start()
            with pointed_at(server.dsn(SUPERUSER, "postgres"), monkeypatch):
                url = f"http://127.0.0.1:{free_port()}"
                gateway = processes.start(
                    "gateway",
                    [sys.executable, "-m", "deployments.gateway"],
                    environment=os.environ
                    | {
                        "PREFECT_API_URL": "http://127.0.0.1:9/api",
                        "RUNBOOK_GATEWAY__URL": url,
                        "RUNBOOK_GATEWAY__WARM_CHILDREN": "1",
                        "RUNBOOK_GATEWAY__POLICY_FILE": str(policy),
                        "RUNBOOK_GATEWAY__SPOOL": str(Path(directory) / "spool"),
                        "RUNBOOK_GATEWAY__ALERTS_PER_SECOND": "100000",
                    },
                    directory=PROJECT,
                    grace_seconds=20,
                )
                gateway.wait_ready(lambda: answers(f"{url}/healthz"), 60)
                # its child has imported what it needs, and leaves the processor to us
                until_true(lambda: "child waits" in gateway.log.read_text(), 120)
                yield Bench(url, gateway, server, processes)
        finally:
            processes.stop_all()


def send(url: str, first: int, count: int, receiver: str = "runbook") -> Run:
    """Distinct notifications of one alert each; every one must be answered 200."""
    numbers = (first, count, SENDERS, COMPONENTS)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.benchmarks.alert_load", url, ALERT_TOKEN, receiver),
            *map(str, numbers),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
        timeout=250,
    )
    found = json.loads(done.stdout)
    assert found["statuses"] == {"200": count}
    return Run(found["whole"], found["seconds"])


def test_intake_alone_takes_800_durable_notifications_per_second(bench: Bench) -> None:
    with bench.server.connect() as connection:
        for name in GUARANTEES:
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            print(f"{name} = {row[0] if row else ''}")
            assert row == ("on",)
    send(bench.url, 0, WARM_UP)
    ours = send(bench.url, WARM_UP, COUNT)
    theirs = peer(bench)
    for name, run in (("ours", ours), ("peer", theirs)):
        print(
            f"{name}: {run.per_second:.0f} notifications/s, 2xx p50"
            f" {statistics.median(run.seconds) * 1000:.0f} ms, p99"
            f" {run.quantile(0.99) * 1000:.0f} ms, {SENDERS} senders, {COMPONENTS} components"
        )
    work = f"{COUNT} notifications, durable, into incidents"
    less = "FastAPI + INSERT per request: bodies only"
    by = {"unit": "/s", "peer": less, "theirs": theirs.per_second}
    show(
        [
            Row(work, ours.per_second, LEAST_PER_SECOND, Sense.LEAST, **by),
            Row(f"{work}, 2xx p99", ours.quantile(0.99), LIMIT_P99_SECONDS),
        ]
    )
    assert stored() == {
        "notifications": WARM_UP + COUNT,
        "alerts": WARM_UP + COUNT,
        "incidents": COMPONENTS,
    }


def peer(bench: Bench) -> Run:
    """The same from the same senders in the same minute, of a plain service."""
    with bench.server.connect() as connection:
        connection.execute("CREATE DATABASE peer")
    port = free_port()
    child = bench.processes.start(
        "peer",
        [
            *(sys.executable, "-m", "tests.benchmarks.plain_intake"),
            *(bench.server.dsn(SUPERUSER, "peer"), str(port)),
        ],
        environment=os.environ,
        directory=PROJECT,
    )
    url = f"http://127.0.0.1:{port}"
    child.wait_ready(lambda: answers(f"{url}/openapi.json"), 60)
    send(url, 0, WARM_UP)
    run = send(url, WARM_UP, COUNT)
    child.stop()
    return run


def test_memory_of_the_gateway_stays_flat_over_ten_thousand_notifications(bench: Bench) -> None:
    """Once with alerts that join open incidents, which the ticker remembers; once with copies."""
    send(bench.url, 50_000, 2 * WARM_UP)
    marks = [resident(bench)]
    for receiver in ("runbook", "the other of the pair"):
        run = send(bench.url, 60_000, MEMORY_COUNT, receiver)
        time.sleep(TICK_SECONDS)
        marks.append(resident(bench))
        print(f"{MEMORY_COUNT} notifications at {run.per_second:.0f}/s, to {receiver}")
    print(
        f"resident {marks[0]:.0f} MiB, {marks[1]:.0f} MiB with {MEMORY_COUNT} alerts more in"
        f" {COMPONENTS} open incidents, {marks[2]:.0f} MiB after their copies"
    )
    grown = (marks[1] - marks[0]) * 1024 / MEMORY_COUNT
    show(
        [
            Row("memory for an alert of an open incident", grown, KIB_PER_OPEN_ALERT, unit="KiB"),
            Row(
                *(f"memory for {MEMORY_COUNT:,} copies", marks[2] - marks[1], MEMORY_SLACK_MIB),
                unit="MiB",
            ),
        ]
    )


def resident(bench: Bench) -> float:
    """MiB of the gateway's own process, without its children."""
    return psutil.Process(bench.gateway.popen.pid).memory_info().rss / 2**20


def stored() -> dict[str, int]:
    """What is in the database, by its own count."""
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM notifications), (SELECT count(*) FROM alerts),"
            " (SELECT count(DISTINCT incident) FROM journal WHERE kind = 'opened')"
        ).fetchone()
    assert row is not None
    return dict(zip(("notifications", "alerts", "incidents"), row, strict=True))
