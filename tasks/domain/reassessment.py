"""What may change a severity that a person has chosen: only what they could not know then.

Until somebody has spoken, the runbook's assessments raise the severity and never lower it. A
person's word stands in both directions: the same alerts and the same findings, looked at again by
another run, do not overrule it. What overrules it is an alert that began to fire afterwards, or a
finding that nobody had made before, such as records that are proven altered.
"""

from collections.abc import Iterable, Iterator

from tasks.domain.alert import AlertStatus
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.severity import NOTHING_MORE, Assessment, Severity, assess_alerts, worst


def persons_word(incident: Incident) -> Fact | None:
    """The newest severity that a person has assigned."""
    said = (
        fact
        for fact in reversed(incident.facts)
        if fact.kind is FactKind.SEVERITY_ASSIGNED and fact.actor != RUNBOOK
    )
    return next(said, None)


def worsened(incident: Incident, assessed: Iterable[Assessment | None]) -> Assessment | None:
    """What the incident's severity must become; None when what stands is bad enough.

    `assessed` is what each look justifies by itself. They are weighed one by one, so that an old
    alert, which a person has judged, does not hide what is new behind it.
    """
    word = persons_word(incident)
    if word is None:
        found = worst(*assessed)
    else:
        known = {NOTHING_MORE, *_known(incident, word)}
        fired = assess_alerts(fact.data for fact in incident.facts if _fired_after(word, fact))
        news = [each for each in assessed if each is not None and each not in known]
        if not news and fired is None:
            return None
        found = worst(*news, fired)  # that one is news even when it says what an older one said
    stands = incident.severity
    return found if stands is None or found.severity < stands else None


def _known(incident: Incident, word: Fact) -> Iterator[Assessment]:
    """What had been assessed, or could be read from the alerts, when the person spoke."""
    for fact in incident.facts:
        if fact.seq >= word.seq:
            return
        if fact.kind is FactKind.ALERT_RECEIVED:
            of_alert = assess_alerts([fact.data])
            if of_alert is not None:
                yield of_alert
        elif fact.kind is FactKind.SEVERITY_ASSIGNED and fact.data.get("severity") in set(Severity):
            yield Assessment(
                Severity(fact.data["severity"]),
                str(fact.data.get("rule", "")),
                str(fact.data.get("reason", "")),
            )


def _fired_after(word: Fact, fact: Fact) -> bool:
    return (
        fact.seq > word.seq
        and fact.kind is FactKind.ALERT_RECEIVED
        and fact.data.get("status") != AlertStatus.RESOLVED.value
    )
