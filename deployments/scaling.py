"""`runbook scale`: the replicas, every bound with its reason, and the request for others.

Looking needs the settings of the cluster alone; asking goes through the gateway under the caller's
name, and the scaling is no part of this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from deployments import terminal
from deployments.asking_for_change import ask_gateway
from deployments.console import Gateway
from deployments.exits import BAD, GOOD
from tasks.domain.change_wish import Wanted
from tasks.domain.scale_plan import bounds_text, change_of, described
from tasks.domain.scaling import EnoughAlready, Scaling
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import scalings
from tasks.work.scalings import Considered, Site

_LINE = 400
_UP = 100_000
"""More than any bound allows: what is considered shows all of them."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A part, all its bounds, and what is decided about the number that is wanted."""

    part: str
    bounds: Considered
    wanted: int | None
    considered: Considered | None

    @property
    def bound_lines(self) -> list[str]:
        """Each bound with its reason, the narrowest first."""
        decision = self.bounds.decision
        return [] if isinstance(decision, EnoughAlready) else bounds_text(decision.bounds)

    @property
    def would(self) -> str:
        """What a plan would do; empty when nothing is wanted."""
        if self.considered is None:
            return ""
        decision = self.considered.decision
        if not isinstance(decision, Scaling):
            return decision.text
        change = change_of("", self.considered.workload, decision, self.considered.around)
        why = f"; no further, because of {decision.decided_by}" if decision.decided_by else ""
        return f"{described(change)}{why}"

    @property
    def is_refused(self) -> bool:
        """Whether nothing of what is wanted is allowed."""
        decision = self.considered.decision if self.considered else None
        return decision is not None and not isinstance(decision, Scaling | EnoughAlready)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        workload = self.bounds.workload
        return {
            "workload": workload.name,
            "replicas": workload.replicas,
            "ready": workload.ready,
            "bounds": self.bound_lines,
            "unknown_bounds": list(self.bounds.around.unread),
            "wanted": self.wanted,
            "would": self.would,
        }


def show(wanted: Mapping[str, int], json_file: Path | None) -> int:
    """Print both workloads; 1 when a number that is wanted is not allowed at all."""
    site = scalings.site_of(settings())
    shown = [_look(site, part, wanted.get(part)) for part in ("api", "workers")]
    console = terminal.console()
    table = Table(
        Column("workload", no_wrap=True),
        Column("replicas", justify="right"),
        Column("ready", justify="right"),
        "at most",
        box=None,
        pad_edge=False,
    )
    for each in shown:
        workload = each.bounds.workload
        bounds = "\n".join(each.bound_lines) or _no_bounds(each.bounds)
        table.add_row(visible(workload.name), str(workload.replicas), str(workload.ready), bounds)
    console.print(table, markup=False)
    for line in dict.fromkeys(text for each in shown for text in each.bounds.around.unread):
        console.print(f"unknown: {visible(line, _LINE)}", markup=False, soft_wrap=True)
    for each in shown:
        if each.would:
            text = f"\n{each.part}: a plan would {visible(each.would, _LINE)}"
            console.print(text, markup=False, soft_wrap=True)
    console.print("\nlooked at, nothing changed", markup=False)
    terminal.write_json(json_file, {each.part: each.as_json() for each in shown})
    return BAD if any(each.is_refused for each in shown) else GOOD


def ask(gateway: Gateway, wanted: Mapping[str, int], reason: str) -> int:
    """Ask the responder for each of them; the exit code is the worst."""
    return max(
        ask_gateway(gateway, Wanted.SCALE, reason, {"part": part, "replicas": replicas})
        for part, replicas in wanted.items()
    )


def _look(site: Site, part: str, wanted: int | None) -> Shown:
    name = site.scaling.api if part == "api" else site.scaling.workers
    most = scalings.consider(site, name, _UP)
    considered = wanted and scalings.decided(site, most.workload, wanted, most.around)
    return Shown(part, most, wanted, considered or None)


def _no_bounds(found: Considered) -> str:
    return "" if isinstance(found.decision, Scaling) else visible(found.decision.text, _LINE)
