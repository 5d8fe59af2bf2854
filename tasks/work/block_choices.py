"""Which claims about the blocks of a log together give its signed root."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from math import prod

from tasks.domain.ledger import Checkpoint
from tasks.domain.ledger.blocks import root_of_blocks

MOST_CHOICES = 4096
"""So many are surely tried, all of them; of more only the likeliest."""

Claims = Mapping[Hashable, bytes]
"""Root over one block by the source that claims it."""


def chosen_roots(checkpoint: Checkpoint, claims: Sequence[Claims]) -> list[bytes] | None:
    """One root of each block that together give the signed one; None when none was found."""
    if not all(claims):
        return None
    sources = list(dict.fromkeys(source for each in claims for source in each))
    for roots in islice(_once(_likeliest(claims, sources)), MOST_CHOICES):
        if root_of_blocks(checkpoint.size, roots) == checkpoint.root:
            return list(roots)
    return None


def are_too_many(claims: Sequence[Claims]) -> bool:
    """Whether there are more choices than are surely tried."""
    return prod(len(set(each.values())) for each in claims) > MOST_CHOICES


def _once(choices: Iterator[tuple[bytes, ...]]) -> Iterator[tuple[bytes, ...]]:
    """Without those that came before."""
    seen: set[int] = set()
    for each in choices:
        mark = hash(each)
        if mark not in seen:
            seen.add(mark)
            yield each


def _likeliest(
    claims: Sequence[Claims], sources: Sequence[Hashable]
) -> Iterator[tuple[bytes, ...]]:
    """Every choice: first all blocks by one source, then all but one block, all but two, ..."""
    plain = {
        source: [each.get(source) or next(iter(each.values())) for each in claims]
        for source in sources
    }
    for others in range(len(claims) + 1):
        for roots in plain.values():
            yield from _with_others(claims, roots, others)


def _with_others(
    claims: Sequence[Claims], roots: Sequence[bytes], others: int
) -> Iterator[tuple[bytes, ...]]:
    rest = [set(each.values()) - {root} for each, root in zip(claims, roots, strict=True)]
    doubtful = [at for at, each in enumerate(rest) if each]
    for places in combinations(doubtful, others):
        for put in product(*(sorted(rest[at]) for at in places)):
            changed = list(roots)
            for at, root in zip(places, put, strict=True):
                changed[at] = root
            yield tuple(changed)
