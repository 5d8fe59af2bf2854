"""Whether published records still say of whom they are.

Values never leave this module: what it returns are counts and digests. What looks like an
identifier in any field, and every planted canary, is a leak by itself; k and l are of the groups
that share all quasi-identifiers (k-anonymity, Sweeney 2002; distinct l-diversity, Machanavajjhala
and others 2007).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.domain.privacy_spends import digest

_TEXT_LIMIT = 4000
_FIELDS_LIMIT = 200
_SHORTEST_CANARY = 6

# Bounded repetitions: the text is a stranger's.
_SHAPES: Mapping[str, re.Pattern[str]] = {
    "e-mail address": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),
    "telephone number": re.compile(
        r"(?<![\w.+-])\+[1-9]\d{0,2}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}(?!\w)"
    ),
    "network address": re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"),
    "social security number": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "bank account": re.compile(
        r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"
    ),
}

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Floors:
    """What published records must keep: `quasi` columns together name at least k people.

    `sensitive`: the column of which each group must hold at least l different values; `canaries`:
    planted strings that must never turn up; `direct`: columns that must not be there at all.
    """

    quasi: tuple[str, ...] = ()
    sensitive: str = ""
    k: int = 5
    l: int = 2  # noqa: E741  the name of the field
    canaries: tuple[str, ...] = field(default=(), repr=False)
    direct: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """Published records as they were read, of `total` that there are."""

    records: tuple[Record, ...]
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether every record was read: groups of a sample look smaller than they are."""
        return len(self.records) >= self.total


@dataclass(frozen=True, slots=True)
class Anonymity:
    """What a look at published records shows. No value of any record is in it.

    `canaries`, `identifiers`: how many records hold one, the latter by kind; `direct`: columns that
    must not be there. `k` and `l` are the least of any group, None where no columns are named;
    `small` and `uniform` count the groups below the floors. `whole`: all records were read.
    """

    looked: int
    total: int
    canaries: int
    identifiers: Mapping[str, int]
    direct: tuple[str, ...]
    k: int | None
    l: int | None  # noqa: E741  as above
    small: int
    uniform: int
    whole: bool
    sample: str

    @property
    def leaks(self) -> bool:
        """Whether a record says of whom it is."""
        return bool(self.canaries or self.identifiers or self.direct)

    def as_json(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "looked": self.looked,
            "of": self.total,
            "records_with_canaries": self.canaries,
            "records_with_identifiers": dict(self.identifiers),
            "direct_columns": list(self.direct),
            "k": self.k,
            "l": self.l,
            "groups_below_k": self.small,
            "groups_below_l": self.uniform,
            "sample": self.sample,
        }


def look_at(published: Published, floors: Floors) -> Anonymity:
    """Look through the records once."""
    canaries = [each for each in floors.canaries if len(each) >= _SHORTEST_CANARY]
    with_canary, kinds = 0, Counter[str]()
    columns: set[str] = set()
    for record in published.records:
        texts = _texts(record)
        columns.update(map(str, record))
        with_canary += any(canary in text for text in texts for canary in canaries)
        kinds.update(
            name
            for name, shape in _SHAPES.items()
            if any(shape.search(text[:_TEXT_LIMIT]) for text in texts)
        )
    sizes, values = _groups(published.records, floors)
    return Anonymity(
        looked=len(published.records),
        total=published.total,
        canaries=with_canary,
        identifiers=dict(kinds),
        direct=tuple(sorted(columns.intersection(floors.direct))),
        k=min(sizes.values(), default=None),
        l=min(map(len, values.values()), default=None) if floors.sensitive else None,
        small=sum(size < floors.k for size in sizes.values()),
        uniform=sum(len(each) < floors.l for each in values.values()) if floors.sensitive else 0,
        whole=published.is_whole,
        sample=digest(tuple(sorted(repr(sorted(_texts(each))) for each in published.records))),
    )


def _groups(
    records: Sequence[Record], floors: Floors
) -> tuple[Counter[tuple[str, ...]], dict[tuple[str, ...], set[str]]]:
    """Records by what their quasi-identifiers say together, and the sensitive values of each."""
    sizes: Counter[tuple[str, ...]] = Counter()
    values: dict[tuple[str, ...], set[str]] = {}
    for record in records if floors.quasi else ():
        group = tuple(repr(record.get(column)) for column in floors.quasi)
        sizes[group] += 1
        values.setdefault(group, set()).add(repr(record.get(floors.sensitive)))
    return sizes, values


def _texts(record: Record) -> list[str]:
    """Every text in the record, however deep, within bounds."""
    found: list[str] = []
    left: list[Any] = [record]
    while left and len(found) < _FIELDS_LIMIT:
        each = left.pop()
        if isinstance(each, Mapping):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, str):
            found.append(each)
        elif isinstance(each, Iterable):
            left += each
    return found
