"""How long things took, read from the facts of one incident and nothing else.

Every figure says from which facts it was derived; what the facts do not say is UNKNOWN, never 0.
Definitions (TTD = detected - impact start, TTA = acknowledged - paged, TTR = recovered - impact
start): the Google SRE postmortem template; "recovered" here means the moment at which the proof
over the restored log, or the look after a remedy, held: not the moment at which a process came up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.acknowledging import acknowledges
from tasks.domain.facts import Fact, FactKind
from tasks.domain.journaled import UNKNOWN, moment, result_of, seconds_in
from tasks.domain.proofs import mending_proof

_PRECISE = 10  # seconds: below it, hundredths matter
_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_LONGEST = 366 * _DAY  # an alert that claims to be older than a year is taken as a wrong clock


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its derivation. `value` is None when the facts do not say it."""

    key: str
    label: str
    value: float | None
    unit: str
    derivation: str

    @property
    def display(self) -> str:
        """For people: `4 min 12 s`, `0.42 s`, `50,000`, or UNKNOWN."""
        if self.value is None:
            return UNKNOWN
        return duration(self.value) if self.unit == "s" else f"{self.value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds in words, two units at most."""
    size = abs(seconds)
    sign = "-" if seconds < 0 else ""
    if size < _PRECISE:
        return f"{sign}{size:.2f} s"
    if size < _MINUTE:
        return f"{sign}{size:.1f} s"
    whole = round(size)
    if whole < _HOUR:
        return f"{sign}{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{sign}{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{sign}{whole // _DAY} d {whole % _DAY // _HOUR} h"


def first(facts: Iterable[Fact], *kinds: FactKind) -> Fact | None:
    """The first fact of one of these kinds."""
    return next((fact for fact in facts if fact.kind in kinds), None)


def beginning(facts: Iterable[Fact]) -> datetime | None:
    """Zero of the report's clock: the first alert received, else the opening, else any fact."""
    known = list(facts)
    start = first(known, FactKind.ALERT_RECEIVED) or first(known, FactKind.OPENED)
    if start is None:
        return known[0].at if known else None
    return start.at


def claimed_start(facts: Iterable[Fact]) -> datetime | None:
    """When the first alert's sender says that it began; None when absurd or absent."""
    alert = first(facts, FactKind.ALERT_RECEIVED)
    begun = moment(alert.data.get("starts_at")) if alert else None
    if alert is None or begun is None:
        return None
    return begun if 0 <= (alert.at - begun).total_seconds() <= _LONGEST else None


def onset(facts: Iterable[Fact]) -> datetime | None:
    """When the trouble began, by what the facts say: the first alert, else our own clock."""
    known = list(facts)
    return claimed_start(known) or beginning(known)


def acknowledged(facts: Iterable[Fact]) -> Fact | None:
    """The first sign of a person: an acknowledging note, the lead taken, or a decision."""
    return next((fact for fact in facts if acknowledges(fact)), None)


def recovered(facts: Iterable[Fact]) -> Fact | None:
    """The last proof, when it holds: an earlier success does not outweigh a later failure.

    What only holds the trouble down (an isolation, a halt of releases) has recovered nothing.
    """
    proof = mending_proof(facts)
    return proof if proof is not None and proof.data.get("holds") is True else None


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def outage_seconds(facts: Iterable[Fact]) -> float | None:
    """Sum of the outages that steps report of themselves; None when no step reports one."""
    told = [
        seconds
        for fact in facts
        if fact.kind is FactKind.STEP_DONE
        for seconds in [seconds_in(result_of(fact).get("outage_seconds"))]
        if seconds is not None
    ]
    return sum(told) if told else None


