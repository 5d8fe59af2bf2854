"""Plots of the report as SVG text: no script, no colour of their own, no reference to anything.

Shapes carry classes; the page's stylesheet gives them colours for light, dark and print, and
`for_print` adds a fixed stylesheet for the PDF. Meaning is never in the colour alone: lanes are
labelled, magnified cells carry a letter. Each plot has a title and a description for readers who
do not see it; an empty string means that there is nothing to draw.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

from tasks.domain.damage import Damage, DamageRow
from tasks.domain.ledger.verdicts import Code
from tasks.domain.metrics import Phase, duration
from tasks.domain.report_changes import RestoreRow
from tasks.domain.report_tables import ClockRow

WIDTH = 820
_LEFT = 168
_RIGHT = 24
_SPAN = WIDTH - _LEFT - _RIGHT
_THINNEST = 2.0  # a record among millions is far below a pixel and must still be seen

MOST_MARKS = 400
MOST_WINDOWS = 6
_CELLS = 44
_CELL = 13
_NEIGHBOURS = 3

_LETTERS = {
    Code.MODIFIED: ("modified", "M"),
    Code.DELETED: ("deleted", "D"),
    Code.INSERTED: ("inserted", "I"),
    Code.REORDERED: ("reordered", "R"),
    Code.TRUNCATED: ("truncated", "T"),
    Code.LOST: ("lost", "L"),
    Code.UNSIGNED_TAIL: ("tail", "U"),
}

_PRINT_STYLE = (
    "text{font-family:'Libertinus Serif','DejaVu Sans';font-size:14px;fill:#1d2429}"
    ".quiet{fill:#5b666e}.end{text-anchor:end}.mid{text-anchor:middle}.small{font-size:12.5px}"
    ".letter{font-size:9.5px;fill:#fff;text-anchor:middle}"
    ".axis{stroke:#8d979e;stroke-width:1}.marker{stroke:#1f5566;stroke-width:1.6}"
    ".base{fill:#dbe3e6}.faint{fill:#eef2f3}.cell{fill:#e4eaec}.phase{fill:#2f6475}"
    ".hot{fill:#a3271b}.good{fill:#3a7350}.c-modified{fill:#c2500f}.c-deleted{fill:#1d2429}"
    ".c-inserted{fill:#1c62a8}.c-reordered{fill:#0f7c62}.c-truncated{fill:#7b3294}"
    ".c-lost{fill:#a3271b}.c-tail{fill:#a9b6bb}.c-other{fill:#66717a}"
    ".p-backup{fill:#2f6475}.p-segments{fill:#6f9fae}.p-carried{fill:#c9a24a}.p-lost{fill:#a3271b}"
)


def for_print(svg: str) -> str:
    """The same plot with its own light stylesheet, for readers without the page's CSS."""
    head, mark, rest = svg.partition(">")
    return f"{head}{mark}<style>{_PRINT_STYLE}</style>{rest}" if mark else ""


def _svg(name: str, title: str, description: str, height: float, body: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' width="{WIDTH}" height="{height:.0f}" role="img"'
        f' aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-text">{escape(description)}</desc>' + "".join(body) + "</svg>"
    )


