"""bench.json: what earlier runs of `make bench` found, and whether this one is slower.

A figure of one machine says little about another one, a ratio against a peer that ran in the same
minute does: those are compared whatever the machine, bare figures only where the processor is the
same one, and those of a run without our C only with others without it. The history is kept in the
repository; committing it is how new figures are accepted.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from deployments.lab.environment import PROJECT
from tasks.domain.ledger.kernel import KERNEL
from tasks.domain.ledger.kernel_hashlib import Hashlib
from tests.benchmarks.figures import HEADS, Row, Sense

FILE = PROJECT / "bench.json"
MOST_RUNS = 20
BASELINE_RUNS = 5
WORSE = 1.2


class HistoryError(Exception):
    """bench.json is not what `make bench` writes; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Run:
    """One `make bench`, or a part of one: where it ran and what it found."""

    at: str
    commit: str
    cpu: str
    cores: int
    memory_gb: int
    python: str
    kernel: str
    load: float
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """For bench.json."""
        names = ("at", "commit", "cpu", "cores", "memory_gb", "python", "kernel", "load")
        known = {name: getattr(self, name) for name in names}
        return {**known, "rows": [row.as_json() for row in self.rows]}


def here(rows: Iterable[Row], load: float) -> Run:
    """This run; `load`: of the machine before it began."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
    return Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit.stdout.strip(),
        cpu=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30),
        python=platform.python_version(),
        kernel=KERNEL.name,
        load=round(load, 2),
        rows=tuple(rows),
    )


def read(text: str) -> list[Run]:
    """The runs, oldest first; HistoryError for anything else."""
    try:
        kept = json.loads(text, parse_constant=_refuse)
        if not isinstance(kept, list):
            raise TypeError("a list of runs was expected")  # noqa: TRY301 - said as the others are
        return [
            Run(**{**run, "rows": tuple(Row.from_json(row) for row in run["rows"])}) for run in kept
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HistoryError(
            f"expected bench.json as `make bench` writes it, found {error!r}:"
            " take the committed one with `git checkout bench.json`"
        ) from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no figure")


def write(runs: Sequence[Run], file: Path = FILE) -> None:
    """The newest runs, and older ones with a row that none of those has, a row a line."""
    shown = [run for _, run in newest(runs)]
    parts = []
    for at, run in enumerate(runs):
        if at < len(runs) - MOST_RUNS and run not in shown:
            continue
        kept = run.as_json()
        rows = ",\n".join(f"  {json.dumps(row)}" for row in kept.pop("rows"))
        head = json.dumps(kept)[:-1]
        parts.append(f'{head}, "rows": [\n{rows}\n]}}')
    file.write_text("[\n" + ",\n".join(parts) + "\n]\n", encoding="utf-8")


def committed() -> list[Run]:
    """The runs that the repository has; none before the first."""
    asked = ["git", "show", "HEAD:bench.json"]
    shown = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
    return read(shown.stdout) if shown.returncode == 0 else []


def regressions(run: Run, before: Sequence[Run]) -> list[str]:
    """A sentence for each row that is more than 20 % worse than the median of the last five."""
    said = []
    for row in run.rows:
        then = [
            judged
            for old in before
            for each in old.rows
            if each.work == row.work and each.peer == row.peer and old.kernel == run.kernel
            if (judged := _judged(each)) and (row.ratio or old.cpu == run.cpu)
        ][-BASELINE_RUNS:]
        now = _judged(row)
        if not then or not now:
            continue
        usual = median(then)
        worse = usual / now if row.sense is Sense.LEAST and not row.ratio else now / usual
        if worse > WORSE:
            what = "ratio" if row.ratio else row.unit
            said.append(f"{row.work}: {what} was {usual:.3g}, is {now:.3g}, {worse - 1:.0%} worse")
    return said


def newest(runs: Sequence[Run]) -> list[tuple[Row, Run]]:
    """Each row as it was measured last, in the order of its benchmarks."""
    found: dict[tuple[str, str, str], tuple[Row, Run]] = {}
    for run in runs:
        for row in run.rows:
            found[row.work, row.peer, run.kernel] = (row, run)
    return list(found.values())


def table(rows: Iterable[Row]) -> str:
    """For the terminal; what misses its limit says so."""
    cells = [HEADS, *(row.cells() for row in rows)]
    marks = ["", *("" if row.holds else "MISSED" for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(HEADS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "\n".join(f"{line}  {mark}".rstrip() for line, mark in zip(lines, marks, strict=True))


def markdown(runs: Sequence[Run]) -> str:
    """For the README: every row as it was measured last, and where; without our C apart."""
    rows = newest(runs)
    if not rows:
        return "Nothing has been measured yet."
    parts = [_markdown(row for row, run in rows if run.kernel != Hashlib.name)]
    if without := [row for row, run in rows if run.kernel == Hashlib.name]:
        parts += ["Where no C compiler was, so that hashlib does the work:", _markdown(without)]
    machines = {f"{run.cores} cores of {run.cpu}, {run.memory_gb} GB": run for _, run in rows}
    days = sorted({run.at[:10] for _, run in rows})
    where = "; ".join(machines)
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return "\n\n".join([*parts, f"Measured {when} on {where}."])


def _markdown(rows: Iterable[Row]) -> str:
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    for row in rows:
        work, ours, peer, ratio, limit = row.cells()
        missed = "" if row.holds else " (missed)"
        lines.append(f"| {work} | {ours} | {peer} | {ratio} | {limit}{missed} |")
    return "\n".join(lines)


def _judged(row: Row) -> float:
    return row.ours if row.ratio is None else row.ratio


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
