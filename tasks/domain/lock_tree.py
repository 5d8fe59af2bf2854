"""Who blocks whom: from sessions and the pids that each waits for, to the roots of the trees.

A root blocks others and waits for nobody: ending it lets the whole tree go on. A prepared
transaction is a root without a session. Where sessions wait in a circle there is no root inside it:
PostgreSQL breaks a true deadlock itself, after `deadlock_timeout`. Time is that of one pass over
the edges: each waiter's roots are kept as one integer's bits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.database_readings import Session, seconds_since

PREPARED = 0
"""The pid by which PostgreSQL names a prepared transaction that blocks."""

_SETTLED = 1 << 62
"""Later than every pid in the order of the walk: nobody reaches back to it."""


@dataclass(frozen=True, slots=True)
class Root:
    """The top of a tree. `session` is None for a prepared transaction, or one that has gone.

    `blocks`: pids that wait for it, directly or through others, ascending; `direct`: those that
    wait for it themselves. `longest_wait`: seconds of the one that waits longest.
    """

    pid: int
    session: Session | None
    blocks: tuple[int, ...]
    direct: tuple[int, ...]
    longest_wait: float

    @property
    def is_prepared(self) -> bool:
        """Whether a prepared transaction holds the lock."""
        return self.pid == PREPARED


@dataclass(frozen=True, slots=True)
class LockTree:
    """All that wait for locks. Roots first by how many they block, then by pid."""

    roots: tuple[Root, ...]
    cycles: tuple[tuple[int, ...], ...]
    waiting: tuple[int, ...]

    def blocked_by_nobody_known(self) -> bool:
        """Whether sessions wait although no root can be named: only circles."""
        return bool(self.waiting) and not self.roots


def lock_tree(sessions: Iterable[Session], at: datetime) -> LockTree:
    """The trees of `sessions`; `at` is the moment of the look, by the server's clock."""
    by_pid = {each.pid: each for each in sessions}
    edges = {pid: frozenset(each.blocked_by) for pid, each in by_pid.items() if each.blocked_by}
    tops = sorted({blocker for blockers in edges.values() for blocker in blockers} - edges.keys())
    bit = {pid: 1 << place for place, pid in enumerate(tops)}
    walk = _Walk(edges, bit)
    waits = {pid: seconds_since(by_pid[pid].query_start, at) for pid in sorted(edges)}
    roots = []
    for pid in tops:
        mine = bit[pid]
        blocks = [waiter for waiter in waits if walk.reached[waiter] & mine]
        roots.append(_root(pid, by_pid.get(pid), blocks, edges, waits))
    return LockTree(
        roots=tuple(sorted(roots, key=lambda root: (-len(root.blocks), root.pid))),
        cycles=tuple(sorted(walk.cycles)),
        waiting=tuple(sorted(edges)),
    )


def _root(
    pid: int,
    session: Session | None,
    blocks: list[int],
    edges: Mapping[int, frozenset[int]],
    waits: Mapping[int, float],
) -> Root:
    direct = tuple(waiter for waiter in blocks if pid in edges[waiter])
    return Root(pid, session, tuple(blocks), direct, max(map(waits.__getitem__, blocks)))


class _Walk:
    """Tarjan's components, without recursion: they come out blockers first.

    So what a component waits for in the end is known when its turn comes. `reached` are the bits
    of the roots of each pid, `cycles` the components in which sessions wait for each other.
    """

    def __init__(self, edges: Mapping[int, frozenset[int]], bit: Mapping[int, int]) -> None:
        self.reached = dict.fromkeys(edges, 0) | dict(bit)
        self.cycles: list[tuple[int, ...]] = []
        self._edges = edges
        self._order = dict.fromkeys(bit, _SETTLED)  # a root is in no circle
        self._low: dict[int, int] = {}
        self._stack: list[int] = []
        for pid in edges:
            if pid not in self._order:
                self._walk_from(pid)

    def _walk_from(self, start: int) -> None:
        work = [(start, self._enter(start))]
        while work:
            pid, blockers = work[-1]
            deeper = self._next_unseen(pid, blockers)
            if deeper is not None:
                work.append((deeper, self._enter(deeper)))
                continue
            work.pop()
            if work:
                above = work[-1][0]
                self._low[above] = min(self._low[above], self._low[pid])
            if self._low[pid] == self._order[pid]:
                self._settle(pid)

    def _enter(self, pid: int) -> Iterator[int]:
        self._order[pid] = self._low[pid] = len(self._order)
        self._stack.append(pid)
        return iter(self._edges[pid])

    def _next_unseen(self, pid: int, blockers: Iterator[int]) -> int | None:
        order, low = self._order, self._low[pid]
        for blocker in blockers:
            at = order.get(blocker)
            if at is None:
                self._low[pid] = low
                return blocker
            if at < low:  # noqa: PLR1730  a call for each edge is a third of the time
                low = at
        self._low[pid] = low
        return None

    def _settle(self, last: int) -> None:
        """All members of the component that ends with `last` wait for the same roots."""
        members: list[int] = []
        while not members or members[-1] != last:
            members.append(self._stack.pop())
        bits = 0
        for member in members:
            self._order[member] = _SETTLED
            for known in map(self.reached.__getitem__, self._edges[member]):
                bits |= known
        self.reached.update(dict.fromkeys(members, bits))
        if len(members) > 1 or last in self._edges[last]:
            self.cycles.append(tuple(sorted(members)))
