"""Which logs of which pods are read, and their text as lines with time and source.

All containers, and the process before of those that ended: the tail of the one that runs says
nothing about the one that crashed. What is in trouble comes first, so that a bound cuts the rest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.domain.log_lines import LogLine
from tasks.domain.pods import PodState, Stage

_STAMP_LIMIT = 40


@dataclass(frozen=True, slots=True)
class LogSource:
    """A container of a pod; `previous`: its process before this one."""

    pod: str
    container: str
    previous: bool = False

    def __str__(self) -> str:
        """As it stands beside a line."""
        return f"{self.pod}/{self.container}{' (previous)' if self.previous else ''}"


def log_sources(pods: Iterable[PodState]) -> tuple[LogSource, ...]:
    """Every log that there is, those that say most about trouble first."""
    ranked = [one for pod in pods for one in _ranked(pod)]
    return tuple(source for _, source in sorted(ranked, key=lambda one: one[0]))


def log_lines(source: LogSource, text: str) -> Iterator[LogLine]:
    """The lines of a log that was asked for with its times; one without a time has none."""
    name = str(source)
    for line in text.split("\n"):
        if line:
            stamp, _, said = line.partition(" ")
            at = _moment(stamp)
            yield LogLine(line if at is None else said, at, name)


def _ranked(pod: PodState) -> Iterator[tuple[int, LogSource]]:
    for container in pod.containers:
        ended = container.last is not None
        well = pod.ready or (container.init and container.ended is not None)
        if ended:
            yield 0, LogSource(pod.name, container.name, previous=True)
        if container.stage is not Stage.WAITING or ended:
            yield (1 if ended or not well else 2), LogSource(pod.name, container.name)


def _moment(stamp: str) -> datetime | None:
    """Of RFC 3339 with nanoseconds, as the kubelet writes it."""
    if len(stamp) > _STAMP_LIMIT or not stamp[:1].isdigit():
        return None
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
