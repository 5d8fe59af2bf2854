"""What the investigation of a suspected breach has found: for the journal, and who is suspected.

The journal gets counts, times and addresses. Names of accounts stay in memory, to be compared with
the roles of the database: a list of those concerned would be the next exposure. Whoever was only
refused is no suspect: names and addresses of refused requests are an attacker's to choose, and to
cut off whom he names would be his work.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from tasks.domain.access_log import REFUSED, Actor, Investigation, Pattern, read_access
from tasks.domain.journaled import items, mapping, moment, whole_number
from tasks.domain.log_lines import MASK, LogLine

MOST_SUSPECTS = 50
"""Addresses, and names, that one isolation is about."""

MOST_BINS = 48
_SHOWN = 20
_NAME_LIMIT = 80
_WORDS = frozenset(
    {
        *("activity", "api", "audit", "auth", "budget", "check", "config", "exports", "head"),
        *("health", "integrity", "login", "merkle", "metrics", "privacy", "ready", "records"),
        *("releases", "reset", "sessions", "suspicious", "system", "users", "verify"),
    }
)
_VERSION = re.compile(r"v\d{1,3}")
_GRAVE = frozenset({Pattern.SUCCEEDED, Pattern.MARKED})

Networks = Iterable[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Suspects:
    """Addresses (canonical) and account names; names are never written anywhere."""

    addresses: tuple[str, ...] = ()
    names: frozenset[str] = field(default=frozenset(), repr=False)

    def joined(self, other: "Suspects") -> "Suspects":
        """Both, each once and no more than can be acted on."""
        addresses = dict.fromkeys((*self.addresses, *other.addresses))
        names = sorted(self.names | other.names)[:MOST_SUSPECTS]
        return Suspects(tuple(addresses)[:MOST_SUSPECTS], frozenset(names))


@dataclass(frozen=True, slots=True)
class Listed:
    """What the audit API lists. `denied` of `count`; `first` and `last` as far as they say it."""

    count: int
    denied: int
    first: datetime | None
    last: datetime | None
    addresses: tuple[str, ...]
    names: frozenset[str] = field(default=frozenset(), repr=False)

    def as_json(self) -> dict[str, Any]:
        """For the journal: nobody is named."""
        return {
            "count": self.count,
            "denied": self.denied,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "addresses": list(self.addresses[:_SHOWN]),
        }


def within(lines: Iterable[LogLine], since: datetime) -> list[LogLine]:
    """Lines of the window; one without a time of its own stays, since nobody knows."""
    return [line for line in lines if line.at is None or line.at >= since]


def public(found: Investigation) -> dict[str, Any]:
    """The investigation for the journal: suspects by address, paths without what may name people.

    An actor without an address is an account: it gets a number in the place of its name.
    """
    shown = []
    for number, actor in enumerate(found.suspects[:_SHOWN], start=1):
        paths = dict.fromkeys(map(masked, actor.as_json()["paths"]), 0)
        for path, count in actor.as_json()["paths"].items():
            paths[masked(path)] += count
        shown.append({**actor.as_json(), "actor": shown_as(actor, number), "paths": paths})
    return {
        "lines": found.lines,
        "requests": found.requests,
        "refused": found.refused,
        "suspects": len(found.suspects),
        "others": found.others,
        "actors": shown,
    }


def shown_as(actor: Actor, number: int) -> str:
    """Its address, or "account N" where only an account is known."""
    return address_in(actor.name) or f"account {number}"


def masked(path: str) -> str:
    """A path of which only the API's own words are left: names, ids and tokens stand there too."""
    parts = path.split("/")
    return "/".join(
        each if not each or each in _WORDS or _VERSION.fullmatch(each) else MASK for each in parts
    )


def suspects_in(found: Investigation, spared: Networks) -> Suspects:
    """Who was let in after having been refused, or was marked by the system; nobody else."""
    networks = tuple(spared)
    grave = [actor for actor in found.suspects if _GRAVE & set(actor.patterns)]
    addresses = (address_in(actor.name) for actor in grave)
    return Suspects(tuple(each for each in addresses if each and not _is_in(each, networks)))


def suspects_listed(found: Listed, spared: Networks) -> Suspects:
    """Those whom the system itself calls suspicious."""
    networks = tuple(spared)
    return Suspects(
        tuple(each for each in found.addresses if not _is_in(each, networks)), found.names
    )


def read_attempts(answer: Mapping[str, Any]) -> Listed:
    """`GET audit/records?event_type=access_attempt`: how many, and what of them was denied."""
    records = [mapping(each) for each in items(answer.get("records"))]
    told = [(record, _event(record)) for record in records]
    denied = [(record, data) for record, data in told if data.get("outcome") == "denied"]
    times = [at for record, _ in denied if (at := moment(record.get("timestamp")))]
    return Listed(
        count=len(records),
        denied=len(denied),
        first=min(times, default=None),
        last=max(times, default=None),
        addresses=_addresses(data.get("address") for _, data in denied),
    )


def read_users(answer: Mapping[str, Any]) -> Listed:
    """`GET users/activity/suspicious`: how many users, with how many denials, from where."""
    users = [mapping(each) for each in items(answer.get("users"))]
    times = [at for user in users for key in ("first", "last") if (at := moment(user.get(key)))]
    names = [user.get("user") for user in users[:MOST_SUSPECTS]]
    return Listed(
        count=len(users),
        denied=sum(whole_number(user.get("denied")) or 0 for user in users),
        first=min(times, default=None),
        last=max(times, default=None),
        addresses=_addresses(each for user in users for each in items(user.get("addresses"))),
        names=frozenset(each for each in names if isinstance(each, str) and 0 < len(each) < 64),  # noqa: PLR2004  PostgreSQL's names
    )


def refusals_over_time(lines: Iterable[LogLine]) -> list[tuple[datetime, int]]:
    """Refused requests in bins of equal length from the first to the last; () without times."""
    times = sorted(
        found.at
        for line in lines
        if (found := read_access(line)) is not None and found.status in REFUSED and found.at
    )
    if not times:
        return []
    span = max(times[-1] - times[0], timedelta(seconds=MOST_BINS))
    width = span / MOST_BINS
    counts = [0] * MOST_BINS
    for at in times:
        counts[min(int((at - times[0]) / width), MOST_BINS - 1)] += 1
    return [(times[0] + width * place, count) for place, count in enumerate(counts)]


def address_in(text: object) -> str:
    """The canonical address that the text is; empty for any other text."""
    try:
        found = ip_address(text) if isinstance(text, str) and len(text) <= _NAME_LIMIT else None
    except ValueError:
        return ""
    if found is None or found.is_unspecified or getattr(found, "scope_id", None):
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _is_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(ip_address(address) in network for network in networks)


def _addresses(found: Iterable[object]) -> tuple[str, ...]:
    there = dict.fromkeys(filter(None, map(address_in, found)))
    return tuple(there)[:MOST_SUSPECTS]


def _event(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event's own data, which some systems send as text."""
    data = record.get("event_data")
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError):
            return {}
    return mapping(data)
