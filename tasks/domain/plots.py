"""Plots of the report as SVG text; see `drawing`.

Meaning is never in the colour alone: lanes are labelled, magnified cells carry a letter. An empty
string means that there is nothing to draw.
"""

from collections.abc import Iterable, Sequence
from html import escape

from tasks.domain.damage import Damage, DamageRow
from tasks.domain.drawing import (
    LEFT,
    SPAN,
    THINNEST,
    WIDTH,
    cut_words,
    round_step,
    svg_line,
    svg_plot,
    svg_rect,
    svg_text,
    tick_label,
    time_step,
)
from tasks.domain.ledger.verdicts import Code
from tasks.domain.metrics import Phase, duration
from tasks.domain.report_changes import RestoreRow
from tasks.domain.report_tables import ClockRow

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
    scale = SPAN / size
    top, strip = 44.0, 26.0
    body = [svg_text(LEFT - 12, top + 18, "audit log", "end")]
    body.append(svg_rect(LEFT, top, SPAN, strip, "faint", "not under the signed checkpoint"))
    if damage.signed:
        body.append(svg_rect(LEFT, top, damage.signed * scale, strip, "base", "signed records"))
    body += [_mark(row, scale, top, strip) for row in ranged[:MOST_MARKS]]
    heads = ((30.0, "backup", backup_size), (14.0, "signed head", damage.signed))
    for height, name, place in heads:
        if place:
            x = LEFT + place * scale
            body.append(svg_line(x, height - 6, x, top - 1, "marker"))
            body.append(svg_text(x - 5, height + 5, f"{name} {place:,}", "end small"))
    y = top + strip + 24
    for code in dict.fromkeys(row.code for row in damage.rows):
        lane = [row for row in damage.rows if row.code == code]
        body += _lane(code, lane, scale, y)
        y += 20
    body += _axis(size, y)
    y += 34
    windows, more = _windows(damage.against)
    if windows:
        body.append(svg_text(LEFT, y + 2, "Magnified: one cell is one record", "quiet small"))
        y += 12
        for first, last in windows:
            body += _magnified(first, last, damage.against, y)
            y += _CELL + 9
    if more:
        body.append(svg_text(LEFT, y + 10, f"and {more} more places: see the table", "quiet small"))
        y += 16
    told = "; ".join(f"{row.code} at {row.positions}" for row in damage.against[:20])
    return svg_plot(
        "damage-map", "Damage map of the audit log", told or "no damage found", y + 6, body
    )


def _mark(row: DamageRow, scale: float, y: float, height: float) -> str:
    name, _ = _class_of(row.code)
    first, last = row.first or 0, row.last or 0
    x, width = LEFT + first * scale, max(THINNEST, (last - first + 1) * scale)
    return (
        f'<rect class="mark {name}" data-first="{first}" data-last="{last}" x="{x:.2f}"'
        f' y="{y:.2f}" width="{width:.2f}" height="{height:.2f}">'
        f"<title>{escape(f'{row.code} {row.positions}')}</title></rect>"
    )


def _lane(code: str, rows: Sequence[DamageRow], scale: float, y: float) -> Iterable[str]:
    name, letter = _class_of(code)
    total = sum(row.count for row in rows if row.first is not None)
    label = f"{code} ({letter}) {total:,}" if total else code
    yield svg_text(LEFT - 12, y + 5, label, "end small")
    yield svg_line(LEFT, y + 1, LEFT + SPAN, y + 1, "axis faintline")
    for row in rows[:MOST_MARKS]:
        if row.first is None:
            words = f"the whole artefact. {row.detail}".rstrip(". ")
            yield svg_text(LEFT + 4, y - 3, cut_words(words, 90), "small quiet")
            continue
        width = max(THINNEST, row.count * scale)
        told = f"{row.code} {row.positions}"
        yield svg_rect(LEFT + row.first * scale, y - 4, width, 10, f"lane {name}", told)


