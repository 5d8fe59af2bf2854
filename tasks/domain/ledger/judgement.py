"""From a comparison and the findings beside it to a verdict. `verified` has to be earned.

It is said only when every signed record that was to be hashed is as signed and nothing speaks
against the log; when only what records are judged by is damaged, `unverifiable`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.scope import FULL, Scope
from tasks.domain.ledger.verdicts import INFORMATIONAL, UNDECIDED, Code, Finding, Status, Verdict


@dataclass(frozen=True, slots=True)
class Subject:
    """What was verified: the source's name, the signed head, and how much of it was hashed."""

    source: str
    head: Checkpoint | None = None
    scope: Scope = FULL

    def verdict(
        self,
        status: Status,
        reason: str,
        findings: Sequence[Finding],
        done: Comparison | None = None,
        seconds: float = 0.0,
    ) -> Verdict:
        """The verdict, with the sizes that the comparison found."""
        size = self.head.size if self.head else 0
        return Verdict(
            status=status,
            source=self.source,
            records=done.records if done else 0,
            signed=size,
            findings=tuple(findings),
            origin=self.head.origin if self.head else "",
            root=self.head.root.hex() if self.head else "",
            seconds=seconds,
            bytes=done.size if done else 0,
            reason=reason,
            scope=self.scope.describe(size),
        )


def judge(
    subject: Subject, done: Comparison, beside: Sequence[Finding], seconds: float = 0.0
) -> Verdict:
    """The verdict over the records compared and the findings about what they are judged by."""
    size = subject.head.size if subject.head else 0
    due = subject.scope.records(size)
    matched, doubts = _confirm(done, subject.head)
    findings = [*beside, *done.findings, *doubts]
    against = [each for each in findings if each.code not in INFORMATIONAL | UNDECIDED]
    undecided = [each for each in findings if each.code in UNDECIDED]
    supposed = sum(count for _, count in done.supposed)
    if against:
        codes = ", ".join(sorted({each.code for each in against}))
        reason = f"{matched} of {due} signed records are as signed; found {codes}"
        return subject.verdict(Status.TAMPERED, reason, findings, done, seconds)
    short = matched + supposed < due
    if undecided or short:
        doubt = undecided[0].detail if undecided else "the others are not there to be read"
        compared = f"only {matched} of {due}" if short else f"all {due}"
        reason = f"{compared} records of the newest good head are as signed; not in order: {doubt}"
        return subject.verdict(Status.UNVERIFIABLE, reason, findings, done, seconds)
    if subject.scope.is_full:
        reason = f"all {size} signed records are as signed"
    else:
        reason = f"{matched} records were hashed again and are as signed"
    tail = sum(each.count for each in findings if each.code is Code.UNSIGNED_TAIL)
    if tail:
        reason += f"; {tail} newer ones are chained, and not signed yet"
    return subject.verdict(Status.VERIFIED, reason, findings, done, seconds)


def _confirm(done: Comparison, head: Checkpoint | None) -> tuple[int, list[Finding]]:
    """How many records are as signed, those included that only the whole tree can speak for."""
    whole = done.whole
    if head is None or whole is None or (whole.begin, whole.end) != (0, head.size):
        return done.matched, [_unknown_tree(done.source, *run) for run in done.supposed]
    if whole.root() != head.root:
        return done.matched, [_root_differs(whole.root(), done.source, head)]
    return done.matched + sum(count for _, count in done.supposed), []


def _root_differs(found: bytes, source: str, head: Checkpoint) -> Finding:
    """Whole ranges merge to the signed root, whatever the tiles said of their parts."""
    detail = (
        "somewhere among these records: together they do not give the signed root, and the tiles"
        " that would say which are damaged too"
    )
    expected = head.root.hex()
    return Finding(Code.MODIFIED, source, 0, head.size, detail, expected, found.hex())


def _unknown_tree(source: str, first: int, count: int) -> Finding:
    detail = "nothing that is stored leads to the signed root, so a part cannot be compared with it"
    return Finding(Code.UNPROVEN, source, first, count, detail)
