"""Log lines by template, in bounded memory, whatever comes.

A template is a line with its values masked. A few variants of one shape stay apart ("connection
lost" and "connection restored" differ in one word); of many, the words in which they differ are
masked too, after Drain (He et al., ICWS 2017). Of each level only so many templates are kept; the
rarer half gives way, and its lines stay counted as "others".
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from operator import eq

from tasks.domain.log_lines import (
    LINE_LIMIT,
    MASK,
    TRACE_BEGINS,
    Level,
    LogLine,
    begins_trace,
    bounded,
    fields_of,
    level_of,
    masked,
    time_in,
    without_time,
)

PER_LEVEL = 400
"""Templates of one level that are kept."""

_KEY_LIMIT = 500
_KNOWN_LIMIT = 8000
_APART = 8  # variants of one shape that are kept apart before they are merged
_COMPARED = 16  # most recent variants that a new line is compared with
_ALIKE = 0.6  # share of equal words from which two lines have one shape
_FEWEST_WORDS = 3
_SOURCES = 3
_TRACING_LIMIT = 1000
_LONGEST_SECRET = 800  # redacted before the cut: half a secret is one too

_Words = tuple[str, ...]
_Shape = tuple[Level, int, str]


@dataclass(slots=True, eq=False)
class Cluster:
    """Lines of one template. `earlier` of them came before the time that was asked about."""

    level: Level
    words: _Words
    example: str
    count: int = 0
    earlier: int = 0
    first: datetime | None = None
    last: datetime | None = None
    sources: list[str] = field(default_factory=list)

    @property
    def shape(self) -> _Shape:
        """What two lines must share to be variants of each other."""
        return self.level, len(self.words), self.words[0] if self.words else ""

    def take(self, text: str, at: datetime | None, source: str, since: datetime | None) -> None:
        """Count one more line."""
        self.count += 1
        if len(self.sources) < _SOURCES and source and source not in self.sources:
            self.sources.append(source)
        if at is None:
            return
        if since is not None:
            if at < since:
                self.earlier += 1
            elif self.count - self.earlier == 1:
                self.example = text[:LINE_LIMIT]  # one of the trouble, not of the day before
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at

    def covers(self, other: "Cluster") -> bool:
        """Whether the other's words are a case of these."""
        return all(a in (b, MASK) for a, b in zip(self.words, other.words, strict=True))

    def absorb(self, other: "Cluster") -> None:
        """Take over another's lines."""
        self.count += other.count
        self.earlier += other.earlier
        firsts = [at for at in (self.first, other.first) if at is not None]
        lasts = [at for at in (self.last, other.last) if at is not None]
        self.first, self.last = min(firsts, default=None), max(lasts, default=None)
        self.sources = list(dict.fromkeys(self.sources + other.sources))[:_SOURCES]


