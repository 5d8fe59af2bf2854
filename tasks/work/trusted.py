"""What a verification judges by: a head that counts, and the tree that it signs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.clients.errors import NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Code, Finding, NoteError, Status, Trust, Verdict
from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.judgement import Subject, judge
from tasks.domain.ledger.scope import FULL, Scope
from tasks.work.log_files import LogStore
from tasks.work.log_heads import Head, latest_head, open_head, refusal, stored_sizes
from tasks.work.signed_tree import signed_tree

Progress = Callable[[int, int], None]
"""Called with (records done, records due); done may exceed due by the unsigned tail."""

_MOST_REFUSED = 100


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a source is judged by: a head that counts, and the tree that it signs.

    `tiles` says what is wrong with the tiles of the tree, empty when nothing is.
    """

    head: Head
    signed: SignedBlocks
    tiles: str
    findings: tuple[Finding, ...]


def read_trusted(
    log: LogStore, trust: Trust, now: datetime | None = None, size: int | None = None
) -> Trusted:
    """The newest head that counts, with its tree. `now`: what freshness is judged by.

    `size`: of the head to take instead, so that several comparisons have the same; NoteError when
    it does not count. NotFound without any head, NotProven when none counts. Refused newer heads
    and a stale one are among the findings.
    """
    head = latest_head(log, trust)
    if size is not None and size != head.checkpoint.size:
        head = replace(open_head(log, size, trust), refused=head.refused)
    signed, tiles = signed_tree(log, head.checkpoint)
    stale = trust.staleness(head.cosigned, now or datetime.now(UTC))
    late = [Finding(Code.STALE, log.source, detail=stale)] if stale else []
    return Trusted(head, signed, tiles, (*head.refused, *late))


@dataclass(frozen=True, slots=True)
class Run:
    """One verification that has something to judge by."""

    source: str
    began: float
    trusted: Trusted

    def teller(self, progress: Progress | None, scope: Scope) -> Callable[[int], None]:
        """Adds up the records that are done, for whoever shows the progress."""
        due = scope.records(self.trusted.signed.size)
        done = 0

        def tell(records: int) -> None:
            nonlocal done
            done += records
            if progress is not None:
                progress(done, due)

        return tell

    def judge(
        self, done: Comparison, beside: Sequence[Finding] = (), scope: Scope = FULL
    ) -> Verdict:
        """The verdict over what was compared."""
        subject = Subject(self.source, self.trusted.head.checkpoint, scope)
        findings = (*self.trusted.findings, *beside)
        return judge(subject, done, findings, time.perf_counter() - self.began)


def begin(
    source: str, log: LogStore, trust: Trust, now: datetime | None, size: int | None = None
) -> Run | Verdict:
    """A verification of `source`, or the verdict that there is nothing to judge it by."""
    began = time.perf_counter()
    try:
        return Run(source, began, read_trusted(log, trust, now, size))
    except NotFound as error:
        finding = Finding(Code.BAD_CHECKPOINT, log.source, detail=str(error))
        return Subject(source).verdict(Status.UNVERIFIABLE, str(error), (finding,))
    except (NotProven, NoteError) as error:
        return Subject(source).verdict(Status.UNVERIFIABLE, str(error), _refusals(log, trust))


def _refusals(log: LogStore, trust: Trust) -> list[Finding]:
    """Findings for the newest hundred stored checkpoints, none of which counts."""
    findings = []
    for size in stored_sizes(log)[-_MOST_REFUSED:]:
        try:
            open_head(log, size, trust)
        except NoteError as error:
            findings.append(refusal(log, size, error))
    return findings
