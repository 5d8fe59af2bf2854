"""What a breach of personal data looks like on its incident's page: numbers, decision, drafts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.breach_decision import (
    Risk,
    decision_of,
    recommended,
    scope_of,
    standing_severity,
)
from tasks.domain.circumstances import Circumstances, in_words
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import items, mapping, text, utc
from tasks.domain.notices import UNKNOWN, WITHOUT_DELAY, Filled
from tasks.domain.privacy_scope import Scope
from tasks.domain.untrusted import visible

_ENTRIES = 40
_TEXT = 600


@dataclass(frozen=True, slots=True)
class PartView:
    """One table of the scope."""

    table: str
    rows: str
    people: str
    kinds: str
    window: str
    note: str


@dataclass(frozen=True, slots=True)
class NoticeView:
    """One draft: (field, how it stands) in the order of the law."""

    title: str
    recipient: str
    source: str
    due: str
    late: bool
    unknown: int
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BreachView:
    """What the template shows. Texts have passed `visible`."""

    scope: str
    parts: tuple[PartView, ...]
    severity: str
    advice: str
    recommended: str
    assumed: tuple[tuple[str, str], ...]
    is_confirmed: bool
    decided: str
    decided_by: str
    decided_at: str
    notices: tuple[NoticeView, ...]
    risks: tuple[str, ...]


def breach_view(incident: Incident) -> BreachView | None:
    """None for an incident of which no scope was measured and nothing decided."""
    measured, decided = scope_of(incident), decision_of(incident)
    if measured is None and decided is None:
        return None
    severity = standing_severity(incident)
    confirmed = decided.circumstances if decided else None
    circumstances = confirmed or (measured[1] if measured else None)
    return BreachView(
        scope=visible(measured[0].words(), 1000) if measured else UNKNOWN,
        parts=_parts(measured[0]) if measured else (),
        severity=f"{severity.score:g} {severity.band}" if severity else UNKNOWN,
        advice=severity.advice if severity else "",
        recommended=recommended(severity).value,
        assumed=_circumstances(circumstances) if circumstances else (),
        is_confirmed=confirmed is not None,
        decided=visible(f"{decided.risk}: {decided.reason}", 2100) if decided else "",
        decided_by=visible(decided.by, 120) if decided else "",
        decided_at=utc(decided.at) if decided else "",
        notices=_notices(incident.facts),
        risks=tuple(Risk),
    )


def _parts(scope: Scope) -> tuple[PartView, ...]:
    return tuple(
        PartView(
            table=visible(part.table, 130),
            rows=UNKNOWN if part.rows is None else f"{part.rows:,}",
            people=UNKNOWN if part.people is None else f"{part.people:,}",
            kinds=", ".join(sorted(in_words(each) for each in part.categories)),
            window=f"{utc(part.first)} to {utc(part.last)}" if part.first and part.last else "",
            note=visible(part.reason, 300),
        )
        for part in scope.parts
    )


def _circumstances(found: Circumstances) -> tuple[tuple[str, str], ...]:
    ease = ", ".join(f"{each} {in_words(degree)}" for each, degree in sorted(found.ease.items()))
    rows = [
        ("who may have it", in_words(found.confidentiality)),
        ("what was altered", in_words(found.integrity)),
        ("what cannot be had", in_words(found.availability)),
        ("malicious", "yes" if found.malicious else "no"),
        ("how easily it names a person", ease),
    ]
    if found.adjustment:
        rows.append(("adjustment", f"{found.adjustment:+d}: {visible(found.reason, 500)}"))
    return tuple(rows)


def _notices(facts: Sequence[Fact]) -> tuple[NoticeView, ...]:
    """The newest draft of each clock, in the order in which they were first drafted."""
    newest: dict[str, Mapping[str, Any]] = {}
    for fact in facts:
        if fact.kind is FactKind.NOTICE_DRAFTED:
            newest[text(fact.data, "clock")] = fact.data
    return tuple(_notice(data) for data in newest.values())


def _notice(data: Mapping[str, Any]) -> NoticeView:
    entries = [mapping(each) for each in items(data.get("entries"))[:_ENTRIES]]
    return NoticeView(
        title=text(data, "title"),
        recipient=text(data, "recipient"),
        source=text(data, "source"),
        due=text(data, "due", WITHOUT_DELAY),
        late=data.get("late") is True,
        unknown=sum(each.get("filled") == Filled.UNKNOWN.value for each in entries),
        entries=tuple((text(each, "field"), _stands(each)) for each in entries),
    )


def _stands(entry: Mapping[str, Any]) -> str:
    match entry.get("filled"):
        case Filled.KNOWN.value:
            return text(entry, "text", UNKNOWN, _TEXT)
        case Filled.NOT_APPLICABLE.value:
            return f"N/A: {text(entry, 'text', UNKNOWN, _TEXT)}"
        case _:
            return UNKNOWN
