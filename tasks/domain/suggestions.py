"""What the journal suggests to change in the runbook, its settings and the alert rules.

Each suggestion names the facts that it was derived from. People decide: nothing is changed by it.
What the facts suggest to do to the system is in `report_actions`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tasks.domain.alert import AlertStatus
from tasks.domain.approval import DENIED, EXPIRED
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import of_kind, text
from tasks.domain.metrics import duration
from tasks.domain.readings import Readings
from tasks.domain.severity import Severity
from tasks.domain.untrusted import visible

ALERT_RULE, RUNBOOK_LINE, SETTING = "alert rule", "runbook", "setting"

SLOW_ALERT_SECONDS = 300.0
"""An alert that comes later than this after its own start waits too long to fire."""

FLAPS = 3
"""An alert that fired so often within one incident."""

_BY_HAND = "closed by hand"
_MOST = 50


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A proposal. `of` is alert rule, runbook or setting; `facts` are places in the journal."""

    of: str
    proposal: str
    because: str
    facts: tuple[int, ...]


def suggestions(incident: Incident, readings: Readings) -> Iterator[Suggestion]:
    """All of them: alert rules first, then the runbook, then its settings."""
    if incident.opened_at is None:
        return
    for suggest in _ALL:
        yield from suggest(incident, readings)