def _text(x: float, y: float, words: str, classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text x="{x:.2f}" y="{y:.2f}"{named}>{escape(words)}</text>'


def _cut(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"


def _rect(x: float, y: float, width: float, height: float, classes: str, told: str = "") -> str:
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    if not told:
        return f'<rect {place} class="{classes}"/>'
    return f'<rect {place} class="{classes}"><title>{escape(told)}</title></rect>'


def _line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" class="{classes}"/>'


def _step(span: float, parts: int, unit: Sequence[float] = (1, 2, 5, 10)) -> float:
    """A round distance between ticks, so that there are about `parts` of them."""
    rough = max(span / parts, 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in unit if power * factor >= rough * 0.999)


def _class_of(code: str) -> tuple[str, str]:
    return next(
        (("c-" + name, letter) for known, (name, letter) in _LETTERS.items() if known == code),
        ("c-other", "?"),
    )


def damage_map(damage: Damage, backup_size: int | None) -> str:
    """The log as one strip from seq 0 to its end, damaged positions marked, then magnified.

    A mark's `data-first` and `data-last` are the exact positions; its width on the strip is to
    scale but never under two pixels.
    """
    ranged = [row for row in damage.rows if row.first is not None]
    ends = [row.last + 1 for row in ranged if row.last is not None]
    size = max([damage.signed or 0, backup_size or 0, *ends])
    if not size:
        return ""
    scale = _SPAN / size
    top, strip = 44.0, 26.0
    body = [_text(_LEFT - 12, top + 18, "audit log", "end")]
    body.append(_rect(_LEFT, top, _SPAN, strip, "faint", "not under the signed checkpoint"))
    if damage.signed:
        body.append(_rect(_LEFT, top, damage.signed * scale, strip, "base", "signed records"))
    body += [_mark(row, scale, top, strip) for row in ranged[:MOST_MARKS]]
    heads = ((30.0, "backup", backup_size), (14.0, "signed head", damage.signed))
    for height, name, place in heads:
        if place:
            x = _LEFT + place * scale
            body.append(_line(x, height - 6, x, top - 1, "marker"))
            body.append(_text(x - 5, height + 5, f"{name} {place:,}", "end small"))
    y = top + strip + 24
    for code in dict.fromkeys(row.code for row in damage.rows):
        lane = [row for row in damage.rows if row.code == code]
        body += _lane(code, lane, scale, y)
        y += 20
    body += _axis(size, y)
    y += 34
    windows, more = _windows(damage.against)
    if windows:
        body.append(_text(_LEFT, y + 2, "Magnified: one cell is one record", "quiet small"))
        y += 12
        for first, last in windows:
            body += _magnified(first, last, damage.against, y)
            y += _CELL + 9
    if more:
        body.append(_text(_LEFT, y + 10, f"and {more} more places: see the table", "quiet small"))
        y += 16
    told = "; ".join(f"{row.code} at {row.positions}" for row in damage.against[:20])
    return _svg("damage-map", "Damage map of the audit log", told or "no damage found", y + 6, body)


def _mark(row: DamageRow, scale: float, y: float, height: float) -> str:
    name, _ = _class_of(row.code)
    first, last = row.first or 0, row.last or 0
    x, width = _LEFT + first * scale, max(_THINNEST, (last - first + 1) * scale)
    return (
        f'<rect class="mark {name}" data-first="{first}" data-last="{last}" x="{x:.2f}"'
        f' y="{y:.2f}" width="{width:.2f}" height="{height:.2f}">'
        f"<title>{escape(f'{row.code} {row.positions}')}</title></rect>"
    )


def _lane(code: str, rows: Sequence[DamageRow], scale: float, y: float) -> Iterable[str]:
    name, letter = _class_of(code)
    total = sum(row.count for row in rows if row.first is not None)
    label = f"{code} ({letter}) {total:,}" if total else code
    yield _text(_LEFT - 12, y + 5, label, "end small")
    yield _line(_LEFT, y + 1, _LEFT + _SPAN, y + 1, "axis faintline")
    for row in rows[:MOST_MARKS]:
        if row.first is None:
            words = f"the whole artefact. {row.detail}".rstrip(". ")
            yield _text(_LEFT + 4, y - 3, _cut(words, 90), "small quiet")
            continue
        width = max(_THINNEST, row.count * scale)
        told = f"{row.code} {row.positions}"
        yield _rect(_LEFT + row.first * scale, y - 4, width, 10, f"lane {name}", told)


def _axis(size: int, y: float) -> Iterable[str]:
    yield _line(_LEFT, y, _LEFT + _SPAN, y, "axis")
    step = max(1, round(_step(size, 6)))
    for tick in range(0, size + 1, step):
        x = _LEFT + tick * _SPAN / size
        yield _line(x, y, x, y + 5, "axis")
        yield _text(x, y + 17, f"{tick:,}", "mid small quiet")
    yield _text(_LEFT - 12, y + 17, "seq", "end small quiet")


def _windows(rows: Sequence[DamageRow]) -> tuple[list[tuple[int, int]], int]:
    """Places of damage with their neighbours, near ones together; how many are left out."""
    places: list[tuple[int, int]] = []
    for first, last in sorted(
        (row.first, row.last) for row in rows if row.first is not None and row.last is not None
    ):
        low, high = max(0, first - _NEIGHBOURS), last + _NEIGHBOURS
        joined = places and low <= places[-1][1] + 1 and high - places[-1][0] < _CELLS
        if joined:
            places[-1] = (places[-1][0], max(places[-1][1], high))
        else:
            places.append((low, high))
    return places[:MOST_WINDOWS], max(0, len(places) - MOST_WINDOWS)


def _magnified(first: int, last: int, rows: Sequence[DamageRow], y: float) -> Iterable[str]:
    yield _text(_LEFT - 12, y + 10, f"{first:,}-{last:,}", "end small quiet")
    shown = min(last, first + _CELLS - 1)
    for place in range(first, shown + 1):
        x = _LEFT + (place - first) * (_CELL + 1)
        hit = next(
            (
                row
                for row in rows
                if row.first is not None and row.last is not None and row.first <= place <= row.last
            ),
            None,
        )
        if hit is None:
            yield _rect(x, y, _CELL, _CELL, "cell")
            continue
        name, letter = _class_of(hit.code)
        yield _rect(x, y, _CELL, _CELL, f"cell {name}", f"seq {place:,}: {hit.code}")
        yield _text(x + _CELL / 2, y + 10, letter, "letter")
    if last > shown:
        x = _LEFT + _CELLS * (_CELL + 1) + 4
        yield _text(x, y + 10, f"+{last - shown:,}", "small quiet")


def phase_timeline(phases: Sequence[Phase]) -> str:
    """The response as bars over seconds since the alert."""
    if not phases:
        return ""
    end = max(0.001, *(phase.end for phase in phases))
    scale = _SPAN / end
    body: list[str] = []
    y = 8.0
    for phase in phases:
        x, width = _LEFT + phase.start * scale, max(_THINNEST, (phase.end - phase.start) * scale)
        took = duration(phase.end - phase.start)
        told = f"{phase.label}: {took}, from {duration(phase.start)}"
        body.append(_text(_LEFT - 12, y + 14, phase.label, "end"))
        body.append(_rect(x, y, width, 18, "hot" if phase.outage else "phase", told))
        room = x + width + 80 < WIDTH
        body.append(
            _text(x + width + 7, y + 14, took, "small quiet")
            if room
            else _text(x - 7, y + 14, took, "small quiet end")
        )
        y += 26
    body.append(_line(_LEFT, y, _LEFT + _SPAN, y, "axis"))
    step = _step(end, 6) if end < 60 else _time_step(end)  # noqa: PLR2004  a minute in seconds
    ticks = int(end / step) + 1
    for tick in range(ticks):
        x = _LEFT + tick * step * scale
        body.append(_line(x, y, x, y + 5, "axis"))
        body.append(_text(x, y + 18, _tick(tick * step), "mid small quiet"))
    body.append(_text(_LEFT - 12, y + 18, "since the alert", "end small quiet"))
    told = "; ".join(f"{phase.label} {duration(phase.end - phase.start)}" for phase in phases)
    return _svg("phases", "The response by phases", told, y + 26, body)


def _time_step(span: float) -> float:
    steps = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    return next((step for step in steps if span / step <= 7), _step(span, 6))  # noqa: PLR2004  ticks


def _tick(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004  a minute in seconds
        return f"{seconds:g} s"
    if seconds < 7200:  # noqa: PLR2004  two hours: minutes are still easy to read
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h"


def provenance(restored: RestoreRow | None) -> str:
    """Where each record of the restored log came from, as one stacked bar with a legend."""
    if restored is None:
        return ""
    parts = [
        ("from the backup", "p-backup", restored.from_backup),
        ("from sealed segments", "p-segments", restored.from_segments),
        ("carried over by their chain", "p-carried", restored.carried_over),
        ("lost, a tombstone each", "p-lost", restored.tombstones),
    ]
    known = [(label, name, count) for label, name, count in parts if count]
    total = sum(count for _, _, count in known)
    if not total:
        return ""
    body = [_text(_LEFT - 12, 24, "restored log", "end")]
    x = float(_LEFT)
    room = _SPAN - 3 * len(known)
    for label, name, count in known:
        width = 3 + room * count / total
        body.append(_rect(x, 8, width - 1, 24, name, f"{label}: {count:,}"))
        x += width
    for place, (label, name, count) in enumerate(known):
        x, y = _LEFT + place % 2 * _SPAN / 2, 46 + place // 2 * 20
        body.append(_rect(x, y, 11, 11, name))
        body.append(_text(x + 17, y + 10, f"{count:,} {label}", "small"))
    told = "; ".join(f"{count:,} {label}" for label, _, count in known)
    height = 46 + (len(known) + 1) // 2 * 20
    return _svg("provenance", "Where the restored records came from", told, height, body)


def clock_bars(clocks: Sequence[ClockRow]) -> str:
    """Each clock as a bar of its time, the used part filled; a missed one runs over the end."""
    timed = [clock for clock in clocks if clock.used is not None][:20]
    if not timed:
        return ""
    full = _SPAN * 0.7
    body: list[str] = []
    y = 8.0
    for clock in timed:
        used = max(0.0, clock.used or 0.0)
        name = {"MISSED": "hot", "kept": "good"}.get(clock.state, "phase")
        body.append(_text(_LEFT - 12, y + 14, _cut(clock.clock, 24), "end"))
        body.append(_rect(_LEFT, y, full, 18, "base"))
        width = max(_THINNEST, min(used, 1.2) * full)
        body.append(_rect(_LEFT, y, width, 18, name, f"{used:.0%} of the time used"))
        right = _LEFT + max(full, width) + 8
        body.append(_text(right, y + 14, f"{clock.state}, {used:.0%} used", "small"))
        y += 26
    told = "; ".join(f"{clock.clock} {clock.state}" for clock in timed)
    return _svg("clocks-plot", "Clocks", told, y, body)
