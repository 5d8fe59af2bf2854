"""How much personal data is concerned: numbers only, for the journal, people and regulators.

No name or pseudonym of a person is part of it. What could not be measured says why, and counts as
concerned: nobody may take "not looked at" for "not exposed".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from tasks.domain.circumstances import Circumstances, degree_of, identifier_of, in_words
from tasks.domain.enisa import Breach, Category, Identifier, Severity, assess
from tasks.domain.errors import BadInput
from tasks.domain.journaled import items, mapping, moment, utc, whole_number

_TEXT = 300


@dataclass(frozen=True, slots=True)
class Part:
    """One table, or the audit log. `rows` None: not measured, and `reason` says why.

    `at_least`: a bound of ours was reached, or lines could not be read. `named_by`: rows in which
    a person is recognisable by this, where that was looked at; of an unmeasured part, what may
    name somebody in it.
    """

    table: str
    categories: frozenset[Category]
    rows: int | None = None
    people: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    named_by: Mapping[Identifier, int] | None = None
    at_least: bool = False
    reason: str = ""

    @property
    def is_concerned(self) -> bool:
        """Whether personal data in it counts as exposed."""
        return self.rows is None or self.rows > 0

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "table": self.table,
            "categories": sorted(in_words(each) for each in self.categories),
            "rows": self.rows,
            "people": self.people,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "named_by": {
                each.value: count for each, count in sorted((self.named_by or {}).items())
            },
            "at_least": self.at_least,
            "reason": self.reason[:_TEXT],
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Raises BadInput."""
        found = mapping(data)
        return cls(
            table=str(found.get("table", ""))[:_TEXT],
            categories=frozenset(degree_of(Category, each) for each in items(found["categories"])),
            rows=whole_number(found.get("rows")),
            people=whole_number(found.get("people")),
            first=moment(found.get("first")),
            last=moment(found.get("last")),
            named_by={
                identifier_of(each): whole_number(count) or 0
                for each, count in mapping(found.get("named_by")).items()
            },
            at_least=found.get("at_least") is True,
            reason=str(found.get("reason", ""))[:_TEXT],
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """All parts. `since` None: everything, because nobody knows when the exposure began.

    `people`: distinct ones over all parts; None when no part could say. `fingerprint`: of the set
    of their pseudonyms, so that two measurements can be compared; empty without a key.
    """

    since: datetime | None
    measured_at: datetime
    parts: tuple[Part, ...]
    people: int | None
    fingerprint: str = ""

    @property
    def rows(self) -> int | None:
        """Of all parts that were measured; None when none was."""
        known = [part.rows for part in self.parts if part.rows is not None]
        return sum(known) if known else None

    @property
    def at_least(self) -> bool:
        """Whether the numbers are lower bounds."""
        return any(part.at_least or part.rows is None for part in self.parts)

    @property
    def categories(self) -> frozenset[Category]:
        """Of everything that counts as concerned."""
        return frozenset().union(*(part.categories for part in self.parts if part.is_concerned))

    @property
    def identifiers(self) -> frozenset[Identifier]:
        """By what people are, or in an unmeasured part may be, recognisable; at least by a code."""
        seen = {
            each
            for part in self.parts
            for each, count in (part.named_by or {}).items()
            if count or part.rows is None
        }
        return frozenset(seen or {Identifier.ALIAS})

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """`table: why`, for each part that could not be measured."""
        return tuple(f"{part.table}: {part.reason}" for part in self.parts if part.rows is None)

    def number(self, count: int | None) -> str:
        """`1,234`, `at least 1,234`, or UNKNOWN."""
        if count is None:
            return "UNKNOWN"
        return f"{'at least ' if self.at_least else ''}{count:,}"

    def words(self) -> str:
        """One sentence for people."""
        window = "of all time" if self.since is None else f"since {utc(self.since)}"
        kinds = ", ".join(sorted(in_words(each) for each in self.categories)) or "none"
        said = (
            f"{self.number(self.rows)} records {window} of {self.number(self.people)} people; "
            f"kinds of data: {kinds}"
        )
        missing = "; ".join(self.unmeasured)
        return f"{said}; not measured: {missing}" if missing else said

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "since": self.since.isoformat() if self.since else None,
            "measured_at": self.measured_at.isoformat(),
            "parts": [part.as_json() for part in self.parts],
            "rows": self.rows,
            "people": self.people,
            "at_least": self.at_least,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Raises BadInput for what is no scope."""
        found = mapping(data)
        measured_at = moment(found.get("measured_at"))
        if measured_at is None:
            raise BadInput("expected when the scope was measured, found nothing that says it")
        try:
            parts = tuple(Part.from_json(each) for each in items(found.get("parts")))
        except KeyError as error:
            raise BadInput(f"expected {error} of a part of the scope, found none") from error
        return cls(
            since=moment(found.get("since")),
            measured_at=measured_at,
            parts=parts,
            people=whole_number(found.get("people")),
            fingerprint=str(found.get("fingerprint", ""))[:64],
        )


def severity_of(scope: Scope, circumstances: Circumstances) -> Severity | None:
    """ENISA's severity; None when no personal data was found, which proves nothing."""
    if not scope.categories:
        return None
    return assess(
        Breach(
            categories=scope.categories,
            identifiers={each: circumstances.ease[each] for each in scope.identifiers},
            confidentiality=circumstances.confidentiality,
            integrity=circumstances.integrity,
            availability=circumstances.availability,
            malicious=circumstances.malicious,
            adjustment=circumstances.adjustment,
            reason=circumstances.reason,
            people=scope.people,
        )
    )
