"""What must be true when people cannot be reached as usual: by another way, and nothing waits."""

import time
from collections.abc import Callable

from deployments.lab import mailbox
from deployments.lab.expectations import Check, Situation
from deployments.lab.privacy_expectations import of_annotator_exposed
from deployments.lab.whereabouts import places_of_canaries
from tasks.domain.contacts import Contact
from tasks.domain.facts import Fact, FactKind
from tasks.domain.policy import DPO_CLOCK, DPO_LIMIT
from tasks.work import journal

_NO_WAIT_SECONDS = 20.0
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.5


def of_chat_down(now: Situation) -> list[Check]:
    """The response is as it always is, and the letters say what chat would have said."""
    failed = _facts(now, FactKind.NOTIFY_FAILED)
    by_letter = {each["role"] for each in mailbox.letters(now.lab.mailbox)}
    canaries = places_of_canaries(now.lab)
    decided, begun = _facts(now, FactKind.PLAN_DECIDED), _facts(now, FactKind.STEP_STARTED)
    waited = (begun[0].at - decided[-1].at).total_seconds() if begun and decided else None
    return [
        Check(
            "what was approved did not wait for chat",
            waited is not None and waited < _NO_WAIT_SECONDS,
            "it was never begun" if waited is None else f"begun {waited:.1f} s after the word",
        ),
        Check(
            "who could not be told in chat is on record",
            any(fact.data.get("via") == "chat" for fact in failed),
            f"{len(failed)} times",
        ),
        Check(
            "on call was told by letter",
            Contact.ON_CALL in by_letter,
            ", ".join(sorted(by_letter)) or "nobody",
        ),
        Check("no canary is found in what we keep", not canaries, ", ".join(canaries[:5])),
    ]


def of_dpo_unreachable(now: Situation) -> list[Check]:
    """The deputy hears of it within the hour, and the DPO's clock runs on."""
    told = _until(lambda: _told(now, Contact.DPO_DEPUTY))
    state = journal.read(now.incident.id)
    failed = [
        fact
        for fact in state.facts
        if fact.kind is FactKind.NOTIFY_FAILED and fact.data.get("contact") == Contact.DPO
    ]
    began = now.incident.opened_at
    seconds = (told.at - began).total_seconds() if told is not None and began else None
    in_time = seconds is not None and seconds < DPO_LIMIT.total_seconds()
    letters = [each["role"] for each in mailbox.letters(now.lab.mailbox)]
    return [
        *of_annotator_exposed(now),
        Check(
            "that the DPO could not be told is on record, by each way that was tried",
            {"chat", "json.1"} <= {str(fact.data.get("via")) for fact in failed},
            ", ".join(sorted({str(fact.data.get("via")) for fact in failed})),
        ),
        Check(
            "the DPO's deputy was told, by letter, within the hour",
            in_time and Contact.DPO_DEPUTY in letters and Contact.DPO not in letters,
            "never" if seconds is None else f"{seconds:.0f} s after the alert",
        ),
        Check(
            "the DPO's clock runs until somebody acknowledges",
            DPO_CLOCK in state.clocks and DPO_CLOCK not in state.clocks_stopped,
        ),
    ]


def _told(now: Situation, contact: Contact) -> Fact | None:
    return next(
        (
            fact
            for fact in journal.read(now.incident.id).facts
            if fact.kind is FactKind.NOTIFIED and fact.data.get("contact") == contact
        ),
        None,
    )


def _until(look: Callable[[], Fact | None]) -> Fact | None:
    """What is tried again is told a little later than the response ends."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


def _facts(now: Situation, kind: FactKind) -> list[Fact]:
    return [fact for fact in now.incident.facts if fact.kind is kind]
