"""What is wrong with the log, as ranges of positions: from journaled diagnoses to a table and map.

Input is journaled JSON (Verdict.as_json), so every key may be missing or of another type; what
cannot be read is left out of the counts and said so by `Damage.complete`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from tasks.domain.facts import Fact, FactKind
from tasks.domain.journaled import items, mapping, whole_number
from tasks.domain.ledger.verdicts import INFORMATIONAL, Code
from tasks.domain.untrusted import short_hash, visible

IN_WORDS = {
    Code.MODIFIED: "altered",
    Code.DELETED: "deleted",
    Code.INSERTED: "inserted",
    Code.REORDERED: "moved to another place",
    Code.TRUNCATED: "cut off at the end",
    Code.LOST: "lost",
    Code.SEQ_MISMATCH: "numbered wrongly",
    Code.UNSIGNED_TAIL: "not yet signed",
    Code.STRAY: "files that are not of the log",
}
"""Codes as a plain participle after a number of records; the others are named by their code."""


@dataclass(frozen=True, slots=True)
class DamageRow:
    """One finding. `first` is None when it is about a whole artefact, which `detail` names."""

    code: str
    source: str
    first: int | None
    count: int
    detail: str
    expected: str
    found: str
    informational: bool

    @property
    def last(self) -> int | None:
        """Last position of the range."""
        return None if self.first is None else self.first + self.count - 1

    @property
    def positions(self) -> str:
        """`12,345`, `23,456-23,459`, or "the whole artefact"."""
        if self.first is None or self.last is None:
            return "the whole artefact"
        return f"{self.first:,}" if self.count == 1 else f"{self.first:,}-{self.last:,}"


@dataclass(frozen=True, slots=True)
class Damage:
    """Findings of all diagnoses of an incident, once each, by position.

    `signed` is the size of the checkpoint that was verified against, `records` what was read;
    None when no diagnosis says. `complete` is False when the journal holds fewer findings than
    were found: then every count is a lower bound.
    """

    rows: tuple[DamageRow, ...]
    signed: int | None
    records: int | None
    origin: str
    root: str
    verdict: str
    reason: str
    complete: bool

    @property
    def against(self) -> tuple[DamageRow, ...]:
        """The findings that speak against the log."""
        return tuple(row for row in self.rows if not row.informational)

    @property
    def affected(self) -> int:
        """Distinct positions with at least one finding against them."""
        reached, total = -1, 0
        for first, last in sorted(
            (row.first, row.last)
            for row in self.against
            if row.first is not None and row.last is not None
        ):
            total += max(0, last - max(first, reached + 1) + 1)
            reached = max(reached, last)
        return total

    def by_code(self) -> dict[str, int]:
        """Records per code, for findings against the log, in order of first appearance."""
        counts: dict[str, int] = {}
        for row in self.against:
            counts[row.code] = counts.get(row.code, 0) + row.count
        return counts


def read_damage(facts: Iterable[Fact]) -> Damage:
    """The damage that the diagnoses among `facts` tell of."""
    told = [fact.data for fact in facts if fact.kind is FactKind.DIAGNOSED]
    deciding = next((data for data in told if data.get("verdict") == "tampered"), None)
    deciding = deciding or (told[-1] if told else {})
    rows: dict[tuple[str, str, int | None, int], DamageRow] = {}
    complete = True
    for data in told:
        listed = list(_findings(data))
        total = whole_number(data.get("findings_total"))
        complete = complete and (total is None or total <= len(listed))
        for row in listed:
            rows.setdefault((row.code, row.source, row.first, row.count), row)
    head = mapping(deciding.get("checkpoint"))
    return Damage(
        rows=tuple(sorted(rows.values(), key=_by_position)),
        signed=whole_number(head.get("size")),
        records=whole_number(deciding.get("records")),
        origin=visible(head.get("origin", ""), 120),
        root=visible(head.get("root", ""), 64),
        verdict=visible(deciding.get("verdict", ""), 40),
        reason=visible(deciding.get("reason", "")),
        complete=complete,
    )


def damage_digest(diagnosis: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of what one journaled diagnosis says is wrong.

    Two looks at the same damage have the same one, however much was written to the log between
    them; more damage has another.
    """
    rows = (astuple(row) for row in _findings(diagnosis) if not row.informational)
    said = [diagnosis.get(name) for name in ("verdict", "altered", "missing")]
    text = json.dumps([said, sorted(json.dumps(row) for row in rows)])
    return hashlib.sha256(text.encode()).hexdigest()


def _by_position(row: DamageRow) -> tuple[bool, int, str, str]:
    return (row.informational, -1 if row.first is None else row.first, row.code, row.source)


def _findings(data: Mapping[str, Any]) -> Iterator[DamageRow]:
    for finding in map(mapping, items(data.get("findings"))):
        count = whole_number(finding.get("count"))
        code = visible(finding.get("code", ""), 40)
        yield DamageRow(
            code=code,
            source=visible(finding.get("source", ""), 40),
            first=whole_number(finding.get("seq")),
            count=1 if count is None else count,
            detail=visible(finding.get("detail", "")),
            expected=short_hash(finding.get("expected", ""), 16),
            found=short_hash(finding.get("found", ""), 16),
            informational=code in INFORMATIONAL,
        )
