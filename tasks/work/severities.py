"""The runbook's own word on a severity; people have theirs in `statements`."""

from tasks.domain.facts import FactKind
from tasks.domain.reassessment import persons_word, worsened
from tasks.domain.severity import NOTHING_MORE, Assessment, Severity
from tasks.work import incidents, journal


def assign(incident: str, *assessed: Assessment | None) -> Severity:
    """Record the severity when it is worse than what stands, and return what stands then.

    Give each look's assessment by itself. Under the journal's lock: a person who speaks at the
    same moment is heard, before or after. The key names the person's word that it goes beyond,
    because the same severity may have been assigned before that word.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        found = worsened(state, assessed)
        if found is None:
            return state.severity or NOTHING_MORE.severity
        word = persons_word(state)
        after = "" if word is None else f":{word.seq}"
        data = {"severity": found.severity.value, "rule": found.rule, "reason": found.reason}
        key = f"severity:{found.severity.value}{after}"
        journal.append_in(connection, incident, FactKind.SEVERITY_ASSIGNED, data, key=key)
    return found.severity
