"""Who hashes the shards of a verification, and what becomes of answers that do not count.

A crew gives back parts that passed `Cut.accept`, in the order of the jobs, or raises: there is no
third way, so whoever joins them need not know who hashed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.domain.errors import NotProven
from tasks.domain.ledger.shards import AnswerError, Part
from tasks.work.parallel import over_workers
from tasks.work.shard_jobs import Cut, ShardJob, answer

_logger = logging.getLogger(__name__)

Tell = Callable[[int], None]
"""Hears how many records were read, as shards end."""


class Crew(Protocol):
    """Who is asked; `is_remote`: by jobs that another machine can do, with secrets of its own."""

    @property
    def width(self) -> int:
        """How many hash at once."""

    @property
    def least_blocks(self) -> int:
        """How many blocks there are for each, where it is asked at all."""

    @property
    def is_remote(self) -> bool:
        """Whether jobs leave this machine."""

    @property
    def rechecked(self) -> int:
        """How many blocks that were called good are hashed again by this process."""

    def compare(self, cut: Cut, jobs: Sequence[ShardJob], tell: Tell) -> list[Part]:
        """The parts in the order of the jobs. Raises what ends the verification."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine, of which this one is the first.

    Another one pays from about a million records on: it takes half a second of a core to start.
    """

    width: int = 1
    least_blocks: int = 16
    is_remote: bool = False
    rechecked: int = 0

    def compare(self, cut: Cut, jobs: Sequence[ShardJob], tell: Tell) -> list[Part]:
        """A part whose answer does not count is done again by this process, once."""
        parts: dict[int, Part] = {}

        def take(numbered: tuple[int, bytes]) -> None:
            at, given = numbered
            parts[at] = _accepted_here(cut, jobs[at], given)
            tell(parts[at][0].records)

        over_workers(_answer_numbered, list(enumerate(jobs)), self.width, take)
        return [parts[at] for at in range(len(jobs))]


def _answer_numbered(numbered: tuple[int, ShardJob]) -> tuple[int, bytes]:
    at, job = numbered
    return at, answer(job)


def _accepted_here(cut: Cut, job: ShardJob, given: bytes) -> Part:
    try:
        return cut.accept(job, given)
    except AnswerError as error:
        _logger.warning("done again, by this process: %s", error)
    try:
        return cut.accept(job, answer(job))
    except AnswerError as error:
        raise NotProven(f"hashed twice, and no answer counts: {error}") from error
