"""Refused requests over time, as SVG text; see `drawing`."""

from collections.abc import Sequence
from datetime import datetime

from tasks.domain.drawing import LEFT, SPAN, svg_line, svg_plot, svg_rect, svg_text

_HEIGHT, _BASE, _TOP = 170.0, 130.0, 30.0


def refusal_plot(bins: Sequence[tuple[datetime, int]]) -> str:
    """Bars of equal width, each with its time and count; empty when nothing was refused."""
    most = max((count for _, count in bins), default=0)
    if not most:
        return ""
    width = SPAN / len(bins)
    bars = [
        svg_rect(
            LEFT + width * place,
            _BASE - (_BASE - _TOP) * count / most,
            max(width - 1, 1),
            (_BASE - _TOP) * count / most,
            "hot",
            f"{at:%Y-%m-%d %H:%M:%S} UTC: {count}",
        )
        for place, (at, count) in enumerate(bins)
        if count
    ]
    total = sum(count for _, count in bins)
    first, last = bins[0][0], bins[-1][0]
    body = [
        svg_text(0, _TOP + 8, "401 and 403"),
        svg_text(0, _TOP + 28, f"at most {most} a bar", "quiet small"),
        *bars,
        svg_line(LEFT, _BASE, LEFT + SPAN, _BASE, "axis"),
        svg_text(LEFT, _BASE + 20, f"{first:%Y-%m-%d %H:%M:%S} UTC", "small"),
        svg_text(LEFT + SPAN, _BASE + 20, f"{last:%H:%M:%S}", "small end"),
    ]
    words = f"{total} requests were refused from {first:%H:%M:%S} to {last:%H:%M:%S} UTC"
    return svg_plot("refusals", "Refused requests over time", words, _HEIGHT, body)
