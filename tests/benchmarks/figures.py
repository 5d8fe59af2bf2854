"""What a benchmark claims: a row a claim, printed, judged, kept for the table of `make bench`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Sense(StrEnum):
    """What the limit is of."""

    RATIO = "ratio"  # ours as a share of the peer's, at most
    MOST = "most"
    LEAST = "least"


@dataclass(frozen=True, slots=True)
class Row:
    """Ours, in `unit`, and perhaps what a peer took for the same work in the same minute."""

    work: str
    ours: float
    limit: float
    sense: Sense = Sense.MOST
    unit: str = "s"
    peer: str = ""
    theirs: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Ours as a share of the peer's; None without a peer."""
        return self.ours / self.theirs if self.theirs else None

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        if self.sense is Sense.LEAST:
            return self.ours >= self.limit
        judged = self.ratio if self.sense is Sense.RATIO else self.ours
        return judged is not None and judged <= self.limit

    def cells(self) -> tuple[str, str, str, str, str]:
        """Work, ours, peer, ratio, limit."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        peer = f"{number(self.theirs)} {self.unit} ({self.peer})" if self.theirs else "-"
        limit = {
            Sense.RATIO: f"ratio {self.limit:.2f}",
            Sense.MOST: f"{number(self.limit)} {self.unit}",
            Sense.LEAST: f"at least {number(self.limit)} {self.unit}",
        }[self.sense]
        return self.work, f"{number(self.ours)} {self.unit}", peer, ratio, limit

    def as_json(self) -> dict[str, Any]:
        """For bench.json."""
        kept = {**asdict(self), "sense": self.sense.value}
        return {name: _short(value) for name, value in kept.items() if value != ""}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Row":
        """ValueError or TypeError for anything that `as_json` does not write."""
        row = cls(**{**kept, "sense": Sense(kept["sense"])})
        numbers = (row.ours, row.limit, row.theirs)
        texts = (row.work, row.unit, row.peer)
        if not all(isinstance(each, int | float) for each in numbers) or not all(
            isinstance(each, str) for each in texts
        ):
            raise TypeError(f"expected numbers and texts, found {kept}")
        return row


@dataclass(slots=True)
class Recorded:
    """The rows of this run of pytest."""

    rows: list[Row] = field(default_factory=list)


RECORDED = Recorded()


def beside(work: str, ours: float, peer: str, theirs: float, most: float) -> Row:
    """Seconds of ours and of a peer; the claim is that ours / theirs is at most `most`."""
    return Row(work, ours, most, Sense.RATIO, "s", peer, theirs)


def show(rows: Sequence[Row]) -> None:
    """Print the rows and keep them for the table; AssertionError names those beyond their limit."""
    print(" | ".join(HEADS))
    for row in rows:
        print(" | ".join(row.cells()))
    RECORDED.rows += rows
    missed = [" | ".join(row.cells()) for row in rows if not row.holds]
    assert not missed, "beyond the limit: " + "; ".join(missed)


HEADS = ("work", "ours", "peer", "ratio", "limit")


def number(value: float) -> str:
    """Three digits, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