def measure(facts: Iterable[Fact]) -> tuple[Figure, ...]:
    """All time figures of one incident, in the order in which a reader asks for them."""
    known = list(facts)
    alert_at = beginning(known)
    claimed = claimed_start(known)
    told = first(known, FactKind.NOTIFIED)
    answered = acknowledged(known)
    healed = recovered(known)
    if told is not None and answered is not None and told.at > answered.at:
        told = None  # a person was there before anybody was told

    def since_alert(fact: Fact | None) -> float | None:
        return _between(alert_at, fact.at if fact else None)

    return (
        Figure(
            "time_to_detect",
            "Time to detect (TTD)",
            _between(claimed, alert_at),
            "s",
            "alert received - the alert's own startsAt; when the damage itself began is not known",
        ),
        Figure(
            "time_to_acknowledge",
            "Time to acknowledge (TTA)",
            _between(told.at if told else alert_at, answered.at if answered else None),
            "s",
            f"first sign of a person - {'first notification' if told else 'alert received'}",
        ),
        Figure(
            "time_to_recover",
            "Time to recover (TTR)",
            _between(claimed or alert_at, healed.at if healed else None),
            "s",
            "proof holds - " + ("the alert's own startsAt" if claimed else "alert received"),
        ),
        Figure(
            "alert_to_first_check",
            "Alert to first check",
            since_alert(first(known, FactKind.CHECK_OBSERVED)),
            "s",
            "first check observed - alert received",
        ),
        Figure(
            "alert_to_diagnosis",
            "Alert to diagnosis",
            since_alert(first(known, FactKind.DIAGNOSED, FactKind.CAUSES_FOUND)),
            "s",
            "first diagnosis - alert received",
        ),
        Figure(
            "outage",
            "Outage by our change",
            outage_seconds(known),
            "s",
            "sum of outage_seconds that the steps reported",
        ),
        Figure(
            "total",
            "Alert to close",
            since_alert(first(known, FactKind.CLOSED)),
            "s",
            "incident closed - alert received",
        ),
    )


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the response, in seconds since the alert was received."""

    label: str
    start: float
    end: float
    outage: bool = False


def phases(facts: Iterable[Fact]) -> tuple[Phase, ...]:
    """What the response was busy with, in order; a phase that left no fact is not there.

    An outage is drawn where it must have ended at the latest: at the fact of its step.
    """
    known = list(facts)
    zero = beginning(known)
    if zero is None:
        return ()

    def at(fact: Fact) -> float:
        return (fact.at - zero).total_seconds()

    def last(*kinds: FactKind, before: float = float("inf")) -> float | None:
        found = [at(fact) for fact in known if fact.kind in kinds and at(fact) <= before]
        return found[-1] if found else None

    def begin(*kinds: FactKind) -> float | None:
        fact = first(known, *kinds)
        return at(fact) if fact else None

    steps = (FactKind.STEP_DONE, FactKind.STEP_FAILED)
    diagnosed = begin(FactKind.DIAGNOSED, FactKind.CAUSES_FOUND)
    triaged = last(FactKind.CHECK_OBSERVED, before=float("inf") if diagnosed is None else diagnosed)
    planned = last(FactKind.PLAN_PROPOSED)
    decided = last(FactKind.PLAN_DECIDED)
    waited = decided if decided is not None and decided >= (planned or 0.0) else at(known[-1])
    acted, proven = last(*steps), last(FactKind.VERIFIED)
    stretches = (
        ("Triage", 0.0, triaged),
        ("Diagnosis", triaged or 0.0, diagnosed),
        ("Preserving evidence", begin(FactKind.HOLD_SET), last(FactKind.EVIDENCE_SEALED)),
        ("Waiting for a person", planned, waited if planned is not None else None),
        ("Carrying out", begin(FactKind.STEP_STARTED, *steps), acted),
        ("Proving", acted, proven),
        ("Reporting and closing", proven, last(FactKind.CLOSED)),
    )
    made = [
        Phase(label, start, end)
        for label, start, end in stretches
        if start is not None and end is not None and end >= start
    ]
    for fact in known:
        lasted = seconds_in(result_of(fact).get("outage_seconds"))
        if fact.kind is FactKind.STEP_DONE and lasted is not None:
            made.append(Phase("Outage by our change", at(fact) - lasted, at(fact), outage=True))
    return tuple(sorted(made, key=lambda phase: (phase.start, phase.end)))