def _axis(size: int, y: float) -> Iterable[str]:
    yield svg_line(LEFT, y, LEFT + SPAN, y, "axis")
    step = max(1, round(round_step(size, 6)))
    for tick in range(0, size + 1, step):
        x = LEFT + tick * SPAN / size
        yield svg_line(x, y, x, y + 5, "axis")
        yield svg_text(x, y + 17, f"{tick:,}", "mid small quiet")
    yield svg_text(LEFT - 12, y + 17, "seq", "end small quiet")


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
    yield svg_text(LEFT - 12, y + 10, f"{first:,}-{last:,}", "end small quiet")
    shown = min(last, first + _CELLS - 1)
    for place in range(first, shown + 1):
        x = LEFT + (place - first) * (_CELL + 1)
        hit = next(
            (
                row
                for row in rows
                if row.first is not None and row.last is not None and row.first <= place <= row.last
            ),
            None,
        )
        if hit is None:
            yield svg_rect(x, y, _CELL, _CELL, "cell")
            continue
        name, letter = _class_of(hit.code)
        yield svg_rect(x, y, _CELL, _CELL, f"cell {name}", f"seq {place:,}: {hit.code}")
        yield svg_text(x + _CELL / 2, y + 10, letter, "letter")
    if last > shown:
        x = LEFT + _CELLS * (_CELL + 1) + 4
        yield svg_text(x, y + 10, f"+{last - shown:,}", "small quiet")


def phase_timeline(phases: Sequence[Phase]) -> str:
    """The response as bars over seconds since the alert."""
    if not phases:
        return ""
    end = max(0.001, *(phase.end for phase in phases))
    scale = SPAN / end
    body: list[str] = []
    y = 8.0
    for phase in phases:
        x, width = LEFT + phase.start * scale, max(THINNEST, (phase.end - phase.start) * scale)
        took = duration(phase.end - phase.start)
        told = f"{phase.label}: {took}, from {duration(phase.start)}"
        body.append(svg_text(LEFT - 12, y + 14, phase.label, "end"))
        body.append(svg_rect(x, y, width, 18, "hot" if phase.outage else "phase", told))
        room = x + width + 80 < WIDTH
        body.append(
            svg_text(x + width + 7, y + 14, took, "small quiet")
            if room
            else svg_text(x - 7, y + 14, took, "small quiet end")
        )
        y += 26
    body.append(svg_line(LEFT, y, LEFT + SPAN, y, "axis"))
    step = round_step(end, 6) if end < 60 else time_step(end)  # noqa: PLR2004  a minute in seconds
    ticks = int(end / step) + 1
    for tick in range(ticks):
        x = LEFT + tick * step * scale
        body.append(svg_line(x, y, x, y + 5, "axis"))
        body.append(svg_text(x, y + 18, tick_label(tick * step), "mid small quiet"))
    body.append(svg_text(LEFT - 12, y + 18, "since the alert", "end small quiet"))
    told = "; ".join(f"{phase.label} {duration(phase.end - phase.start)}" for phase in phases)
    return svg_plot("phases", "The response by phases", told, y + 26, body)


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
    body = [svg_text(LEFT - 12, 24, "restored log", "end")]
    x = float(LEFT)
    room = SPAN - 3 * len(known)
    for label, name, count in known:
        width = 3 + room * count / total
        body.append(svg_rect(x, 8, width - 1, 24, name, f"{label}: {count:,}"))
        x += width
    for place, (label, name, count) in enumerate(known):
        x, y = LEFT + place % 2 * SPAN / 2, 46 + place // 2 * 20
        body.append(svg_rect(x, y, 11, 11, name))
        body.append(svg_text(x + 17, y + 10, f"{count:,} {label}", "small"))
    told = "; ".join(f"{count:,} {label}" for label, _, count in known)
    height = 46 + (len(known) + 1) // 2 * 20
    return svg_plot("provenance", "Where the restored records came from", told, height, body)


def clock_bars(clocks: Sequence[ClockRow]) -> str:
    """Each clock as a bar of its time, the used part filled; a missed one runs over the end."""
    timed = [clock for clock in clocks if clock.used is not None][:20]
    if not timed:
        return ""
    full = SPAN * 0.7
    body: list[str] = []
    y = 8.0
    for clock in timed:
        used = max(0.0, clock.used or 0.0)
        name = {"MISSED": "hot", "kept": "good"}.get(clock.state, "phase")
        body.append(svg_text(LEFT - 12, y + 14, cut_words(clock.clock, 24), "end"))
        body.append(svg_rect(LEFT, y, full, 18, "base"))
        width = max(THINNEST, min(used, 1.2) * full)
        body.append(svg_rect(LEFT, y, width, 18, name, f"{used:.0%} of the time used"))
        right = LEFT + max(full, width) + 8
        body.append(svg_text(right, y + 14, f"{clock.state}, {used:.0%} used", "small"))
        y += 26
    told = "; ".join(f"{clock.clock} {clock.state}" for clock in timed)
    return svg_plot("clocks-plot", "Clocks", told, y, body)