class Clusters:
    """Takes lines one by one. Not for several threads.

    `since` divides earlier lines from later ones; `redact` takes secrets out of what a template
    is made of (an example keeps them until it is shown). `lines` were read, `continued` of them
    are parts of stack traces, `others` belong to templates that gave way, `first` and `last` are
    the earliest and the latest time of any line.
    """

    def __init__(self, since: datetime | None, redact: Callable[[str], str]) -> None:
        self.lines = 0
        self.continued = 0
        self.others: Counter[Level] = Counter()
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._since = since
        self._redact = redact
        self._known: dict[tuple[Level | None, str], Cluster] = {}
        self._clusters: dict[Level, dict[_Words, Cluster]] = {}
        self._shapes: dict[_Shape, list[Cluster]] = {}
        self._tracing: set[str] = set()

    def add(self, line: LogLine) -> None:
        """Count one line."""
        text = bounded(line.text)
        if not text or text.isspace():
            return
        self.lines += 1
        if (text[0] in TRACE_BEGINS or self._tracing) and self._continues(text, line.source):
            self.continued += 1
            return
        at, said, level = line.at, text, None
        if text[0] == "{" and (fields := fields_of(text)) is not None:
            said, level = fields.message, fields.level
            at = at or fields.at
        elif at is None:
            at = time_in(text)
        if at is not None:
            if self.first is None or at < self.first:
                self.first = at
            if self.last is None or at > self.last:
                self.last = at
        key = (level, masked(said[:_KEY_LIMIT]))
        cluster = self._known.get(key)
        if cluster is None:
            cluster = self._find(said, level)
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            self._known[key] = cluster
        cluster.take(text, at, line.source, self._since)

    def kept(self) -> list[Cluster]:
        """All clusters, each that a more general one covers counted with it; for the end."""
        for variants in self._shapes.values():
            for general in [each for each in variants if MASK in each.words]:
                covered = [each for each in variants if each is not general]
                for each in covered if general in variants else []:
                    if general.covers(each):
                        general.absorb(each)
                        variants.remove(each)
        return [cluster for variants in self._shapes.values() for cluster in variants]

    def _continues(self, text: str, source: str) -> bool:
        """Whether the line is the inside of a stack trace, whose last line says what happened."""
        if text[0] in " \t":
            if source in self._tracing:
                return True
        else:
            self._tracing.discard(source)
        if not begins_trace(text):
            return False
        if len(self._tracing) >= _TRACING_LIMIT:
            self._tracing.clear()
        self._tracing.add(source)
        return True

    def _find(self, said: str, level: Level | None) -> Cluster:
        """The cluster of words that were not seen in exactly this form before."""
        if level is None or level is Level.UNKNOWN:
            level = level_of(said)
        harmless = self._redact(said[: _KEY_LIMIT + _LONGEST_SECRET])[:_KEY_LIMIT]
        words = tuple(masked(without_time(harmless)).split())
        known = self._clusters.get(level, {}).get(words)
        if known is None:
            known = self._alike(level, words)
        return known or self._new(Cluster(level, words, said[:LINE_LIMIT]))

    def _new(self, cluster: Cluster) -> Cluster:
        if len(self._clusters.get(cluster.level, ())) >= PER_LEVEL:
            self._make_room(cluster.level)
        self._clusters.setdefault(cluster.level, {})[cluster.words] = cluster
        self._shapes.setdefault(cluster.shape, []).append(cluster)
        return cluster

    def _alike(self, level: Level, words: _Words) -> Cluster | None:
        """The most similar of many variants, with the words that differ masked from now on."""
        if len(words) < _FEWEST_WORDS:
            return None
        variants = self._shapes.get((level, len(words), words[0]), [])
        best, most = None, 0
        for cluster in variants[-_COMPARED:]:
            same = sum(map(eq, words, cluster.words))
            if same > most:
                best, most = cluster, same
        if best is None or most < _ALIKE * len(words):
            return None
        general = tuple(a if a == b else MASK for a, b in zip(words, best.words, strict=True))
        if general == best.words:
            return best
        if len(variants) < _APART:
            return None
        return self._generalised(best, general)

    def _generalised(self, cluster: Cluster, words: _Words) -> Cluster:
        """The cluster under more general words; where these are known already, that one."""
        of_level = self._clusters[cluster.level]
        del of_level[cluster.words]
        known = of_level.get(words)
        if known is None:
            cluster.words = words
            of_level[words] = cluster
            return cluster
        known.absorb(cluster)
        self._shapes[cluster.shape].remove(cluster)
        self._known.clear()  # it may lead to the one that has gone
        return known

    def _make_room(self, level: Level) -> None:
        """Let the rarer half of a level's templates go; their lines stay counted."""
        of_level = self._clusters[level].values()
        by_count = sorted(of_level, key=lambda cluster: cluster.count, reverse=True)
        keep, gone = by_count[: PER_LEVEL // 2], by_count[PER_LEVEL // 2 :]
        self.others[level] += sum(cluster.count for cluster in gone)
        self._clusters[level] = {cluster.words: cluster for cluster in keep}
        self._shapes = {shape: same for shape, same in self._shapes.items() if shape[0] != level}
        for cluster in keep:
            self._shapes.setdefault(cluster.shape, []).append(cluster)
        self._known.clear()
