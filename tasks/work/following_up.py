"""Which follow-up reviews are due, over all closed incidents, and the word to who holds them."""

from datetime import datetime, timedelta

from tasks.domain.contacts import Contact
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.review import due_follow_ups, follow_up_words
from tasks.work import journal, reaching, telling

_LOOK_BACK = timedelta(days=120)
"""Older ends are not looked at: their reviews were due long ago."""


def due(now: datetime) -> list[tuple[str, str]]:
    """(incident, review), the oldest end first. An incident that cannot be read is left out."""
    closed = journal.facts_of_kinds((FactKind.CLOSED,), since=now - _LOOK_BACK)
    found: list[tuple[str, str]] = []
    for incident in dict.fromkeys(fact.incident for fact in closed):
        try:
            state = journal.read(incident)
        except BadInput:  # an altered line: the list of incidents says so to people
            continue
        found += [(incident, each.name) for each in due_follow_ups(state, now)]
    return found


def ask(incident: str, review: str, now: datetime, *, last_try: bool) -> None:
    """Tell the engineering lead; recorded whether or not a way took it, then once more a day.

    Raises Transient unless this is the last try; then nothing is recorded yet.
    """
    state = journal.read(incident)
    if review not in {each.name for each in due_follow_ups(state, now)}:
        return
    words = follow_up_words(state, review, now)
    contact = Contact.ENGINEERING_LEAD
    who = reaching.whom(contact, now).who
    moment = f"follow-up.{review}"
    heard = telling.tell(incident, who, moment, words, last_try=last_try, contact=contact)
    said = f"{review}: {who} was asked" if heard else f"{review}: {who} could not be told"
    data = {"review": review, "summary": said, "heard": heard}
    key = f"follow-up:{review}" if heard else f"follow-up:{review}:unheard:{now.date()}"
    journal.append(incident, FactKind.FOLLOW_UP, data, key=key)
