"""Incidents as they are now, each read from the journal only when it has new facts."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.work import journal, journal_places

CANNOT_BE_READ = "cannot be read: verify the journal"
"""What is said in the place of an incident of which a line is no fact."""

VERIFY = "verify the journal: a line of it is altered, or of another version"

_BYTES_KEPT = 24 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In the place of an incident of which a fact cannot be read, and why."""

    id: str
    why: str

    @property
    def problem(self) -> str:
        """One sentence for the person who looks."""
        return f"{self.id} {CANNOT_BE_READ} ({self.why})"


@dataclass(frozen=True, slots=True)
class _Kept:
    state: Incident
    size: int


class KnownIncidents:
    """A bounded memory of folds, keyed by their newest fact; threads may share it.

    The bound is the bytes of the journal's lines, of all incidents together; their facts take
    about four times as much memory. What alone is larger than the bound is not kept.

    What it hands out belongs to all: nobody changes it.
    """

    def __init__(self, bytes_kept: int = _BYTES_KEPT) -> None:
        self._bytes_kept = bytes_kept
        self._bytes = 0
        self._known: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, incidents: Sequence[str]) -> list[Incident | Unreadable]:
        """Their states in this order; an id without facts is left out."""
        newest = journal_places.newest_of(incidents)
        return [self._one(name, newest[name]) for name in incidents if name in newest]

    def _one(self, name: str, newest: int) -> Incident | Unreadable:
        with self._lock:
            known = self._known.get(name)
            if known is not None and known.state.facts[-1].seq >= newest:
                self._known.move_to_end(name)
                return known.state
        try:
            state = journal.read(name) if known is None else journal.read_on(known.state)
        except BadInput as error:
            return Unreadable(name, str(error))
        size = journal_places.bytes_of(name)
        with self._lock:
            self._keep(_Kept(state, size))
        return state

    def _keep(self, read: _Kept) -> None:
        before = self._known.pop(read.state.id, None)
        self._bytes += read.size - (before.size if before else 0)
        self._known[read.state.id] = read
        while self._bytes > self._bytes_kept:
            _, dropped = self._known.popitem(last=False)
            self._bytes -= dropped.size


KNOWN = KnownIncidents()
"""Of this process: for the pages and for programs that read the list."""
