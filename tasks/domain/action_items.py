"""Action items of an incident: who does what until when, and how it is known to be done.

Facts alone: an item is added and changed by ACTION_SET, and ended by ACTION_ENDED; its newest words
stand. An item that was ended and is changed again is open again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.journaled import UNKNOWN, text, utc
from tasks.domain.untrusted import visible

MOST_ITEMS = 200
OWNER_LIMIT = 120
_WORDS = 2000
_NAME = re.compile(r"A[1-9][0-9]{0,3}")
_LATEST = 2  # years from now: a date beyond it is a slip of the keyboard


class Kind(StrEnum):
    """What an action is for."""

    PREVENT = "prevent"
    DETECT = "detect"
    MITIGATE = "mitigate"
    PROCESS = "process"


class Ended(StrEnum):
    """How an action can end."""

    DONE = "done"
    DROPPED = "dropped"


OPEN = "open"


@dataclass(frozen=True, slots=True)
class ActionItem:
    """An item as it stands. `due` is an ISO date; texts have passed `visible`.

    `state` is open, done or dropped; `said` how it was verified, or why it was dropped; `versions`
    counts how often it was put.
    """

    item: str
    action: str
    kind: str
    owner: str
    due: str
    verification: str
    state: str
    added_at: str
    added_by: str
    versions: int
    ended_at: str
    ended_by: str
    said: str

    def is_overdue(self, today: date) -> bool:
        """Whether it is open after its last day; a due date that cannot be read counts."""
        if self.state != OPEN:
            return False
        try:
            return date.fromisoformat(self.due) < today
        except ValueError:
            return True


def action_items(facts: Iterable[Fact]) -> tuple[ActionItem, ...]:
    """Every item, in the order in which they were added."""
    put: dict[str, list[Fact]] = {}
    ended: dict[str, Fact] = {}
    for fact in facts:
        name = fact.data.get("item")
        if fact.actor == RUNBOOK or not isinstance(name, str) or not _NAME.fullmatch(name):
            continue
        if fact.kind is FactKind.ACTION_SET:
            put.setdefault(name, []).append(fact)
            ended.pop(name, None)
        elif fact.kind is FactKind.ACTION_ENDED and fact.data.get("ending") in [*Ended]:
            ended[name] = fact
    return tuple(_item(name, said, ended.get(name)) for name, said in put.items())


def next_name(items: Sequence[ActionItem]) -> str:
    """The name of the next item. Raises BadInput when there are too many."""
    if len(items) >= MOST_ITEMS:
        raise BadInput(
            f"expected at most {MOST_ITEMS} action items of an incident, found as many: open a "
            "ticket for the rest"
        )
    return f"A{len(items) + 1}"


def check_due(due: date, today: date) -> date:
    """A day that can still be kept, and is not a slip. Raises BadInput."""
    if not today <= due <= today.replace(year=today.year + _LATEST, day=min(today.day, 28)):
        raise BadInput(
            f"expected a due date from today to {_LATEST} years from now, found {due.isoformat()}"
        )
    return due


def is_overdue_at(item: ActionItem, now: datetime) -> bool:
    """As `is_overdue`, of a moment in UTC."""
    return item.is_overdue(now.date())


def markdown(incident: str, items: Sequence[ActionItem], now: datetime) -> str:
    """The items as a list that a ticket or a wiki takes; text of people is escaped."""
    lines = [f"# Action items of {_escaped(visible(incident, 120))}", ""]
    for each in items:
        late = " **overdue**" if is_overdue_at(each, now) else ""
        mark = " " if each.state == OPEN else "x"
        who = f"{_escaped(each.kind)}; owner: {_escaped(each.owner)}"
        lines.append(f"- [{mark}] **{each.item}** {_escaped(each.action)}")
        lines.append(f"    - {who}; due: {_escaped(each.due)}{late}")
        lines.append(f"    - verified by: {_escaped(each.verification)}")
        if each.state != OPEN:
            lines.append(
                f"    - {each.state} {_escaped(each.ended_at)} by {_escaped(each.ended_by)}: "
                f"{_escaped(each.said)}"
            )
    if not items:
        lines.append("None.")
    return "\n".join(lines) + "\n"


def _item(name: str, said: Sequence[Fact], end: Fact | None) -> ActionItem:
    first, newest = said[0], said[-1].data
    return ActionItem(
        item=name,
        action=text(newest, "action", limit=_WORDS),
        kind=text(newest, "kind"),
        owner=text(newest, "owner", limit=OWNER_LIMIT),
        due=text(newest, "due"),
        verification=text(newest, "verification", limit=_WORDS),
        state=OPEN if end is None else text(end.data, "ending"),
        added_at=utc(first.at),
        added_by=visible(first.actor, 120),
        versions=len(said),
        ended_at="" if end is None else utc(end.at),
        ended_by="" if end is None else visible(end.actor, 120),
        said="" if end is None else text(end.data, "text", UNKNOWN, _WORDS),
    )


def _escaped(words: str) -> str:
    """Nothing in it is markup or HTML to a reader of Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&:@-])", r"\\\1", words)