def _seen_by_a_person(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    opened = of_kind(incident.facts, FactKind.OPENED)
    if incident.cause != "person" or not opened:
        return
    alerts = of_kind(incident.facts, FactKind.ALERT_RECEIVED)
    name = visible(incident.component, 120) or "the component"
    if alerts:
        late = duration((alerts[0].at - opened[0].at).total_seconds())
        because = f"a person declared it {late} before {text(alerts[0].data, 'name')} came"
        yield Suggestion(
            ALERT_RULE, f"Make an alert of {name} fire earlier", because, _places(opened, alerts)
        )
        return
    because = "a person declared it and no alert came"
    yield Suggestion(
        ALERT_RULE, f"Add an alert rule that sees this of {name}", because, _places(opened)
    )


def _slow_alert(incident: Incident, readings: Readings) -> Iterator[Suggestion]:
    waited = readings.figure("time_to_detect").value
    alerts = of_kind(incident.facts, FactKind.ALERT_RECEIVED)
    if waited is None or waited <= SLOW_ALERT_SECONDS or not alerts:
        return
    name = text(alerts[0].data, "name", limit=120)
    yield Suggestion(
        ALERT_RULE,
        f"Shorten what {name} waits before it is sent: `for`, group_wait, the path to us",
        f"it came {duration(waited)} after its own startsAt",
        _places(alerts),
    )


def _flapping(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    fired: dict[str, list[Fact]] = {}
    for fact in of_kind(incident.facts, FactKind.ALERT_RECEIVED):
        if fact.data.get("status") == AlertStatus.FIRING.value:
            fired.setdefault(text(fact.data, "fingerprint"), []).append(fact)
    resolved = Counter(
        text(fact.data, "fingerprint")
        for fact in of_kind(incident.facts, FactKind.ALERT_RECEIVED)
        if fact.data.get("status") == AlertStatus.RESOLVED.value
    )
    for fingerprint, facts in fired.items():
        if len(facts) >= FLAPS and resolved[fingerprint] >= FLAPS - 1:
            name = text(facts[0].data, "name", limit=120)
            yield Suggestion(
                ALERT_RULE,
                f"Give {name} hysteresis: `keep_firing_for`, or a longer window",
                f"it fired {len(facts)} times and resolved {resolved[fingerprint]} times",
                _places(facts),
            )


def _graded_by_a_person(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    stood: Severity | None = None
    for fact in of_kind(incident.facts, FactKind.SEVERITY_ASSIGNED):
        said = fact.data.get("severity")
        if said not in [*Severity]:
            continue
        graded = Severity(str(said))
        if fact.actor != RUNBOOK and stood is not None and graded != stood:
            way = "raised" if graded < stood else "lowered"
            yield Suggestion(
                ALERT_RULE,
                f"Look at the rule that said {stood}: should it say {graded}?",
                f"{visible(fact.actor, 120)} {way} it: {text(fact.data, 'reason', 'no reason')}",
                _places([fact]),
            )
        stood = graded


def _ended_by_hand(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    closed = of_kind(incident.facts, FactKind.CLOSED)
    if not closed or incident.outcome != _BY_HAND:
        return
    procedure = visible(incident.procedure, 120) or "the procedure"
    yield Suggestion(
        RUNBOOK_LINE,
        f"Write down in {procedure} what people did in the end",
        f"it was closed by hand: {text(closed[-1].data, 'summary', 'no words')}",
        _places(closed),
    )


def _no_cause_found(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    found = of_kind(incident.facts, FactKind.CAUSES_FOUND)
    if not found or any(fact.data.get("causes") for fact in found):
        return
    yield Suggestion(
        RUNBOOK_LINE,
        f"Add to the diagnosis of {text(found[-1].data, 'component')} what the cause showed in",
        "the diagnosis found no cause",
        _places(found),
    )


def _failed_step(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    failed: dict[str, list[Fact]] = {}
    for fact in of_kind(incident.facts, FactKind.STEP_FAILED):
        failed.setdefault(text(fact.data, "step"), []).append(fact)
    for step, facts in failed.items():
        yield Suggestion(
            RUNBOOK_LINE,
            f"Say at {step} what to look at before, so that it is not begun in vain",
            f"it failed {len(facts)} times, first: {text(facts[0].data, 'error')}",
            _places(facts),
        )


def _denied_plan(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    for fact in _decided(incident, DENIED):
        yield Suggestion(
            RUNBOOK_LINE,
            "Should the runbook propose something else here?",
            f"{visible(fact.actor, 120)} denied the plan: {text(fact.data, 'reason', 'no reason')}",
            _places([fact]),
        )


def _expired_plan(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    facts = list(_decided(incident, EXPIRED))
    if facts:
        yield Suggestion(
            SETTING,
            "Let a plan wait longer, or let more people approve it",
            f"{len(facts)} plans expired before anybody decided",
            _places(facts),
        )


def _missed_target(incident: Incident, readings: Readings) -> Iterator[Suggestion]:
    late = [row for row in readings.clocks if row.state == "MISSED"]
    for row in late:
        yield Suggestion(
            SETTING,
            f"Who hears of it when {visible(row.clock, 120)} begins? Look at roster and contacts",
            f"it was missed: due {row.due}, {row.stopped}",
            _places(of_kind(incident.facts, FactKind.OPENED)),
        )


def _broken_glass(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    facts = of_kind(incident.facts, FactKind.GLASS_BROKEN)
    if facts:
        yield Suggestion(
            SETTING,
            "Look at what the hold was for, and who may lift it",
            f"the glass was broken: {text(facts[-1].data, 'reason', 'no reason')}",
            _places(facts),
        )


def _unheard(incident: Incident, _: Readings) -> Iterator[Suggestion]:
    told = {(each.get("audience"), each.get("moment")) for each in incident.notified}
    unheard: dict[str, list[Fact]] = {}
    for fact in of_kind(incident.facts, FactKind.NOTIFY_FAILED):
        if (fact.data.get("audience"), fact.data.get("moment")) not in told:
            unheard.setdefault(text(fact.data, "audience", limit=120), []).append(fact)
    for audience, facts in unheard.items():
        yield Suggestion(
            SETTING,
            f"Give {audience} another way to be told",
            f"{len(facts)} messages did not arrive by any way",
            _places(facts),
        )


_Suggest = Callable[[Incident, Readings], Iterator[Suggestion]]
_ALL: tuple[_Suggest, ...] = (
    *(_seen_by_a_person, _slow_alert, _flapping, _graded_by_a_person),
    *(_ended_by_hand, _no_cause_found, _failed_step, _denied_plan),
    *(_expired_plan, _missed_target, _broken_glass, _unheard),
)


def _decided(incident: Incident, decision: str) -> Iterable[Fact]:
    facts = of_kind(incident.facts, FactKind.PLAN_DECIDED)
    return (fact for fact in facts if fact.data.get("decision") == decision)


def _places(*groups: Iterable[Fact]) -> tuple[int, ...]:
    return tuple(fact.seq for group in groups for fact in group)[:_MOST]
