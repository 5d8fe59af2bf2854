"""`runbook restore --dry-run`: what a restore would do, found out by looking and nothing else."""

from pathlib import Path
from typing import Any

from deployments import terminal
from deployments.console import show_plan
from deployments.exits import GOOD
from tasks.domain.recovery_target import Target
from tasks.domain.untrusted import visible
from tasks.work import catalogue
from tasks.work.proposing import propose

NOBODY = "dry-run"
"""In the place of an incident: nothing is opened for a look."""

_LINE = 400


def show(target: Target, json_file: Path | None) -> int:
    """Print the plan for the target: source, steps, what is as of when, lost, time, disk.

    Needs the settings of database, store and ledger; neither gateway nor responder. Raises what
    keeps it from being planned.
    """
    proposal = propose(NOBODY, target, catalogue.list_all())
    console = terminal.console()
    written: dict[str, Any] = {"target": str(target), "dry_run": proposal.dry_run}
    if proposal.plan is not None:
        show_plan(proposal.plan, stands=False)
        written["plan"] = proposal.plan.as_json()
    console.print("\nlooked at, nothing changed:")
    for line in proposal.dry_run:
        console.print(f"  {visible(line, _LINE)}", markup=False, soft_wrap=True)
    console.print(f'\nto do so: runbook restore --to "{target}"', markup=False)
    terminal.write_json(json_file, written)
    return GOOD
