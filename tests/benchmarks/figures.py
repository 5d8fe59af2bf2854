"""One row of figures per benchmark: for people on the terminal, for programs in bench.json.

`make bench` sets RUNBOOK_BENCH, and only then bench.json at the project's root is written: figures
of a run among other tests are nobody's figures.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from deployments.lab.environment import PROJECT

_FILE = PROJECT / "bench.json"


@dataclass(frozen=True)
class Row:
    """Seconds of ours and of a peer that does the same work in the same minute, and our limit."""

    work: str
    ours: float
    peer: str
    peer_seconds: float
    limit: float

    @property
    def ratio(self) -> float:
        """Ours as a share of the peer's; below 1 we are faster."""
        return self.ours / self.peer_seconds


def show(rows: Sequence[Row]) -> None:
    """Print the table, and add its rows to bench.json when this is `make bench`."""
    print("work | ours | peer | ratio | limit")
    for row in rows:
        peer = f"{row.peer_seconds:.3f} s ({row.peer})"
        print(f"{row.work} | {row.ours:.3f} s | {peer} | {row.ratio:.2f} | {row.limit:.1f} s")
    if not os.environ.get("RUNBOOK_BENCH"):
        return
    known = json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.exists() else []
    at = datetime.now(UTC).isoformat(timespec="seconds")
    known += [{"at": at, **asdict(row), "ratio": round(row.ratio, 3)} for row in rows]
    _FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
