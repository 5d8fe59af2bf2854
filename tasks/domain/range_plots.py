"""Ranges of metrics as SVG: one panel each over the same time, with the moments that explain them.

Meaning is never in the colour alone: panels and moments are labelled.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tasks.domain.drawing import (
    LEFT,
    SPAN,
    svg_curve,
    svg_line,
    svg_plot,
    svg_text,
    tick_label,
    time_step,
)
from tasks.domain.metric_ranges import RangeRow
from tasks.domain.metrics import Phase, duration

_PANEL, _GAP, _HEAD = 84.0, 30.0, 22.0
_NEAR = 60.0  # pixels between the words of two moments


def marks_of(phases: Sequence[Phase]) -> tuple[tuple[float, str], ...]:
    """The moments that explain a curve, in seconds since the alert: the alert, change and proof."""
    named = {phase.label: phase for phase in phases}
    found = [(0.0, "alert")]
    if "Carrying out" in named:
        found.append((named["Carrying out"].start, "change"))
    if "Proving" in named:
        found.append((named["Proving"].end, "proof"))
    return tuple(sorted(found))


def range_plots(ranges: Sequence[RangeRow], marks: Sequence[tuple[float, str]]) -> str:
    """Empty without any range of two points."""
    drawn = [each for each in ranges if len(each.points) > 1]
    if not drawn:
        return ""
    begin = min(each.points[0][0] for each in drawn)
    end = max(each.points[-1][0] for each in drawn)
    if end <= begin:
        return ""
    scale = SPAN / (end - begin)
    body: list[str] = []
    y = _HEAD
    for each in drawn:
        body += _panel(each, begin, scale, y)
        y += _PANEL + _GAP
    bottom = y - _GAP
    body += _marks(marks, begin, end, scale, bottom)
    body += _axis(begin, end, scale, bottom)
    told = "; ".join(f"{each.title}: highest {_value(each, _top(each))}" for each in drawn)
    title = "Error rate, latency and requests around the incident"
    return svg_plot("ranges", title, told, bottom + 30, body)


def _panel(each: RangeRow, begin: float, scale: float, top: float) -> Iterator[str]:
    highest = _top(each)
    floor = top + _PANEL
    yield svg_text(LEFT - 12, top + 14, each.title, "end small")
    yield svg_text(LEFT - 12, top + 32, f"highest {_value(each, highest)}", "end small quiet")
    yield svg_line(LEFT, floor, LEFT + SPAN, floor, "axis")
    height = (_PANEL - 8) / highest if highest > 0 else 0.0
    for part in _unbroken(each.points):
        places = [(LEFT + (at - begin) * scale, floor - value * height) for at, value in part]
        yield svg_curve(places, "curve")


def _unbroken(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap: a line over one would show values that nobody measured."""
    steps = sorted(later[0] - earlier[0] for earlier, later in pairwise(points))
    widest = 2.5 * steps[len(steps) // 2]
    part = [points[0]]
    for point in points[1:]:
        if point[0] - part[-1][0] > widest:
            yield part
            part = []
        part.append(point)
    yield part


def _marks(
    marks: Sequence[tuple[float, str]], begin: float, end: float, scale: float, bottom: float
) -> Iterator[str]:
    taken = float("-inf")
    for at, name in marks:
        if not begin <= at <= end:
            continue
        x = LEFT + (at - begin) * scale
        yield svg_line(x, _HEAD - 6, x, bottom, "marker")
        if x - taken >= _NEAR:
            yield svg_text(x + 4, _HEAD - 9, name, "small")
            taken = x


def _axis(begin: float, end: float, scale: float, y: float) -> Iterator[str]:
    step = time_step(end - begin)
    tick = -(-begin // step) * step
    while tick <= end:
        x = LEFT + (tick - begin) * scale
        sign = "-" if tick < 0 else ""
        yield svg_line(x, y, x, y + 5, "axis")
        yield svg_text(x, y + 18, f"{sign}{tick_label(abs(tick))}", "mid small quiet")
        tick += step
    yield svg_text(LEFT - 40, y + 18, "since the alert", "end small quiet")


def _top(each: RangeRow) -> float:
    return max(0.0, *(value for _, value in each.points))


def _value(each: RangeRow, value: float) -> str:
    if each.unit == "share":
        return f"{value:.1%}"
    return duration(value) if each.unit == "seconds" else f"{value:.3g}/s"
