"""What the review of an incident looks like on its page: questions, items, compliance, the days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.action_items import ActionItem, Kind, action_items
from tasks.domain.compliance_decisions import QUESTIONS, Matter, decisions
from tasks.domain.incident import Incident
from tasks.domain.questions import Prompt, prompts
from tasks.domain.review import FollowUpRow, Status, follow_up_rows, status, status_words


@dataclass(frozen=True, slots=True)
class MatterView:
    """A matter of compliance; `decided` is empty before anybody has decided."""

    matter: str
    question: str
    basis: str
    decided: str


@dataclass(frozen=True, slots=True)
class ReviewView:
    """What the template shows. Texts have passed `visible`."""

    status: str
    words: str
    may_be_signed: bool
    answered: bool
    prompts: tuple[Prompt, ...]
    items: tuple[ActionItem, ...]
    overdue: frozenset[str]
    kinds: tuple[str, ...]
    matters: tuple[MatterView, ...]
    follow_ups: tuple[FollowUpRow, ...]


def review_view(incident: Incident, now: datetime) -> ReviewView:
    """Of any incident; while it is open people may write, and nothing is asked of them."""
    facts = incident.facts
    items, asked = action_items(facts), prompts(facts)
    stands = status(facts)
    return ReviewView(
        status=stands.value,
        words=status_words(facts),
        may_be_signed=incident.closed_at is not None and stands is Status.IN_REVIEW,
        answered=any(each.version for each in asked),
        prompts=asked,
        items=items,
        overdue=frozenset(each.item for each in items if each.is_overdue(now.date())),
        kinds=tuple(Kind),
        matters=_matters(incident),
        follow_ups=tuple(follow_up_rows(incident)),
    )


def _matters(incident: Incident) -> tuple[MatterView, ...]:
    stands = decisions(incident.facts)
    words: Mapping[Matter, str] = {matter: each.words for matter, each in stands.items()}
    return tuple(
        MatterView(matter.value, question, basis, words.get(matter, ""))
        for matter, (question, basis) in QUESTIONS.items()
    )
