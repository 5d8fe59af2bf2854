"""`runbook emergency`: what stopping or starting the whole system would do, and the request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deployments import terminal
from deployments.asking_for_change import ask_gateway
from deployments.console import Gateway, show_plan
from deployments.exits import BAD, GOOD
from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import plan_emergency
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import emergencies

NOBODY = "dry-run"
"""In the place of an incident: nothing is opened for a look."""

_LINE = 400


def show(what: str, json_file: Path | None) -> int:
    """Print the plan and what the API server would answer; 1 when there is nothing to do."""
    wanted = Wanted(what)
    where = emergencies.grounds_of(settings())
    found = emergencies.found(where, wanted)
    stake = emergencies.at_stake(where, found.emergency)
    lines = emergencies.dry_run(where, found, stake)
    console = terminal.console()
    written: dict[str, Any] = {"wanted": wanted.value, "dry_run": lines}
    if found.emergency.parts:
        expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
        plan = plan_emergency(NOBODY, found.emergency, "asked for by you", expires_at, stake)
        show_plan(plan, stands=False)
        written["plan"] = plan.as_json()
    else:
        nothing = "to stop" if wanted is Wanted.SHUT_DOWN else "that was stopped by us"
        console.print(f"there is nothing {nothing}", markup=False)
    console.print("\nlooked at, nothing changed:", markup=False)
    for line in lines:
        console.print(f"  {visible(line, _LINE)}", markup=False, soft_wrap=True)
    terminal.write_json(json_file, written)
    return GOOD if found.emergency.parts else BAD


def ask(gateway: Gateway, what: str, reason: str) -> int:
    """Ask the responder for it; the exit code."""
    return ask_gateway(gateway, Wanted(what), reason)
