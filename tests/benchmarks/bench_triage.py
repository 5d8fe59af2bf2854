"""Triage of a system that is well and of one of which two parts hang, beside the commands by hand.

Run it: python -m pytest tests/benchmarks/bench_triage.py -rP. The peer is what the runbook's first
section types, in its order, each command ended after five seconds; it looks at no users, logs,
deployments or silences, assigns no severity and writes nothing down.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.lab.environment import LOOPBACK
from deployments.lab.kubernetes import redis_cli
from deployments.lab.postgres import binaries
from deployments.lab.stack import Lab, Options
from tasks.settings import settings
from tasks.work import journal
from tests.benchmarks.figures import Row, show
from tests.clients.loopback import answering
from tests.flows.triaging import crowd, declared, triaged

pytestmark = pytest.mark.slow

ROUNDS = 5
TIME_OUT, SLACK = 5.0, 0.5
HEALTHY_LIMIT = 1.5
STEPS = {
    *("triage.api-health", "triage.database", "triage.cache", "triage.alerts", "triage.silences"),
    *("triage.impact", "triage.deployments", "triage.logs", "triage.components"),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Options(records=2000, cluster=True, alerting=True, writer=False)) as running:
        yield running


def test_triage_ends_with_its_slowest_look(lab: Lab) -> None:
    if lab.prometheus is None or lab.alertmanager is None:
        pytest.skip("no prometheus or no alertmanager is installed on PATH")
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed on PATH")
    warming, *well = [declared() for _ in range(1 + ROUNDS)]
    hanging = [declared() for _ in range(2)]
    over = threading.Event()

    def silent(_: object) -> None:
        over.wait(120)

    with answering(silent) as database, answering(silent) as metrics:
        stuck = {
            "RUNBOOK_DATABASE__READER_DSN": f"postgresql://x:y@{LOOPBACK}:{database}/rlhf_audit",
            "RUNBOOK_METRICS__PROMETHEUS_URL": f"http://{LOOPBACK}:{metrics}",
        }
        try:
            took = triaged(
                *((name, {}) for name in (warming, *well)), *((name, stuck) for name in hanging)
            )
            here = str(lab.prometheus.url)
            by_hand = typed(lab, lab.patient.port, here)
            by_hand_stuck = typed(lab, database, f"http://{LOOPBACK}:{metrics}")
        finally:
            over.set()
    for incident in (*well, *hanging):
        assert set(journal.read(incident).checks) >= STEPS
    for step, look in journal.read(well[-1]).checks.items():
        print(f"{step}: {look['health']} in {look['seconds']} s: {look['summary'][:90]}")
    quick, slow = sorted(took[each] for each in well), [took[each] for each in hanging]
    print(f"healthy, from the quickest: {[round(each, 2) for each in quick]}, crowd {crowd():.1f}")
    peer = "the runbook's four commands by hand"
    most, waits = HEALTHY_LIMIT * crowd(), TIME_OUT + SLACK * crowd()
    show(
        [
            Row("triage, healthy", quick[0], most, peer=peer, theirs=by_hand),
            Row("triage, two hang", min(slow), waits, peer=peer, theirs=by_hand_stuck),
        ]
    )


def typed(lab: Lab, postgres: int, prometheus: str) -> float:
    """Seconds of the commands, one after the other, whatever they find."""
    redis = settings().cache.url.get_secret_value()
    commands = [
        ["curl", "-sf", f"{lab.api.url}/health"],
        [str(Path(binaries()) / "pg_isready"), "-h", LOOPBACK, "-p", str(postgres), "-t", "60"],
        [sys.executable, "-I", redis_cli.__file__, "ping"],
        ["curl", "-s", f"{prometheus}/api/v1/alerts"],
    ]
    known = os.environ | {"LAB_REDIS_PORT": str(lab.cache.port)}
    assert str(lab.cache.port) in redis
    began = time.perf_counter()
    for command in commands:
        subprocess.run(
            ["timeout", str(TIME_OUT), *command], check=False, capture_output=True, env=known
        )
    return time.perf_counter() - began
