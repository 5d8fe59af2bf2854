"""The report of an incident of 5,000 facts as HTML, PDF and JSON, signed, beside a browser's PDF.

Run it: python -m pytest tests/benchmarks/bench_report.py -rP. The peer prints our page to PDF with
Chromium, which is what else makes a PDF of a page: it reads no facts, draws no plot and writes no
HTML.
"""

import shutil
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.ledger import NoteSigner
from tasks.work.rendering import write_report
from tests.benchmarks.figures import Row, show
from tests.builders import ALERT_AT, INCIDENT
from tests.story import long_incident

pytestmark = pytest.mark.slow

FACTS = 5000
ROUNDS = 3
LIMIT = 3.0
NOW = ALERT_AT + timedelta(hours=3)
SIGNER = NoteSigner.from_seed("responder.example", b"s" * 32)


def reviewed() -> Incident:
    """A long night, with all that people and Prometheus add to it afterwards."""
    facts = list(long_incident(FACTS).facts)

    def add(kind: FactKind, data: dict[str, object], by: str) -> None:
        last = facts[-1]
        facts.append(Fact(last.seq + 1, INCIDENT, last.at, kind, by, data))

    for number in range(40):
        item = {"item": f"A{number + 1}", "action": f"do {number}", "kind": "prevent"}
        add(
            FactKind.ACTION_SET,
            item | {"owner": "o", "due": "2026-03-20", "verification": "v"},
            "a",
        )
    for question in ("factors", "causes", "prevention", "lessons"):
        add(FactKind.ANSWERED, {"question": question, "text": "a line of words\n" * 60}, "a")
    began = ALERT_AT.timestamp()
    ranges = [
        {"name": name, "title": name, "unit": "share", "points": points}
        for name in ("errors", "p95", "requests")
        for points in [[[began + place, place % 7 / 7] for place in range(180)]]
    ]
    add(FactKind.RANGES_KEPT, {"ranges": ranges}, "runbook")
    return fold(INCIDENT, facts)


def test_a_report_of_five_thousand_facts_is_written_in_three_seconds(tmp_path: Path) -> None:
    incident = reviewed()
    assert len(incident.facts) >= FACTS
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        written = write_report(incident, tmp_path, NOW, SIGNER)
        took.append(time.perf_counter() - began)
    ours = min(took)
    sizes = {file.suffix: file.stat().st_size for file in (tmp_path / INCIDENT).iterdir()}
    print(f"rounds {[round(each, 2) for each in took]} s, bytes {sizes}")
    browser = shutil.which("chromium")
    peer = _printed(browser, written.html_path, tmp_path / "peer.pdf") if browser else 0.0
    work = f"HTML, PDF, JSON and seal of {len(incident.facts):,} facts"
    show([Row(work, ours, LIMIT, peer="Chromium, the PDF of our HTML", theirs=peer)])


def _printed(browser: str, page: Path, to: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [browser, "--headless", "--no-sandbox", f"--print-to-pdf={to}", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert to.stat().st_size
    return time.perf_counter() - began
