"""What the public is told of an incident: drafts of the runbook, published on a person's word.

A draft is words for customers, who read no text of an alert. It is named by the SHA-256 of what it
says, and the word of a person is for that hash alone: other words are another draft.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.messages import Audience, Moment, message

STATUS_PAGE = "status page"
"""In the place of a contact, and of a channel: the public page."""

STATES: Mapping[Moment, str] = {
    Moment.OPENED: "investigating",
    Moment.UPDATE: "identified",
    Moment.MITIGATED: "monitoring",
    Moment.CLOSED: "resolved",
}
"""The states of an incident as status pages name them."""

_SUBJECT_LIMIT = 200
_TEXT_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """Words for the public. `page` names the incident there, and nothing else of it."""

    page: str
    moment: Moment
    subject: str
    text: str

    @property
    def hash(self) -> str:
        """What a person approves: everything that will be seen."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    @property
    def state(self) -> str:
        """The incident's state on the page."""
        return STATES[self.moment]

    def as_json(self) -> dict[str, str]:
        """As a fact keeps it."""
        return {
            "page": self.page,
            "moment": self.moment.value,
            "subject": self.subject,
            "text": self.text,
        }

    @classmethod
    def from_json(cls, found: object) -> Self:
        """Raises BadInput for what is no draft."""
        if not isinstance(found, Mapping) or found.get("moment") not in set(Moment):
            raise BadInput("expected a draft for the status page, found something else")
        words = [found.get(name) for name in ("page", "subject", "text")]
        if not all(isinstance(word, str) and word for word in words):
            raise BadInput("expected a draft with page, subject and text, found less")
        page, subject, text = (str(word) for word in words)
        return cls(page[:64], Moment(found["moment"]), subject[:_SUBJECT_LIMIT], text[:_TEXT_LIMIT])


def draft(incident: Incident, moment: Moment, now: datetime) -> Draft:
    """What customers would be told at this moment."""
    words = message(incident, Audience.CUSTOMERS, moment, now)
    page = hashlib.sha256(incident.id.encode()).hexdigest()[:16]
    return Draft(page, moment, words.subject[:_SUBJECT_LIMIT], "\n".join(words.lines))


@dataclass(frozen=True, slots=True)
class Standing:
    """A draft, who approved it and when, and the page's receipt once it is public."""

    draft: Draft
    drafted_at: datetime
    by: str = ""
    approved_at: datetime | None = None
    receipt: str | None = None

    @property
    def step(self) -> str:
        """The step of publishing it."""
        return f"status-page.{self.draft.hash[:16]}"


def standings(incident: Incident) -> tuple[Standing, ...]:
    """Every draft as it stands, in the order in which they were made; the same words once."""
    drafted: dict[str, tuple[Draft, datetime]] = {}
    approved: dict[str, Fact] = {}
    published: dict[str, str] = {}
    for fact in incident.facts:
        if fact.kind is FactKind.STATUS_DRAFTED:
            for made in _readable(fact):
                drafted.setdefault(made.hash, (made, fact.at))
        elif fact.kind is FactKind.STATUS_APPROVED and fact.actor != RUNBOOK:
            approved.setdefault(str(fact.data.get("hash")), fact)
        elif fact.kind is FactKind.NOTIFIED and fact.data.get("channel") == STATUS_PAGE:
            published.setdefault(str(fact.data.get("hash")), str(fact.data.get("receipt", "")))
    return tuple(
        Standing(
            made,
            at,
            by=approved[name].actor if name in approved else "",
            approved_at=approved[name].at if name in approved else None,
            receipt=published.get(name),
        )
        for name, (made, at) in drafted.items()
    )


def is_public(incident: Incident) -> bool:
    """Whether anything was published of it: what never was announced needs no resolution."""
    return any(one.receipt is not None for one in standings(incident))


def receipt_of(incident: Incident) -> str:
    """The page's own name of the incident, once something was published; else empty."""
    return next((one.receipt for one in standings(incident) if one.receipt), "")


def _readable(fact: Fact) -> Iterator[Draft]:
    found: Any = fact.data.get("draft")
    try:
        yield Draft.from_json(found)
    except BadInput:
        return
