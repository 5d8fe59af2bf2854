"""Matters of compliance that a named person decides: auditors, the register, the AI Act.

A decision stands until it is decided otherwise. Nothing is decided by the runbook.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.journaled import text, utc
from tasks.domain.untrusted import visible

_REASON = 600


class Matter(StrEnum):
    """What is decided on."""

    AUDITORS = "auditors"
    REGISTER = "breach-register"
    AI_ACT = "ai-act"


QUESTIONS: dict[Matter, tuple[str, str]] = {
    Matter.REGISTER: ("Is it entered in the internal breach register?", "GDPR Art. 33(5)"),
    Matter.AI_ACT: ("Is it a serious incident of a high-risk AI system?", "EU AI Act Art. 73"),
    Matter.AUDITORS: ("Do the auditors have to be told?", "runbook, Compliance Reporting"),
}
"""The question as the report puts it, and its basis."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's yes or no. `seq` is its place in the journal."""

    matter: Matter
    yes: bool
    reason: str
    by: str
    at: str
    seq: int

    @property
    def words(self) -> str:
        """For the report."""
        return f"{'yes' if self.yes else 'no'}, decided by {self.by} at {self.at}: {self.reason}"


def decisions(facts: Iterable[Fact]) -> dict[Matter, Decided]:
    """What stands of each matter that anybody has decided."""
    found: dict[Matter, Decided] = {}
    for fact in facts:
        matter, answer = fact.data.get("matter"), fact.data.get("answer")
        if fact.kind is not FactKind.COMPLIANCE_DECIDED or fact.actor == RUNBOOK:
            continue
        if matter not in [*Matter] or answer not in ["yes", "no"]:
            continue
        found[Matter(str(matter))] = Decided(
            matter=Matter(str(matter)),
            yes=answer == "yes",
            reason=text(fact.data, "reason", limit=_REASON),
            by=visible(fact.actor, 120),
            at=utc(fact.at),
            seq=fact.seq,
        )
    return found


def auditors_step(decided: Decided) -> str:
    """The step by which the auditors are told, once for each decision."""
    return f"auditors.{decided.seq}"


def to_tell_auditors(facts: Iterable[Fact]) -> Iterator[tuple[Fact, Decided]]:
    """The decision that stands when it says that the auditors are told, with its fact."""
    known = list(facts)
    stands = decisions(known).get(Matter.AUDITORS)
    if stands is not None and stands.yes:
        yield next(fact for fact in known if fact.seq == stands.seq), stands
