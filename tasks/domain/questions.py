"""What only people know about an incident: the questions of its report, and their answers.

Each answer is a fact under a person's name; the newest one stands, the earlier ones are its
versions. The report never answers by itself: what nobody has answered says so.
Runbook: Post-Incident Procedures.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.journaled import utc
from tasks.domain.untrusted import visible

ANSWER_LIMIT = 2000
"""Characters of an answer; the floor refuses more."""

_VERSIONS_SHOWN = 20


class Question(StrEnum):
    """What is asked. The value is what the command and the forms call it."""

    TRIGGER = "trigger"
    FACTORS = "factors"
    CAUSES = "causes"
    WELL = "went-well"
    BADLY = "went-badly"
    LUCK = "luck"
    PREVENTION = "prevention"
    MONITORING = "monitoring"
    DOCUMENTATION = "documentation"
    LESSONS = "lessons"
    RUNBOOK = "runbook"
    POST_MORTEM = "post-mortem"


@dataclass(frozen=True, slots=True)
class Asked:
    """How a question is put. Without an answer to a `needed` one the report stays a draft."""

    heading: str
    words: str
    needed: bool = False


ASKED: dict[Question, Asked] = {
    Question.TRIGGER: Asked("Trigger", "What set it off, as far as people know?"),
    Question.FACTORS: Asked(
        "Contributing factors",
        "Which conditions made it possible or worse? A person's act is never a cause by itself.",
        needed=True,
    ),
    Question.CAUSES: Asked(
        "Root causes",
        "Usually more than one: what would have had to be different?",
        needed=True,
    ),
    Question.WELL: Asked("What went well", "What should be kept as it is?"),
    Question.BADLY: Asked("What went badly", "Where did the response lose time, or guess?"),
    Question.LUCK: Asked("Where we were lucky", "What was good by chance only?"),
    Question.PREVENTION: Asked(
        "Prevention", "What keeps it from happening again? Name the action items.", needed=True
    ),
    Question.MONITORING: Asked(
        "Monitoring and alerts", "Which alert should have fired, or fired earlier, or not at all?"
    ),
    Question.DOCUMENTATION: Asked("Documentation", "What did people look for and not find?"),
    Question.LESSONS: Asked("Lessons", "What do we know now that we did not know?", needed=True),
    Question.RUNBOOK: Asked(
        "Runbook changes", "Which line of the runbook should read differently?"
    ),
    Question.POST_MORTEM: Asked("Post-mortem", "When was it held, who took part, what was agreed?"),
}
"""In the order in which a report asks them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One version of an answer. `lines` have passed `visible`."""

    at: str
    by: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question with what people have answered, the newest version last; `version` counts all."""

    question: str
    heading: str
    words: str
    needed: bool
    version: int
    versions: tuple[Answer, ...]

    @property
    def answer(self) -> Answer | None:
        """What stands; None: nobody has answered."""
        return self.versions[-1] if self.versions else None


def answers(facts: Iterable[Fact]) -> dict[Question, list[Fact]]:
    """The facts by which people have answered, of every question that has any, oldest first."""
    found: dict[Question, list[Fact]] = {}
    for fact in facts:
        asked = fact.data.get("question")
        said = fact.data.get("text")
        if fact.kind is not FactKind.ANSWERED or fact.actor == RUNBOOK:
            continue
        if isinstance(said, str) and said and asked in [*Question]:
            found.setdefault(Question(str(asked)), []).append(fact)
    return found


def prompts(facts: Iterable[Fact]) -> tuple[Prompt, ...]:
    """Every question, answered or not."""
    known = answers(facts)
    return tuple(
        Prompt(
            question=question.value,
            heading=asked.heading,
            words=asked.words,
            needed=asked.needed,
            version=len(known.get(question, ())),
            versions=tuple(_answer(fact) for fact in known.get(question, ())[-_VERSIONS_SHOWN:]),
        )
        for question, asked in ASKED.items()
    )


def lacking(facts: Iterable[Fact]) -> tuple[str, ...]:
    """The headings of the needed questions that nobody has answered."""
    known = answers(facts)
    return tuple(
        asked.heading for question, asked in ASKED.items() if asked.needed and question not in known
    )


def _answer(fact: Fact) -> Answer:
    lines = (visible(line, ANSWER_LIMIT) for line in str(fact.data["text"]).splitlines())
    return Answer(utc(fact.at), visible(fact.actor, 120), tuple(line for line in lines if line))
