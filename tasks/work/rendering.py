"""The post-incident report as files: one HTML page, one PDF, one JSON, from one Report, sealed.

The page is complete in itself: no script, no font, no image from anywhere; a content security
policy in it admits exactly its own stylesheet (by hash), so that even text that slipped through
the escaping could load and run nothing. Files appear whole or not at all.
"""

import hashlib
import os
import re
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from tasks.domain import plots
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.ledger import NoteSigner
from tasks.domain.range_plots import marks_of, range_plots
from tasks.domain.report import Report, build_report
from tasks.domain.report_json import report_json
from tasks.domain.report_seal import FORMS, ReportSeal, version_name
from tasks.domain.timeline import shortened
from tasks.work.typesetting import TEMPLATES, render_pdf

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_ROWS = 500  # of every table but the timeline: more than a person reads, less than a page chokes on
_TIMELINE_ROWS = 10_000

SECTIONS = (
    ("summary", "Summary"),
    ("damage", "Damage"),
    ("impact", "Impact"),
    ("severity", "Severity"),
    ("detection", "Detection review"),
    ("response", "Response review"),
    ("proof", "Proof"),
    ("evidence", "Evidence"),
    ("timeline", "Timeline"),
    ("clocks", "Clocks"),
    ("communication", "Communication and escalation"),
    ("actions", "Actions"),
    ("compliance", "Compliance"),
    ("people", "What only people know"),
    ("figures", "Figures and their derivation"),
    ("journal", "The journal behind this report"),
)


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where a report was written; the digests are hex SHA-256 of the files' bytes.

    `note` is the signed note over the three, in the file `seal_path`; both are empty without a key.
    `facts`: how many it was made from.
    """

    html_path: Path
    html_sha256: str
    pdf_path: Path
    pdf_sha256: str
    json_path: Path
    json_sha256: str
    seal_path: Path | None
    seal_sha256: str
    note: str
    facts: int


def write_report(
    incident: Incident, directory: Path, now: datetime, signer: NoteSigner | None = None
) -> WrittenReport:
    """Write `directory/<incident>/report.{html,pdf,json,seal}`, replacing older ones.

    Every version stays besides, by its digest: see `version_name`.

    Raises BadInput when the incident's id cannot be a directory's name. A crash leaves whole old
    files or whole new ones, and perhaps a stray `.part` file.
    """
    if not _NAME.fullmatch(incident.id):
        raise BadInput(
            f"expected an incident id of letters, digits, '.', '_' and '-', found "
            f"{incident.id[:80]!r}: no directory of that name is made"
        )
    report = build_report(incident, now)
    folder = directory / incident.id
    folder.mkdir(parents=True, exist_ok=True)
    html, machine = render_html(report).encode(), report_json(report)
    pdf = render_pdf(report, now)
    paths = [folder / f"report.{form}" for form in FORMS]
    digests = [_write(path, data) for path, data in zip(paths, (html, pdf, machine), strict=True)]
    for path, digest in zip(paths, digests, strict=True):
        _keep(path, digest)
    seal, note, sealed = None, "", ""
    if signer is None:  # an older report's seal would call this one forged; its version stays
        (folder / "report.seal").unlink(missing_ok=True)
    else:
        by_form = dict(zip(FORMS, digests, strict=True))
        extent = report.journal
        note = ReportSeal(incident.id, by_form, extent.count, extent.digest).signed(signer)
        seal = folder / "report.seal"
        sealed = _write(seal, note.encode())
        _keep(seal, sealed)
    return WrittenReport(
        *(paths[0], digests[0], paths[1], digests[1], paths[2], digests[2]),
        *(seal, sealed, note, report.journal.count),
    )


def _keep(written: Path, sha256: str) -> None:
    """By a second name, so that it takes no room twice."""
    kept = written.parent / version_name(sha256, written.suffix[1:])
    kept.parent.mkdir(exist_ok=True)
    with suppress(FileExistsError):  # the same bytes, by an earlier run
        kept.hardlink_to(written)


def render_html(report: Report) -> str:
    """The page. Everything from the report is escaped; only our own SVG and CSS are not."""
    data = report.readings
    style = _style()
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    timeline, hidden = shortened(data.timeline, _TIMELINE_ROWS)
    backup_size = data.restored.backup_size if data.restored else None
    return _template().render(
        report=report,
        data=data,
        contents=SECTIONS,
        numbers={name: place for place, (name, _) in enumerate(SECTIONS, 1)},
        bounded=_bounded,
        style=_ours(style),
        style_hash=_ours(f"sha256-{digest}"),
        timeline=timeline,
        timeline_hidden=hidden,
        phases=_ours(plots.phase_timeline(data.phases)),
        damage_map=_ours(plots.damage_map(data.damage, backup_size)),
        provenance=_ours(plots.provenance(data.restored)),
        clock_bars=_ours(plots.clock_bars(data.clocks)),
        range_plots=_ours(range_plots(data.ranges, marks_of(data.phases))),
    )


def _bounded(rows: Sequence[Any]) -> tuple[Sequence[Any], int]:
    return rows[:_ROWS], max(0, len(rows) - _ROWS)


def _ours(text: str) -> Markup:
    return Markup(text)  # noqa: S704  plots.py escapes every text in its SVG; the CSS is a file of ours


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


@lru_cache(maxsize=1)
def _style() -> str:
    return (TEMPLATES / "report.css").read_text(encoding="utf-8")


def _write(path: Path, data: bytes) -> str:
    """Put `data` at `path` by a rename in the same directory, durably; hex SHA-256 of it."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o640)  # mkstemp's 0600 would keep the reports' group from reading
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return hashlib.sha256(data).hexdigest()
