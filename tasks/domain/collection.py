"""What a collection of evidence consists of: its order, and what became of each of its parts.

Collected in the order of volatility (RFC 3227, adapted): what the next second may change comes
first. Nothing is left out in silence: a part was collected, or it was skipped for a reason.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Self

from tasks.domain.errors import BadInput

VERSION = "rlhf-audit-collection/v1"

COLLECTION, CUSTODY = "data/collection.json", "data/custody.jsonl"
"""Where the collection and the custody log lie in a bag."""

ITEMS, META = "data/items/", "meta.json"
"""The folder of the items; each has one of its own, with its description."""

_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,399}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"[a-z0-9][a-z0-9./-]{0,511}")


class Volatility(IntEnum):
    """How soon it is gone. A restart loses WRITABLE, a deletion too."""

    CONNECTIONS = 1
    MEMORY = 2
    WRITABLE = 3
    DISK = 4
    RECORDS = 5
    CONFIGURATION = 6
    BACKUPS = 7


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to be had. `id` names its folder in a bag; BadInput when it cannot."""

    id: str
    title: str
    volatility: Volatility

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None or ".." in self.id:
            raise BadInput(f"expected an id of small letters, digits, - and ., found {self.id!a}")


@dataclass(frozen=True, slots=True)
class Collected:
    """One sealed item: what it is, where it came from, and its bytes before and after encryption.

    `wanted`: the part of the plan that it belongs to. `path`: in the bag. `remarks`: what a reader
    must know, such as where it was cut off. Digests in hex, sizes in bytes, times in UTC.
    """

    id: str
    title: str
    wanted: str
    source: str
    tool: str
    version: str
    arguments: tuple[str, ...]
    begun: datetime
    ended: datetime
    plain_sha256: str
    plain_size: int
    path: str
    sha256: str
    size: int
    encrypted: bool
    remarks: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-able: `meta.json` of the item."""
        return asdict(self) | {
            "arguments": list(self.arguments),
            "begun": self.begun.isoformat(),
            "ended": self.ended.isoformat(),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """What `as_json` wrote. BadInput for anything else."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(value, Mapping) or set(value) != known:
            raise BadInput(f"expected the fields {', '.join(sorted(known))} of a collected item")
        numbers = {"plain_size", "size"}
        texts = known - numbers - {"arguments", "encrypted"}
        arguments = value["arguments"]
        if (
            not all(isinstance(value[name], str) for name in texts)
            or not all(type(value[name]) is int and value[name] >= 0 for name in numbers)
            or not isinstance(arguments, list)
            or not all(isinstance(each, str) for each in arguments)
            or not isinstance(value["encrypted"], bool)
        ):
            raise BadInput("expected texts, sizes and a truth of a collected item, found others")
        for name in ("plain_sha256", "sha256"):
            if _SHA256.fullmatch(value[name]) is None:
                raise BadInput(f"expected {name} as 64 hex digits, found {value[name][:80]!a}")
        if _ID.fullmatch(value["id"]) is None or _PATH.fullmatch(value["path"]) is None:
            raise BadInput(f"expected an id and a path of a bag, found {value['id'][:80]!a}")
        times = {name: _moment(value[name]) for name in ("begun", "ended")}
        return cls(**{**value, "arguments": tuple(arguments), **times})


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be had, and why."""

    id: str
    title: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Collection:
    """What was wanted, in the order of collection, and what became of it."""

    incident: str
    bag: str
    purpose: str
    begun: datetime
    ended: datetime
    recipients: tuple[str, ...]
    wanted: tuple[Part, ...]
    collected: tuple[Collected, ...]
    skipped: tuple[Skipped, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-able: `collection.json`, in which every wanted part has an end."""
        missing = unaccounted(self.wanted, self.collected, self.skipped)
        if missing:
            raise BadInput(f"expected an end of each wanted part, found none of {missing}")
        return {
            "version": VERSION,
            "incident": self.incident,
            "bag": self.bag,
            "purpose": self.purpose,
            "begun": self.begun.isoformat(),
            "ended": self.ended.isoformat(),
            "encrypted": bool(self.recipients),
            "recipients": list(self.recipients),
            "order": [asdict(part) | {"volatility": int(part.volatility)} for part in self.wanted],
            "collected": [each.as_json() for each in self.collected],
            "skipped": [each.as_json() for each in self.skipped],
        }


def meta_path(item: str) -> str:
    """Where an item's description lies in the bag."""
    return f"{ITEMS}{item}/{META}"


def meta_bytes(item: Collected) -> bytes:
    """Its description: the same item has the same bytes."""
    return json_bytes(item.as_json())


def json_bytes(value: object) -> bytes:
    """As all JSON of a bag is written."""
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"


def in_order(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The most volatile first; equally volatile ones as they were given."""
    return tuple(sorted(parts, key=lambda part: part.volatility))


def unaccounted(
    wanted: Iterable[Part], collected: Iterable[Collected], skipped: Iterable[Skipped]
) -> list[str]:
    """The ids of wanted parts of which nothing is known: neither had nor skipped."""
    known = {each.wanted for each in collected} | {each.id for each in skipped}
    return [part.id for part in wanted if part.id not in known]


def read_collection(value: object) -> tuple[tuple[Collected, ...], tuple[Skipped, ...]]:
    """What a `collection.json` says was collected and skipped. BadInput when it is none."""
    found = value if isinstance(value, Mapping) else {}
    if found.get("version") != VERSION:
        raise BadInput(f"expected {VERSION}, found {str(found.get('version'))[:40]!a}")
    collected = tuple(Collected.from_json(each) for each in _listed(found, "collected"))
    skipped = []
    for each in _listed(found, "skipped"):
        texts = each if isinstance(each, Mapping) else {}
        try:
            skipped.append(Skipped(str(texts["id"]), str(texts["title"]), str(texts["reason"])))
        except KeyError as error:
            raise BadInput(f"expected {error} of what was skipped, found nothing") from error
    return collected, tuple(skipped)


def _listed(value: Mapping[str, Any], name: str) -> Sequence[object]:
    found = value.get(name)
    if not isinstance(found, list):
        raise BadInput(f"expected a list of what was {name}, found {type(found).__name__}")
    return found


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"expected an ISO 8601 instant, found {text[:40]!a}") from error
    if at.tzinfo is None:
        raise BadInput(f"expected an instant with its offset, found {text[:40]!a}")
    return at
