r"""Who was refused, and who acts suspiciously, from the lines of access logs.

Runbook: Suspected Breach / Investigation Steps, `kubectl logs ... | grep -E
"(401|403|suspicious_activity)"`. A number that stands anywhere in a line is no status, so lines are
read for what they are: uvicorn's and the combined format, and JSON lines. Lines are a stranger's:
each is cut, every pattern is linear, and only so many actors are kept apart.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from tasks.domain.alertmanager import clean
from tasks.domain.log_lines import LogLine, bounded, moment, time_in

MARKER = "suspicious_activity"
REFUSED = frozenset({401, 403})

MOST_ACTORS = 1000
"""Actors that are kept apart; what others did is counted together."""

MOST_NAMES = 1000
"""Different account names that are remembered of one actor."""

GUESSES = 10
"""Refused logins of one actor within GUESS_WINDOW from which it is guessing."""

GUESS_WINDOW = timedelta(minutes=5)

_PATHS_SHOWN = 5
_NAME_LIMIT = 80
_PATH_LIMIT = 120
_OK_BEGINS, _OK_ENDS = 200, 300

_REQUEST = re.compile(
    r"(?P<address>[0-9A-Fa-f.:\[\]]{2,64}+) - (?:(?P<user>[^\s\"\[]{1,100}) )?"
    r"(?:\[(?P<time>[^\]\"]{1,40})\] )?"
    r"\"(?P<method>[A-Z]{3,10}) (?P<path>[^\s\"]{1,2000})[^\"]{0,20}\" (?P<status>[1-5]\d\d)\b"
)
_ADDRESS_KEYS = ("client", "client_ip", "remote_addr", "ip", "address")
_EVENT_KEYS = ("event", "event_type", "type", "message", "msg")
_OPEN_TO_ALL = re.compile(
    r"[A-Z]* ?\S*/(?:health|metrics|static)(?:/|$)|(?!POST)[A-Z]* ?\S*/login(?:/|$)"
)
"""Method and path: whoever is answered there was let in to nothing."""

_LAST = datetime.max.replace(tzinfo=UTC)
_USER_KEYS = ("user", "username", "account", "user_id", "subject")


class Pattern(StrEnum):
    """What an actor's requests look like; a person judges what they are."""

    STUFFING = "many accounts tried"
    GUESSING = "one account tried again and again"
    SUCCEEDED = "let in after having been refused"
    MARKED = "marked as suspicious by the system"


@dataclass(frozen=True, slots=True)
class Access:
    """One request, or one line with the system's own marker (then `status` may be 0)."""

    at: datetime | None
    actor: str
    account: str
    method: str
    path: str
    status: int
    marked: bool


@dataclass(slots=True)
class Actor:
    """What one address, or one account where no address is written, did."""

    name: str
    requests: int = 0
    refused: int = 0
    marked: int = 0
    first: datetime | None = None
    last: datetime | None = None
    let_in_after: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    accounts: set[str] = field(default_factory=set)
    most_in_window: int = 0
    _window: list[datetime] = field(default_factory=list)

    def add(self, access: Access) -> None:
        """Count one request; requests come in the order of their lines."""
        self.requests += 1
        if access.at is not None:
            self.first = min(self.first or access.at, access.at)
            self.last = max(self.last or access.at, access.at)
        if access.status:
            self.statuses[access.status] += 1
        if len(self.accounts) < MOST_NAMES and access.account:
            self.accounts.add(access.account)
        if access.marked:
            self.marked += 1
        if access.status in REFUSED:
            self.refused += 1
            self._count_path(access.path)
            self._slide(access.at)
        elif _OK_BEGINS <= access.status < _OK_ENDS and self._is_let_in(access):
            self.let_in_after += 1

    def _is_let_in(self, access: Access) -> bool:
        """Whether it comes soon after the refusals, and not from where everybody is answered."""
        if self.most_in_window < GUESSES or _OPEN_TO_ALL.match(f"{access.method} {access.path}"):
            return False
        last = self._window[-1] if self._window else None
        return access.at is None or last is None or access.at - last <= GUESS_WINDOW

    def _count_path(self, path: str) -> None:
        if path in self.paths or len(self.paths) < MOST_NAMES:
            self.paths[path] += 1

    def _slide(self, at: datetime | None) -> None:
        """Refusals within the window; those without a time are taken to be of one moment."""
        if at is None:
            self.most_in_window = max(self.most_in_window, self.refused)
            return
        self._window = [seen for seen in self._window if at - seen <= GUESS_WINDOW][-GUESSES:]
        self._window.append(at)
        self.most_in_window = max(self.most_in_window, len(self._window))

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """What it looks like, the gravest first."""
        found = []
        if self.let_in_after:
            found.append(Pattern.SUCCEEDED)
        if self.most_in_window >= GUESSES:
            many = len(self.accounts) >= GUESSES
            found.append(Pattern.STUFFING if many else Pattern.GUESSING)
        if self.marked:
            found.append(Pattern.MARKED)
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """For the journal: numbers, times and paths; no account is named, they are counted."""
        return {
            "actor": self.name,
            "requests": self.requests,
            "refused": self.refused,
            "marked": self.marked,
            "let_in_after": self.let_in_after,
            "accounts": len(self.accounts),
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "statuses": {str(status): count for status, count in self.statuses.most_common()},
            "paths": dict(self.paths.most_common(_PATHS_SHOWN)),
            "patterns": [pattern.value for pattern in self.patterns],
        }


