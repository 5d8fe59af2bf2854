"""What people say in the review of an incident: answers, action items, sign-off, compliance.

As in `statements`: all raise NotPermitted, BadInput or NotApproved, and then nothing is recorded; a
repeated click finds what the first one recorded. What is said about a closed incident orders its
report anew, once for all that is said within some minutes.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from tasks.domain.action_items import (
    OPEN,
    OWNER_LIMIT,
    ActionItem,
    Ended,
    Kind,
    action_items,
    check_due,
    next_name,
)
from tasks.domain.compliance_decisions import (
    Matter,
    auditors_step,
    decisions,
)
from tasks.domain.errors import BadInput, NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.names import is_same_person
from tasks.domain.questions import Question, answers
from tasks.domain.review import Status, signed_off, status, status_words
from tasks.domain.roles import Act
from tasks.work import incidents, journal
from tasks.work.floor import Floor, floor, said
from tasks.work.people import Person

REPORT_AGAIN_SECONDS = 300
"""What is said meanwhile is in the same report: it is written this long after the first word."""


def answer(
    incident: str, person: Person, question: Question, text: str, *, version: int | None = None
) -> Fact:
    """Answer a question of the report; the earlier answers stay as its versions.

    `version`: how many the person had before their eyes. NotApproved when there are more by now:
    nobody's words are replaced unread.
    """
    words = said(text, "an answer")
    with floor(incident, person, Act.REVIEW) as speaker:
        known = answers(speaker.state.facts).get(question, [])
        data = {"question": question.value, "text": words}
        if known and _is_repeated(known[-1], data, speaker):
            return known[-1]
        if version is not None and version != len(known):
            raise NotApproved(
                f"expected version {version} of the answer to {question}, found {len(known)}, by "
                f"{known[-1].actor if known else 'nobody'}: read it, and answer again"
            )
        fact = speaker.say(FactKind.ANSWERED, data)
        _order_report(speaker)
    return fact


def add_action(
    incident: str,
    person: Person,
    action: str,
    kind: Kind,
    owner: str,
    due: date,
    verification: str,
) -> Fact:
    """Another action item; the fact's `item` is its name."""
    data = _put(action, kind, owner, due, verification)
    with floor(incident, person, Act.REVIEW) as speaker:
        items = action_items(speaker.state.facts)
        last = speaker.last(FactKind.ACTION_SET)
        if last is not None and _is_repeated(
            last, {"item": last.data.get("item"), **data}, speaker
        ):
            return last
        fact = speaker.say(FactKind.ACTION_SET, {"item": next_name(items), **data})
        _order_report(speaker)
    return fact


def change_action(
    incident: str,
    person: Person,
    item: str,
    action: str,
    kind: Kind,
    owner: str,
    due: date,
    verification: str,
) -> Fact:
    """Put an item anew; one that was done or dropped is open again."""
    data = {"item": item, **_put(action, kind, owner, due, verification)}
    with floor(incident, person, Act.REVIEW) as speaker:
        _known(speaker, item)
        last = next(
            fact
            for fact in reversed(speaker.state.facts)
            if fact.kind in {FactKind.ACTION_SET, FactKind.ACTION_ENDED}
            and fact.data.get("item") == item
        )
        if _is_repeated(last, data, speaker):
            return last
        fact = speaker.say(FactKind.ACTION_SET, data)
        _order_report(speaker)
    return fact


def end_action(incident: str, person: Person, item: str, ending: Ended, text: str) -> Fact:
    """An item is done, and how that was verified; or dropped, and why. Once, until put anew."""
    words = said(text, "how it was verified, or why it is dropped")
    with floor(incident, person, Act.REVIEW) as speaker:
        known = _known(speaker, item)
        if known.state != OPEN:
            last = next(
                fact
                for fact in reversed(speaker.state.facts)
                if fact.kind is FactKind.ACTION_ENDED and fact.data.get("item") == item
            )
            if is_same_person(last.actor, person.name) and last.data.get("ending") == ending.value:
                return last
            raise NotApproved(
                f"expected {item} to be open, found it {known.state} by {known.ended_by}: put it "
                "anew to open it again"
            )
        data = {"item": item, "ending": ending.value, "text": words}
        fact = speaker.say(FactKind.ACTION_ENDED, data)
        _order_report(speaker)
    return fact


