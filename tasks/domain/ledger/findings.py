"""Collecting findings: runs of consecutive records become one, and their number is bounded."""

from collections.abc import Iterable
from dataclasses import replace

from tasks.domain.ledger.verdicts import Code, Finding

MAX_FINDINGS = 10_000
_MAX_DETAIL = 500


class FindingList:
    """Findings with runs of consecutive seqs merged; kept up to a limit, counted beyond it."""

    def __init__(self, source: str, limit: int = MAX_FINDINGS) -> None:
        self._source = source
        self._limit = limit
        self._open: dict[Code, Finding] = {}
        self._kept: list[Finding] = []
        self._beyond: dict[Code, int] = {}

    def add(
        self,
        code: Code,
        seq: int,
        *,
        count: int = 1,
        detail: str = "",
        expected: str = "",
        found: str = "",
    ) -> None:
        """Note `count` records from `seq`; hashes are kept for single records only."""
        run = self._open.get(code)
        if run is not None and run.first is not None and run.first + run.count == seq:
            longer = run.count + count
            self._open[code] = replace(run, count=longer, expected="", found="")
            return
        if run is not None:
            self._keep(run)
        detail = detail[:_MAX_DETAIL]
        self._open[code] = Finding(code, self._source, seq, count, detail, expected, found)

    def finish(self) -> tuple[Finding, ...]:
        """All findings by seq, then one for each code whose findings exceed the limit."""
        for run in self._open.values():
            self._keep(run)
        self._open.clear()
        self._kept.sort(key=_by_place)
        beyond = [
            Finding(code, self._source, None, count, "further records, not listed one by one")
            for code, count in sorted(self._beyond.items())
        ]
        return (*self._kept, *beyond)

    def _keep(self, finding: Finding) -> None:
        if len(self._kept) < self._limit:
            self._kept.append(finding)
        else:
            self._beyond[finding.code] = self._beyond.get(finding.code, 0) + finding.count


def joined_findings(
    parts: Iterable[Iterable[Finding]], limit: int = MAX_FINDINGS
) -> tuple[Finding, ...]:
    """The findings of neighbouring ranges as one list: runs that end at a seam go on after it.

    A range that misses all its records up to its end says DELETED, for others may follow; when the
    next one is TRUNCATED from its first record on, it was cut off there already.
    """
    merged: list[Finding] = []
    counted: dict[tuple[Code, str], Finding] = {}
    for finding in sorted((each for part in parts for each in part), key=_by_place):
        if finding.first is None:
            key = (finding.code, finding.source)
            known = counted.get(key)
            counted[key] = replace(known, count=known.count + finding.count) if known else finding
        elif (at := _before(merged, finding)) is not None:
            longer = merged[at].count + finding.count
            merged[at] = replace(merged[at], code=finding.code, count=longer, expected="", found="")
        else:
            merged.append(finding)
    for finding in merged[limit:]:
        key = (finding.code, finding.source)
        text = "further records, not listed one by one"
        known = counted.get(key) or Finding(finding.code, finding.source, None, 0, text)
        counted[key] = replace(known, count=known.count + finding.count)
    return (*merged[:limit], *(counted[key] for key in sorted(counted)))


def _before(merged: list[Finding], finding: Finding) -> int | None:
    """Where the run is that this finding goes on: only the newest few can end where it begins."""
    for at in range(len(merged) - 1, max(-1, len(merged) - 1 - _OVERLAPPING), -1):
        run = merged[at]
        continues = run.first is not None and run.first + run.count == finding.first
        same = run.code is finding.code or (
            run.code is Code.DELETED and finding.code is Code.TRUNCATED
        )
        if continues and same and run.source == finding.source:
            return at
    return None


_OVERLAPPING = 8
"""Codes that one record may have at once; so many runs may end at the same seam."""


def _by_place(finding: Finding) -> tuple[int, str]:
    return (finding.first or 0, finding.code)
