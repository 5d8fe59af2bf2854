"""What the releases about each block of data have really cost, dearest first.

A block is whose data a release was about: the guarantee is given to them, so costs add up by block.
The expensive figures are computed only where the cheap ones leave a question open.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tasks.domain.privacy_accounting import (
    CLOSE_ENOUGH,
    INFINITE,
    Kind,
    Releases,
    Tight,
    advanced,
    basic,
    concentrated,
    deltas,
    renyi,
    tight,
)
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_readings import Block, Spending
from tasks.domain.privacy_spends import (
    Charge,
    Reconciled,
    Release,
    by_block,
    claimed_of,
    digest,
    once,
)

_Profile = frozenset[tuple[object, int]]


def blocks_of(
    releases: Sequence[Release],
    charges: Sequence[Charge],
    retired: frozenset[str],
    delta: Decimal,
    limits: PrivacyLimits,
) -> tuple[tuple[Block, ...], int]:
    """The blocks that are still in use, and how many of them were not settled.

    `retired`: digests of blocks that are used no more; `delta`: what the guarantee is given with.
    """
    counted = once(releases)
    composed, claimed = by_block(counted), claimed_of(counted)
    caps = _caps(counted, charges, limits.cap)
    known: dict[_Profile, tuple[Tight, Decimal]] = {}
    found, unsettled = [], 0
    cheap = [
        (_cheap(shown, of, claimed[name], caps.get(name, limits.cap), delta), of)
        for name, of in composed.items()
        if (shown := digest(name)) not in retired
    ]
    cheap.sort(key=lambda each: (-each[0].at_most, -each[0].claimed, each[0].name))
    for block, of in cheap:
        profile = frozenset(of.items())
        if any(mechanism.kind is Kind.NONE for mechanism in of):
            found.append(_settled(block, Tight(INFINITE, INFINITE), INFINITE))
        elif not _is_open(block):
            found.append(block)
        elif profile not in known and len(known) >= limits.blocks_settled:
            unsettled += 1
            found.append(block)
        else:
            if profile not in known:
                known[profile] = tight(of, delta), renyi(of, delta)
            found.append(_settled(block, *known[profile]))
    found.sort(key=lambda block: (-block.at_least, -block.claimed, block.name))
    return tuple(found), unsettled


@dataclass(frozen=True, slots=True)
class Retirement:
    """Which blocks nothing is released about any more, by their digests.

    `said`: by the engine, None when it did not answer; `ours`: the last record of the log when we
    had them retired, None when the journal could not be read.
    """

    said: frozenset[str] | None
    ours: Mapping[str, int] | None

    @property
    def blocks(self) -> frozenset[str]:
        """What is retired: the engine refuses it, so its word counts where it gives it."""
        return frozenset(self.ours or ()) if self.said is None else self.said


def spending_on(
    releases: Sequence[Release],
    charges: Sequence[Charge],
    reconciled: Reconciled,
    retirement: Retirement,
    delta: Decimal,
    limits: PrivacyLimits,
    unreadable: int = 0,
) -> Spending:
    """The whole of it: every block in use, and those that should not be any more."""
    blocks, unsettled = blocks_of(releases, charges, retirement.blocks, delta, limits)
    ours = retirement.ours
    late: Counter[str] = Counter()
    for each in once(releases) if ours else ():
        name = digest(each.block)
        if ours and each.seq > ours.get(name, each.seq):
            late[name] += 1
    named = {digest(name) for name in {each.block for each in releases}}
    return Spending(
        reconciled=reconciled,
        blocks=blocks,
        unreadable=unreadable,
        unsettled=unsettled,
        late=dict(late),
        unproven=0 if ours is None else len((retirement.blocks & named) - set(ours)),
        is_retirement_known=retirement.said is not None or ours is not None,
    )


def _cheap(name: str, of: Releases, claimed: Decimal, cap: Decimal, delta: Decimal) -> Block:
    return Block(
        name=name,
        releases=sum(of.values()),
        cap=cap,
        claimed=claimed,
        basic=basic(of),
        advanced=advanced(of, delta),
        concentrated=concentrated(of, delta),
        delta=delta,
        delta_claimed=deltas(of),
        stated=all(mechanism.is_stated for mechanism in of),
    )


def _settled(cheap: Block, found: Tight, by_renyi: Decimal) -> Block:
    return replace(cheap, tight=found, renyi=by_renyi)


def _is_open(cheap: Block) -> bool:
    """Whether only the tight figure can say if the cap is kept and the claim is large enough."""
    is_cheap_claim = cheap.stated and cheap.claimed < CLOSE_ENOUGH * cheap.at_most
    return cheap.at_most > cheap.cap or is_cheap_claim


def _caps(
    releases: Sequence[Release], charges: Sequence[Charge], cap: Decimal
) -> Mapping[str, Decimal]:
    """The least total that the ledger has for rows of a block; never more than the cap."""
    blocks = {each.key: each.block for each in releases}
    caps: dict[str, Decimal] = {}
    for charge in charges:
        block = blocks.get(charge.key)
        if block is not None and charge.total is not None:
            caps[block] = min(caps.get(block, cap), charge.total)
    return caps
