"""Drafts of the notices that regimes ask for, in which every field says how it stands.

A draft is put before a person; nothing is sent by us. What was measured fills fields by their
names in regimes.toml; what nobody knows says so, because an empty field reads like "none".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tasks.domain.errors import BadInput
from tasks.domain.regimes import Clock, Running, Waiting

UNKNOWN = "UNKNOWN"

WITHOUT_DELAY = "without undue delay"
"""When a notice is due for which the law names no time."""


class Filled(StrEnum):
    """How a field of a notice stands."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Entry:
    """One mandatory field. `text`: the value, or why the field does not apply."""

    field: str
    filled: Filled
    text: str = ""

    def __str__(self) -> str:
        if self.filled is Filled.KNOWN:
            return self.text
        return UNKNOWN if self.filled is Filled.UNKNOWN else f"N/A: {self.text}"


@dataclass(frozen=True, slots=True)
class Draft:
    """One notice, as far as it can be filled now. `late`: it would be sent after its deadline."""

    clock: Clock
    entries: tuple[Entry, ...]
    due: datetime | None
    late: bool

    @property
    def unknown(self) -> tuple[str, ...]:
        """The fields that somebody must still find out."""
        return tuple(each.field for each in self.entries if each.filled is Filled.UNKNOWN)

    def lines(self) -> list[str]:
        """For people: the heading, whom it goes to and until when, then field by field."""
        until = f"due {self.due:%Y-%m-%d %H:%M} UTC" if self.due else WITHOUT_DELAY
        if self.due is None and self.clock.limits:
            until = "its clock does not run yet"
        head = [
            f"DRAFT, not sent: {self.clock.title}",
            f"To: {self.clock.recipient} ({self.clock.source}); {until}",
        ]
        if self.late:
            head.append("The deadline has passed.")
        return head + [f"{each.field}: {each}" for each in self.entries]


def draft(
    state: Running | Waiting,
    known: Mapping[str, str],
    not_applicable: Mapping[str, str],
    now: datetime,
) -> Draft:
    """The notice of a clock. `known`: field to value; `not_applicable`: field to the reason.

    Fields of other clocks may be among both. Raises BadInput when a field is said to be known and
    not applicable, or is not applicable without a reason: both hide something.
    """
    clock = state.clock
    both = sorted(known.keys() & not_applicable.keys() & set(clock.fields))
    if both:
        raise BadInput(
            f"expected {both[0]} of {clock.id} to be known or not applicable, found both"
        )
    due = state.due if isinstance(state, Running) else None
    late = due is not None and now > due
    names = (*clock.fields, clock.late) if late and clock.late else clock.fields
    entries = []
    for name in names:
        if name in not_applicable:
            reason = not_applicable[name].strip()
            if not reason:
                raise BadInput(f"expected a reason why {name} does not apply, found none")
            entries.append(Entry(name, Filled.NOT_APPLICABLE, reason))
        elif known.get(name, "").strip():
            entries.append(Entry(name, Filled.KNOWN, known[name].strip()))
        else:
            entries.append(Entry(name, Filled.UNKNOWN))
    return Draft(clock, tuple(entries), due, late)
