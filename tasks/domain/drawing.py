"""Parts of plots as SVG text: no script, no colour of their own, no reference to anything.

Shapes carry classes; the page's stylesheet gives them colours for light, dark and print, and
`for_print` adds a fixed stylesheet for readers without the page's own.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH = 820
LEFT = 168
_RIGHT = 24
SPAN = WIDTH - LEFT - _RIGHT
THINNEST = 2.0  # a record among millions is far below a pixel and must still be seen

_PRINT_STYLE = (
    "text{font-family:'Libertinus Serif','DejaVu Sans';font-size:14px;fill:#1d2429}"
    ".quiet{fill:#5b666e}.end{text-anchor:end}.mid{text-anchor:middle}.small{font-size:12.5px}"
    ".letter{font-size:9.5px;fill:#fff;text-anchor:middle}"
    ".curve{fill:none;stroke:#2f6475;stroke-width:1.6}.axis{stroke:#8d979e;stroke-width:1}.marker{stroke:#1f5566;stroke-width:1.6}"
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


def svg_plot(name: str, title: str, description: str, height: float, body: Iterable[str]) -> str:
    """One plot of the usual width, with a title and a description for readers who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' width="{WIDTH}" height="{height:.0f}" role="img"'
        f' aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-text">{escape(description)}</desc>' + "".join(body) + "</svg>"
    )


def svg_text(x: float, y: float, words: str, classes: str = "") -> str:
    """Words, escaped; `y` is their base line."""
    named = f' class="{classes}"' if classes else ""
    return f'<text x="{x:.2f}" y="{y:.2f}"{named}>{escape(words)}</text>'


def cut_words(words: str, limit: int) -> str:
    """At most `limit` characters."""
    return words if len(words) <= limit else words[: limit - 1] + "…"


def svg_rect(x: float, y: float, width: float, height: float, classes: str, told: str = "") -> str:
    """A rectangle; `told` is said when a pointer rests on it."""
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    if not told:
        return f'<rect {place} class="{classes}"/>'
    return f'<rect {place} class="{classes}"><title>{escape(told)}</title></rect>'


def svg_line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A line."""
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" class="{classes}"/>'


def svg_curve(points: Sequence[tuple[float, float]], classes: str) -> str:
    """A line through points of the plot."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" class="{classes}"/>'


def round_step(span: float, parts: int, unit: Sequence[float] = (1, 2, 5, 10)) -> float:
    """A round distance between ticks, so that there are about `parts` of them."""
    rough = max(span / parts, 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in unit if power * factor >= rough * 0.999)


def time_step(span: float) -> float:
    """A distance between ticks that people count in, of seconds."""
    steps = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    return next((step for step in steps if span / step <= 7), round_step(span, 6))  # noqa: PLR2004  ticks


def tick_label(seconds: float) -> str:
    """A time on an axis."""
    if seconds < 60:  # noqa: PLR2004  a minute in seconds
        return f"{seconds:g} s"
    if seconds < 7200:  # noqa: PLR2004  two hours: minutes are still easy to read
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h"
