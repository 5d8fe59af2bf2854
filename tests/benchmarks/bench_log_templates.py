"""100,000 log lines on one screen, beside drain3, which clusters and no more.

Run it: python -m pytest tests/benchmarks/bench_log_templates.py -rP. The peer runs in the same
minute in an environment of its own, over the same lines; it reads no levels, times or JSON, ranks
nothing and hides nothing.
"""

import json
import random
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.domain.log_lines import Level, LogLine
from tasks.domain.log_templates import Novelty, digest
from tests.benchmarks import bulk_peers
from tests.benchmarks.figures import Row, show

pytestmark = pytest.mark.slow

LINES = 100_000
ROUNDS = 3
LIMIT_SECONDS = 2.0
BEGAN = datetime(2026, 3, 14, 2, 0, tzinfo=UTC)
ONSET_LINE = 80_000
NAMES = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"]

# Two lines of output: seconds of processor time, and the number of templates.
_DRAIN3 = """
import json, sys, time
from drain3 import TemplateMiner
lines = json.load(open(sys.argv[1]))
miner = TemplateMiner()
began = time.process_time()
for line in lines:
    miner.add_log_message(line)
print(time.process_time() - began)
print(len(miner.drain.clusters))
"""


def test_a_hundred_thousand_lines_are_read_in_two_seconds(tmp_path: Path) -> None:
    lines = [
        LogLine(text, BEGAN + timedelta(seconds=number * 0.02), "api-1/api")
        for number, text in enumerate(system_log())
    ]
    onset = BEGAN + timedelta(seconds=ONSET_LINE * 0.02)
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        found = digest(lines, onset=onset)
        spent.append(time.process_time() - began)
    worst = found.templates[0]
    assert (worst.level, worst.novelty) == (Level.ERROR, Novelty.NEW)
    assert found.lines == sum(found.levels.values()) == LINES
    peer, kinds = drain3([line.text for line in lines], tmp_path)
    print(f"kinds of lines: ours {found.kinds}, drain3 {kinds}")
    work = f"cluster {LINES:,} log lines"
    show([Row(work, min(spent), LIMIT_SECONDS, peer="drain3 0.9", theirs=peer)])


def test_lines_that_are_all_distinct_are_slower_by_a_factor_and_not_endless() -> None:
    """What a hostile system can do: no line like another, none of them seen before."""
    dice = random.Random(11)
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = [
        LogLine("ERROR " + " ".join("".join(dice.choices(letters, k=7)) for _ in range(20)))
        for _ in range(LINES // 10)
    ]
    began = time.process_time()
    found = digest(lines)
    spent = time.process_time() - began
    print(f"{found.kinds} kinds kept")
    show([Row(f"cluster {LINES // 10:,} distinct lines of 20 words", spent, LIMIT_SECONDS)])


def drain3(lines: list[str], place: Path) -> tuple[float, int]:
    """Its seconds of processor time and its number of templates; skipped where PyPI is away."""
    python = bulk_peers.private_environment("drain3", "drain3==0.9.11")
    file = place / "lines.json"
    file.write_text(json.dumps(lines), encoding="utf-8")
    done = subprocess.run(
        [python, "-c", _DRAIN3, file], check=True, capture_output=True, text=True, timeout=600
    )
    seconds, kinds = done.stdout.split()
    return float(seconds), int(kinds)


def system_log() -> list[str]:
    """What the audited system writes in half an hour; its database goes at the 80,000th line."""
    dice = random.Random(5)
    return [_line(dice, number) for number in range(LINES)]


def _line(dice: random.Random, number: int) -> str:
    kind = dice.random()
    at = (BEGAN + timedelta(seconds=number * 0.02)).isoformat(timespec="milliseconds")
    if kind < 0.05 and number > ONSET_LINE:
        return f"{at} ERROR audit_api.database: connection to 10.0.0.5:5432 failed: no slot is free"
    if kind < 0.65:
        return _request(dice, at, kind)
    if kind < 0.75:
        wrote = f"wrote {dice.randrange(1000)} buffers; write={dice.random():.3f} s"
        return f"{at} [4711] LOG:  checkpoint complete: {wrote}"
    if kind < 0.80:
        task = f"task audit.seal[{dice.getrandbits(128):032x}]"
        return f"{at} WARNING celery.worker: {task} retry: Retry in {dice.randrange(60)}s"
    if kind < 0.85:
        return f"user {dice.choice(NAMES)} logged in from 10.1.{dice.randrange(255)}.7"
    return f"{at} DEBUG cache: GET session:{dice.getrandbits(40):x} hit in {dice.random():.4f} ms"


def _request(dice: random.Random, at: str, kind: float) -> str:
    if kind < 0.45:
        address = f"10.0.{dice.randrange(255)}.{dice.randrange(255)}:{dice.randrange(65_000)}"
        path = f"/api/v1/audit/records?limit={dice.randrange(500)}"
        return f'INFO:     {address} - "GET {path} HTTP/1.1" 200 OK'
    if kind < 0.55:
        took = f"head {dice.randrange(10**6)} in {dice.random() * 10:.3f} ms"
        return f"{at} INFO audit_api.appender: appended {dice.randrange(100)} records, {took}"
    said = f"session {dice.getrandbits(64):x} opened by annotator-{dice.randrange(1000)}"
    return json.dumps({"level": "info", "ts": at, "msg": said, "request": dice.getrandbits(32)})
