"""The report as a PDF by typst: data goes in as JSON and SVG strings, never as typst source.

A value such as `#panic()` is a string in a JSON document, which the template shows as text; there
is no place where typst would read it as code. The template may read files below its own directory
only and imports no package, so nothing is fetched.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.clients.errors import Malformed, Transient
from tasks.clients.kept_process import Bounds, start_kept
from tasks.clients.kept_process import printed as output_of
from tasks.domain import drawing, plots
from tasks.domain.range_plots import marks_of, range_plots
from tasks.domain.report import Report
from tasks.domain.timeline import shortened
from tasks.work import typesetter

TEMPLATES = Path(__file__).parent / "templates"

_TABLES = (
    *("severities", "alerts", "checks", "holds", "evidence"),
    *("decisions", "steps", "proofs", "clocks", "messages"),
)
# Everything but Latin, basic Greek and Cyrillic and our own punctuation, which typst's own fonts
# have. Runs over the JSON text: such characters stand only inside its strings.
_WITHOUT_A_FONT = re.compile(r"[^\n -~\u00a0-\u017f\u0391-\u03c9\u0410-\u044f“”…·≥]")
_SECONDS = 120  # the longest reports take one or two
_MEMORY_MB = 4096  # address space: threads and libraries count
_PDF_BYTES = 64 << 20
_COMPLAINT_BYTES = 2000
_ROWS = 60
_TIMELINE_ROWS = 250  # ten pages; the HTML and JSON beside it have all


def render_pdf(report: Report, now: datetime) -> bytes:
    """An accessible (PDF/UA-1) A4 document; same report, `now` and fonts give the same bytes.

    PDF/UA forbids text without a glyph. Where this machine has no font for some script, its
    characters are shown by number: an alert's name must not decide whether there is a report.
    """
    data = json.dumps(printed(report), ensure_ascii=False)
    try:
        return _compile(data, now)
    except _Refused as error:
        if not error.why.startswith("PDF/UA-1 error: the text"):
            raise
        return _compile(_WITHOUT_A_FONT.sub(lambda hit: f"[U+{ord(hit[0]):04X}]", data), now)


class _Refused(Malformed):
    def __init__(self, why: str) -> None:
        super().__init__(f"expected typst to set the report, found: {why}; its HTML has all of it")
        self.why = why


def _compile(data: str, now: datetime) -> bytes:
    order = {
        "template": str(TEMPLATES / "report.typ"),
        "report": data,
        "at": now.replace(microsecond=0).isoformat(),  # typst takes whole seconds only
    }
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as complaints:
        stdin.write(json.dumps(order).encode())
        stdin.seek(0)
        process = start_kept(
            [sys.executable, "-I", typesetter.__file__],
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=complaints,
            bounds=Bounds(_MEMORY_MB, _SECONDS),
        )
        try:
            pdf = output_of(process, _SECONDS, _PDF_BYTES)
        except TimeoutError as error:
            raise Transient(
                f"expected typst to end within {_SECONDS} s, found it {error}"
            ) from error
        if process.returncode == 0:
            return pdf
        complaints.seek(0)
        raise _Refused(complaints.read(_COMPLAINT_BYTES).decode(errors="replace"))


def printed(report: Report) -> dict[str, Any]:
    """What the template prints: the report with bounded tables, figures in words, and plots.

    Each table is `{"rows": [...], "hidden": how many were left out}`.
    """
    data = report.readings
    timeline, hidden = shortened(data.timeline, _TIMELINE_ROWS)
    backup_size = data.restored.backup_size if data.restored else None
    whole = report.as_json()
    read = whole.pop("readings")
    for name in _TABLES:
        whole[name] = _table(read[name])
    whole["plans"] = read["plans"][-3:]
    whole["restored"] = read["restored"]
    whole["damage"] = {name: value for name, value in read["damage"].items() if name != "rows"} | {
        "table": _table(
            [
                row | {"positions": kept.positions}
                for row, kept in zip(read["damage"]["rows"], data.damage.rows, strict=True)
            ]
        )
    }
    for name in ("actions", "items", "suggestions"):
        whole[name] = _table(whole[name])
    whole["figures"] = [
        {"label": one.label, "display": one.display, "derivation": one.derivation}
        for one in data.figures
    ]
    whole["timeline"] = {
        "rows": [
            {
                "at": row.at,
                "since": f"{row.since:+,.2f}",
                "kind": row.kind,
                "seq": "" if row.seq is None else str(row.seq),
                "who": row.who,
                "what": row.what,
            }
            for row in timeline
        ],
        "hidden": hidden,
    }
    whole["lost"] = [f"{first}-{last}" for first, last in _lost(report)[:50]]
    whole["loss_list"] = data.proof.loss_list if data.proof else "none"
    whole["plots"] = {
        "phases": drawing.for_print(plots.phase_timeline(data.phases)),
        "damage": drawing.for_print(plots.damage_map(data.damage, backup_size)),
        "provenance": drawing.for_print(plots.provenance(data.restored)),
        "clocks": drawing.for_print(plots.clock_bars(data.clocks)),
        "ranges": drawing.for_print(range_plots(data.ranges, marks_of(data.phases))),
    }
    return whole


def _lost(report: Report) -> Sequence[tuple[int, int]]:
    proof = report.readings.proof
    return proof.lost or () if proof else ()


def _table(rows: Sequence[Any]) -> dict[str, Any]:
    return {"rows": list(rows[:_ROWS]), "hidden": max(0, len(rows) - _ROWS)}
