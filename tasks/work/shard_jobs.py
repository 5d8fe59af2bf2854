"""A shard with what it takes to hash it, and the answer: in this process, in another, elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.ledger.shard_answers import accepted, encode_failure, encode_part
from tasks.domain.ledger.shards import Maker, Part, Shard
from tasks.work.maker import sound_maker


@dataclass(frozen=True, slots=True)
class ShardJob:
    """`compare`, a module's function, is called with `work`; both can be pickled."""

    shard: Shard
    compare: Callable[[Any], Part]
    work: object


@dataclass(frozen=True, slots=True)
class Cut:
    """One verification, cut into shards: whose answers are then checked against its tree."""

    source: str
    head: Checkpoint
    signed: SignedBlocks
    run: str
    maker: Maker

    @classmethod
    def of(cls, source: str, head: Checkpoint, signed: SignedBlocks) -> "Cut":
        """A new one; NotProven when our own kernel is not sound."""
        return cls(source, head, signed, token_hex(16), sound_maker())

    def shard(self, begin: int, end: int, *, tail: bool = False) -> Shard:
        """Blocks `begin` <= index < `end`."""
        head = self.head
        return Shard(self.source, head.origin, head.size, head.root, begin, end, tail, self.run)

    def accept(self, job: ShardJob, answer: object) -> Part:
        """What the answer says; AnswerError when it does not count."""
        return accepted(job.shard, answer, self.maker, self.signed)


def answer(job: ShardJob) -> bytes:
    """The shard's answer; errors are raised."""
    return encode_part(job.shard, sound_maker(), job.compare(job.work))


def answer_or_failure(job: ShardJob) -> bytes:
    """The same for another machine: an error, whichever, is an answer too.

    So nothing of it is pickled, and nothing but its bounded text is logged on the way.
    """
    maker = Maker("", "")
    try:
        maker = sound_maker()
        return encode_part(job.shard, maker, job.compare(job.work))
    except Exception as error:  # noqa: BLE001 - a kernel or a store that is broken fails anyhow
        return encode_failure(job.shard, maker, error)
