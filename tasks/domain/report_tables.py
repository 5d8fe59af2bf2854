"""What was seen and told: severities, alerts, checks, evidence, messages and clocks as rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.facts import Fact, FactKind
from tasks.domain.journaled import (
    UNKNOWN,
    instant,
    items,
    mapping,
    moment,
    of_kind,
    seconds_in,
    text,
    utc,
    whole_number,
)
from tasks.domain.untrusted import visible

_NAME = 120  # of an alert: it stands in headings and sentences
_SENTENCE = 240


@dataclass(frozen=True, slots=True)
class SeverityRow:
    """One assignment of a severity, with the rule that fired."""

    at: str
    severity: str
    rule: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert as it was received; every field is the sender's word."""

    received: str
    name: str
    status: str
    category: str
    severity: str
    starts_at: str
    summary: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One observation of a check; the newest per step and component, `looks` of them in all."""

    at: str
    step: str
    component: str
    health: str
    summary: str
    seconds: float | None
    looks: int


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One sealed item."""

    name: str
    key: str
    bucket: str
    sha256: str
    size: int | None
    locked_until: str


@dataclass(frozen=True, slots=True)
class MessageRow:
    """Somebody was told, or could not be; an escalation has kind "escalated"."""

    at: str
    kind: str
    audience: str
    channel: str
    summary: str


@dataclass(frozen=True, slots=True)
class ClockRow:
    """A clock with its end. `used` is the share of its time that was used, for the plot."""

    clock: str
    started: str
    due: str
    recipient: str
    reason: str
    stopped: str
    state: str
    used: float | None


def severities(facts: Iterable[Fact]) -> tuple[SeverityRow, ...]:
    """The severity's history."""
    return tuple(
        SeverityRow(
            utc(fact.at),
            text(fact.data, "severity"),
            text(fact.data, "rule"),
            text(fact.data, "reason"),
            visible(fact.actor, 120),
        )
        for fact in of_kind(facts, FactKind.SEVERITY_ASSIGNED)
    )


def alerts(facts: Iterable[Fact]) -> tuple[AlertRow, ...]:
    """All alerts that belong to the incident."""
    rows = []
    for fact in of_kind(facts, FactKind.ALERT_RECEIVED):
        labels, annotations = (mapping(fact.data.get(key)) for key in ("labels", "annotations"))
        said = text(annotations, "description", "none given", _SENTENCE)
        rows.append(
            AlertRow(
                received=utc(fact.at),
                name=text(fact.data, "name", text(labels, "alertname", limit=_NAME), _NAME),
                status=text(fact.data, "status"),
                category=text(labels, "category"),
                severity=text(labels, "severity"),
                starts_at=instant(fact.data.get("starts_at")),
                summary=text(annotations, "summary", said, _SENTENCE),
            )
        )
    return tuple(rows)


def checks(facts: Iterable[Fact]) -> tuple[CheckRow, ...]:
    """The newest look of every check, in order of the first look."""
    newest: dict[tuple[str, str], tuple[Fact, int]] = {}
    for fact in of_kind(facts, FactKind.CHECK_OBSERVED):
        name = (text(fact.data, "step"), text(fact.data, "component"))
        newest[name] = (fact, newest.get(name, (fact, 0))[1] + 1)
    return tuple(
        CheckRow(
            at=utc(fact.at),
            step=step,
            component=component,
            health=text(fact.data, "health"),
            summary=text(fact.data, "summary"),
            seconds=seconds_in(fact.data.get("seconds")),
            looks=looks,
        )
        for (step, component), (fact, looks) in newest.items()
    )


def evidence(facts: Iterable[Fact]) -> tuple[EvidenceRow, ...]:
    """Every sealed item, with its digest and the end of its lock."""
    return tuple(
        EvidenceRow(
            name=text(mapping(item), "name"),
            key=text(mapping(item), "key"),
            bucket=text(fact.data, "bucket"),
            sha256=text(mapping(item), "sha256"),
            size=whole_number(mapping(item).get("size")),
            locked_until=instant(mapping(item).get("locked_until")),
        )
        for fact in of_kind(facts, FactKind.EVIDENCE_SEALED)
        for item in items(fact.data.get("items"))
    )


def messages(facts: Iterable[Fact]) -> tuple[MessageRow, ...]:
    """Who was told what, what did not arrive, and to whom it was escalated."""
    kinds = (FactKind.NOTIFIED, FactKind.NOTIFY_FAILED, FactKind.ESCALATED)
    rows = []
    for fact in of_kind(facts, *kinds):
        said = text(fact.data, "summary", text(fact.data, "error", text(fact.data, "reason", "")))
        step = text(fact.data, "step", "")
        rows.append(
            MessageRow(
                at=utc(fact.at),
                kind=fact.kind.value,
                audience=text(fact.data, "audience", text(fact.data, "to")),
                channel=text(fact.data, "channel", step or UNKNOWN),
                summary=said,
            )
        )
    return tuple(rows)


def clocks(facts: Iterable[Fact], now: datetime) -> tuple[ClockRow, ...]:
    """Every clock: kept, MISSED, running, or UNKNOWN when its due time cannot be read."""
    started: dict[str, Fact] = {}
    stopped: dict[str, Fact] = {}
    for fact in of_kind(facts, FactKind.CLOCK_STARTED, FactKind.CLOCK_STOPPED):
        name = text(fact.data, "clock")
        if fact.kind is FactKind.CLOCK_STARTED:
            started[name] = fact  # set anew by a person, the newest counts
        else:
            stopped.setdefault(name, fact)
    return tuple(_clock(name, fact, stopped.get(name), now) for name, fact in started.items())


def _clock(name: str, begun: Fact, ended: Fact | None, now: datetime) -> ClockRow:
    due = moment(begun.data.get("due"))
    until = ended.at if ended else now
    used = state = None
    began = moment(begun.data.get("began")) or begun.at
    if due is not None and due > began:
        used = max(0.0, (until - began) / (due - began))  # a machine's clock may be set back
        in_time = until <= due
        state = ("kept" if ended else "running") if in_time else "MISSED"
    return ClockRow(
        clock=name,
        started=utc(began),
        due=UNKNOWN if due is None else utc(due),
        recipient=text(begun.data, "recipient"),
        reason=text(begun.data, "reason"),
        stopped=utc(ended.at) if ended else "not stopped",
        state=state or UNKNOWN,
        used=used,
    )
