"""A hundred thousand log lines on one screen: what matters first, with counts and an example.

Ranked by how loud a kind of line is and by whether it began around the onset: an error that has
been there all day does not explain what began a minute ago. Texts are redacted, printable and cut.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tasks.domain.log_clustering import Cluster, Clusters
from tasks.domain.log_lines import Level, LogLine
from tasks.domain.redaction import REDACTED, Redactor
from tasks.domain.untrusted import visible

MARGIN = timedelta(minutes=2)
"""An alert fires some time after its cause: what began so long before the onset is new too."""

SCREEN = 12
"""Kinds of lines that are shown, each with an example: more nobody reads at night."""

TEMPLATE_LIMIT = 160
EXAMPLE_LIMIT = 240

_SOURCE_LIMIT = 120
_TIMES_AS_OFTEN = 3.0
_LEAST_RISING = 5  # lines since the onset: two instead of none say nothing
_SHORTEST_SECONDS = 1.0
# Base64 and nothing else is the inside of a key; an address is somebody's personal data.
_KEY_LINE = re.compile(r"\s*[A-Za-z0-9+/]{40,}+={0,2}\s*")
_LONG_HEX = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{16,}(?![0-9a-f])")
_ACCOUNT = re.compile(r"([0-9A-Fa-f.:\[\]]{2,64} - )[^\s\"\[-][^\s\"\[]{0,99}(?= [\[\"])")
# What annotators wrote, and who they are, stands behind such a word until the line's end.
_PERSONAL = re.compile(
    r"(?i)\b((?:prompt|completion|full_name|phone|(?:annotator_)?e?mail)\b[\"']?\s?[=:]).+"
)
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}+@(?=[\w-]{1,63}\.)[\w.-]{1,255}")


class Novelty(StrEnum):
    """How a kind of line relates to the onset; STEADY also when no earlier line is known."""

    NEW = "new"
    RISING = "rising"
    STEADY = "steady"


# A new warning says more than an error of all day; what is only informed of says little when new.
_WEIGHTS: dict[Level, dict[Novelty, int]] = {
    level: dict(zip(Novelty, weights, strict=True))
    for level, weights in {
        Level.FATAL: (8, 7, 5),
        Level.ERROR: (7, 6, 4),
        Level.WARNING: (5, 4, 2),
        Level.UNKNOWN: (3, 2, 1),
        Level.INFO: (1, 1, 0),
        Level.DEBUG: (-1, -1, -1),
    }.items()
}
_LOUD = frozenset({Level.FATAL, Level.ERROR})


@dataclass(frozen=True, slots=True)
class LogTemplate:
    """One kind of line: its words with values masked, how often, how loud, when (UTC) and whose."""

    template: str
    level: Level
    count: int
    novelty: Novelty
    first: datetime | None
    last: datetime | None
    example: str
    sources: tuple[str, ...]

    @property
    def is_trouble(self) -> bool:
        """Whether it is an error that began or grew around the onset."""
        return self.level in _LOUD and self.novelty is not Novelty.STEADY

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        return {
            "template": self.template,
            "level": self.level.value,
            "count": self.count,
            "novelty": self.novelty.value,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "example": self.example,
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class LogDigest:
    """All lines that were read, and at most a screen of what they say.

    `continued` of the `lines` were parts of stack traces; `templates` are those shown of `kinds`;
    `others` counts by level the lines whose kind was too rare to be kept.
    """

    lines: int
    continued: int
    kinds: int
    templates: tuple[LogTemplate, ...]
    levels: dict[Level, int]
    others: dict[Level, int]

    @property
    def trouble(self) -> tuple[LogTemplate, ...]:
        """The errors that began or grew around the onset."""
        return tuple(each for each in self.templates if each.is_trouble)

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        return {
            "lines": self.lines,
            "continued": self.continued,
            "kinds": self.kinds,
            "levels": {level.value: count for level, count in self.levels.items()},
            "others": {level.value: count for level, count in self.others.items()},
            "templates": [each.as_json() for each in self.templates],
        }


def digest(
    lines: Iterable[LogLine],
    *,
    onset: datetime | None = None,
    redact: Callable[[str], str] | None = None,
    shown: int = SCREEN,
) -> LogDigest:
    """Read the lines once and say what matters.

    `onset` is when the trouble began (UTC), as far as is known; `redact` takes known secrets out,
    and what looks like one (without it, only the latter).
    """
    hide = _hiding(redact or Redactor())
    since = None if onset is None else onset - MARGIN
    clusters = Clusters(since, hide)
    for line in lines:
        clusters.add(line)
    kept = [(_novelty(each, clusters, since), each) for each in clusters.kept()]
    levels = Counter(clusters.others)
    for _, cluster in kept:
        levels[cluster.level] += cluster.count
    kept.sort(key=_rank)
    return LogDigest(
        lines=clusters.lines,
        continued=clusters.continued,
        kinds=len(kept),
        templates=tuple(_shown(cluster, novelty, hide) for novelty, cluster in kept[:shown]),
        levels={level: levels[level] for level in Level if levels[level]},
        others={level: clusters.others[level] for level in Level if clusters.others[level]},
    )


def _hiding(redact: Callable[[str], str]) -> Callable[[str], str]:
    """`redact`, and what only a log holds: key material, tokens, people and what they wrote."""

    def hide(text: str) -> str:
        if _KEY_LINE.fullmatch(text):
            return REDACTED
        text = _ADDRESS.sub("[address]", redact(text))
        text = _PERSONAL.sub(rf"\1 {REDACTED}", text)
        return _LONG_HEX.sub("[hex]", _ACCOUNT.sub(r"\1[account]", text))

    return hide


def _rank(found: tuple[Novelty, Cluster]) -> tuple[int, int, tuple[str, ...]]:
    novelty, cluster = found
    return -_WEIGHTS[cluster.level][novelty], -cluster.count, cluster.words


def _novelty(cluster: Cluster, clusters: Clusters, since: datetime | None) -> Novelty:
    """New and rising can be said only where the log reaches back before the onset."""
    first, last = clusters.first, clusters.last
    if since is None or first is None or last is None or first >= since or cluster.last is None:
        return Novelty.STEADY
    if not cluster.earlier:
        return Novelty.NEW
    later = cluster.count - cluster.earlier
    before = max((since - first).total_seconds(), _SHORTEST_SECONDS)
    after = max((last - since).total_seconds(), _SHORTEST_SECONDS)
    more_often = later / after >= _TIMES_AS_OFTEN * cluster.earlier / before
    return Novelty.RISING if more_often and later >= _LEAST_RISING else Novelty.STEADY


def _shown(cluster: Cluster, novelty: Novelty, hide: Callable[[str], str]) -> LogTemplate:
    return LogTemplate(
        template=visible(" ".join(cluster.words), TEMPLATE_LIMIT),
        level=cluster.level,
        count=cluster.count,
        novelty=novelty,
        first=cluster.first,
        last=cluster.last,
        example=visible(hide(cluster.example), EXAMPLE_LIMIT),
        sources=tuple(visible(each, _SOURCE_LIMIT) for each in cluster.sources),
    )
