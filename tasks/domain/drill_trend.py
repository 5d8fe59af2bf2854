"""Drills over time as SVG: how long coming back takes, and how old what comes back is."""

from collections.abc import Callable, Iterator, Sequence

from tasks.domain.drawing import LEFT, SPAN, svg_line, svg_plot, svg_rect, svg_text
from tasks.domain.drills import DrillResult, Ending
from tasks.domain.metrics import duration

MOST_DRILLS = 90
_PANEL = 90.0
_WIDEST = 26.0
_MARKS = {Ending.FAILED: "F", Ending.UNKNOWN: "?"}


def trend(drills: Sequence[DrillResult]) -> str:
    """RTO and RPO of drills, oldest first; the newest ninety. Empty without any.

    A drill that failed, or could not tell, is a bar of full height with a letter: it has no figure
    that could be compared.
    """
    shown = drills[-MOST_DRILLS:]
    if not shown:
        return ""
    body = [
        *_panel("RTO", shown, lambda drill: drill.rto, 12.0),
        *_panel("RPO", shown, lambda drill: drill.rpo.seconds, 12.0 + _PANEL + 26),
    ]
    bottom = 12.0 + 2 * _PANEL + 26
    body.append(svg_text(LEFT, bottom + 20, f"{shown[0].at:%Y-%m-%d}", "small quiet"))
    if len(shown) > 1:
        last = f"{shown[-1].at:%Y-%m-%d}"
        body.append(svg_text(LEFT + SPAN, bottom + 20, last, "small quiet end"))
    body.append(svg_text(LEFT - 12, bottom + 20, "F failed, ? could not tell", "small quiet end"))
    told = "; ".join(
        f"{drill.at:%Y-%m-%d} {drill.ending.value} RTO {duration(drill.rto)}" for drill in shown
    )
    return svg_plot("drills", "Restore drills: RTO and RPO", told, bottom + 30, body)


def _panel(
    name: str,
    drills: Sequence[DrillResult],
    figure: Callable[[DrillResult], float | None],
    top: float,
) -> Iterator[str]:
    passed = [each for each in drills if each.ending is Ending.PASSED]
    highest = max((figure(each) or 0.0 for each in passed), default=0.0)
    yield svg_text(LEFT - 12, top + 14, name, "end")
    if highest:
        yield svg_text(LEFT - 12, top + 32, f"top: {duration(highest)}", "end small quiet")
    yield svg_line(LEFT, top + _PANEL, LEFT + SPAN, top + _PANEL, "axis")
    step = min(_WIDEST, SPAN / len(drills))
    for place, drill in enumerate(drills):
        x, width = LEFT + place * step, step * 0.8
        mark = _MARKS.get(drill.ending)
        if mark:
            told = f"{drill.at:%Y-%m-%d %H:%M}: {drill.ending.value}"
            yield svg_rect(x, top, width, _PANEL, "hot" if mark == "F" else "faint", told)
            classes = "letter" if mark == "F" else "small quiet mid"
            yield svg_text(x + width / 2, top + 12, mark, classes)
            continue
        value = figure(drill)
        if value is None:
            continue
        height = max(2.0, _PANEL * value / highest) if highest else 2.0
        told = f"{drill.at:%Y-%m-%d %H:%M}: {name} {duration(value)}"
        yield svg_rect(x, top + _PANEL - height, width, height, "phase", told)