@dataclass(frozen=True, slots=True)
class Investigation:
    """What the lines say. `others`: requests of actors beyond those that are kept apart."""

    lines: int
    requests: int
    actors: tuple[Actor, ...]
    others: int

    @property
    def suspects(self) -> tuple[Actor, ...]:
        """Actors with a pattern, the gravest first."""
        found = [actor for actor in self.actors if actor.patterns]
        order = {pattern: place for place, pattern in enumerate(_GRAVEST_FIRST)}
        return tuple(
            sorted(found, key=lambda each: (order[each.patterns[0]], -each.refused, each.name))
        )

    @property
    def refused(self) -> int:
        """Requests that were refused."""
        return sum(actor.refused for actor in self.actors)


_GRAVEST_FIRST = (Pattern.SUCCEEDED, Pattern.STUFFING, Pattern.GUESSING, Pattern.MARKED)


def investigate(lines: Iterable[LogLine]) -> Investigation:
    """Read the lines in the order of their times, in memory that does not grow with actors.

    They come from several places, each in an order of its own; one without a time comes last.
    """
    actors: dict[str, Actor] = {}
    count = requests = others = 0
    for line in sorted(lines, key=_when):
        count += 1
        access = read_access(line)
        if access is None:
            continue
        requests += 1
        actor = actors.get(access.actor)
        if actor is None:
            if len(actors) >= MOST_ACTORS:
                others += 1
                continue
            actor = actors[access.actor] = Actor(access.actor)
        actor.add(access)
    return Investigation(count, requests, tuple(actors.values()), others)


def _when(line: LogLine) -> datetime:
    return line.at or time_in(bounded(line.text)) or _LAST


def read_access(line: LogLine) -> Access | None:
    """A request or a marked line; None for every other line."""
    text = bounded(line.text)
    if text[:1] == "{":
        found = _of_json(line, text)
        if found is not None:
            return found
    request = _REQUEST.search(text)
    if request is None:
        if MARKER not in text:
            return None
        return Access(line.at or time_in(text), "unnamed", "", "", "", 0, marked=True)
    return Access(
        at=line.at or time_in(text) or moment(request["time"] or ""),
        actor=_address(request["address"]),
        account=_account(request["user"]),
        method=request["method"],
        path=_path(request["path"]),
        status=int(request["status"]),
        marked=False,  # what stands in a request is whoever's words who has made it
    )


def _of_json(line: LogLine, text: str) -> Access | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    marked = any(MARKER in said for name in _EVENT_KEYS if (said := _text(value, (name,))))
    status = _status(value)
    if not status and not marked:
        return None
    account = _account(_text(value, _USER_KEYS))
    address = _text(value, _ADDRESS_KEYS)
    written = _text(value, ("timestamp", "time", "ts", "at"))
    return Access(
        at=line.at or moment(written[:40]),
        actor=clean(address.rpartition("@")[2], _NAME_LIMIT) or account or "unnamed",
        account=account,
        method=clean(_text(value, ("method",)), 10),
        path=_path(_text(value, ("path", "url", "route"))),
        status=status,
        marked=marked,
    )


def _address(written: str) -> str:
    """Without the port that some servers write behind it; what is no address stays as it is."""
    host, _, port = written.rpartition(":")
    for text in (written, host.strip("[]") if port.isdigit() else written):
        try:
            return str(ip_address(text.strip("[]")))
        except ValueError:
            continue
    return clean(written, _NAME_LIMIT)


def _text(value: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((said for name in names if isinstance(said := value.get(name), str)), "")


def _status(value: Mapping[str, Any]) -> int:
    """The HTTP status of a JSON line; 0 when it has none."""
    status = value.get("status", value.get("status_code"))
    is_one = type(status) is int and 100 <= status < 600  # noqa: PLR2004  HTTP's statuses
    return int(status) if is_one else 0


def _account(name: str | None) -> str:
    return "" if name in {None, "-", ""} else clean(str(name), _NAME_LIMIT)


def _path(path: str) -> str:
    """Without the query: it is where tokens and personal data stand."""
    return clean(path.partition("?")[0], _PATH_LIMIT)