def sign_off(incident: str, person: Person, text: str) -> Fact:
    """A person's word that the review is complete; what is written after it undoes it."""
    words = said(text, "what you have looked at")
    with floor(incident, person, Act.SIGN_OFF) as speaker:
        _require_closed(speaker, "to sign off its report")
        facts = speaker.state.facts
        before = signed_off(facts)
        if before is not None and is_same_person(before.actor, person.name):
            return before
        if status(facts) is Status.DRAFT:
            raise NotApproved(f"expected every needed answer, found a {status_words(facts)}")
        fact = speaker.say(FactKind.SIGNED_OFF, {"text": words, "role": person.role.value})
        _order_report(speaker)
    return fact


def decide_compliance(
    incident: str, person: Person, matter: Matter, reason: str, *, yes: bool
) -> Fact:
    """Decide on a matter; a yes to the auditors tells them at once, of a closed incident too."""
    words = said(reason, "a reason for the decision")
    with floor(incident, person, Act.JUDGE_COMPLIANCE) as speaker:
        data = {
            "matter": matter.value,
            "answer": "yes" if yes else "no",
            "reason": words,
            "role": person.role.value,
        }
        before = decisions(speaker.state.facts).get(matter)
        if before is not None:
            last = next(fact for fact in speaker.state.facts if fact.seq == before.seq)
            if _is_repeated(last, data, speaker):
                return last
        fact = speaker.say(FactKind.COMPLIANCE_DECIDED, data)
        if matter is Matter.AUDITORS and yes:
            state = journal.read_in(speaker.connection, incident)
            speaker.escalate(auditors_step(decisions(state.facts)[matter]))
        _order_report(speaker)
    return fact


def _put(action: str, kind: Kind, owner: str, due: date, verification: str) -> dict[str, Any]:
    who = said(owner, "an owner of the action")
    if len(who) > OWNER_LIMIT:
        raise BadInput(f"expected an owner of at most {OWNER_LIMIT} characters, found {len(who)}")
    return {
        "action": said(action, "an action"),
        "kind": kind.value,
        "owner": who,
        "due": check_due(due, datetime.now(UTC).date()).isoformat(),
        "verification": said(verification, "how it will be verified"),
    }


def _known(speaker: Floor, item: str) -> ActionItem:
    items = {each.item: each for each in action_items(speaker.state.facts)}
    if item not in items:
        names = ", ".join(items) or "none"
        raise BadInput(
            f"expected an action item of {speaker.state.id}, {names}, found {item[:40]!a}"
        )
    return items[item]


def _require_closed(speaker: Floor, what: str) -> None:
    if speaker.state.closed_at is None:
        raise NotApproved(f"expected a closed incident {what}, found {speaker.state.id} open")


def _is_repeated(last: Fact, data: Mapping[str, Any], speaker: Floor) -> bool:
    return is_same_person(last.actor, speaker.person.name) and dict(last.data) == dict(data)


def _order_report(speaker: Floor) -> None:
    """Of a closed incident: an open one gets its report at its end.

    The order of these minutes begins when they are over, whenever within them it was made.
    """
    if speaker.state.closed_at is None:
        return
    minutes = int(speaker.now.timestamp()) // REPORT_AGAIN_SECONDS
    incidents.enqueue_in(
        speaker.connection,
        speaker.state.id,
        incidents.REPORT,
        f"report:{speaker.state.id}:{minutes}",
        priority=3,
        after_seconds=REPORT_AGAIN_SECONDS,
    )
