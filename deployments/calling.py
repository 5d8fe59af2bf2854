"""The verb that says who would be called now: the roster, as escalation reads it."""

from datetime import UTC, datetime

import click
from rich.table import Table

from deployments import terminal
from deployments.exits import GOOD
from tasks.clients import reach
from tasks.domain.contacts import Contact
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work.reaching import whom


def show(at: str | None) -> int:
    """Every role, who fills it at that moment, how that is known, and by what else they hear."""
    moment = _moment(at)
    table = Table("role", "who", "by", "beside chat", box=None, pad_edge=False)
    doubts = []
    for role in Contact:
        found = whom(role, moment)
        ways = ", ".join(reach.kind_of(url) for url in settings().reach.urls.get(role, ()))
        table.add_row(role.value.replace("_", " "), visible(found.who, 120), found.by, ways)
        if found.doubt:
            doubts.append(f"{role}: {visible(found.doubt, 300)}")
    terminal.console().print(table, markup=False)
    for doubt in doubts:
        click.echo(f"Could not ask for {doubt}")
    return GOOD


def _moment(at: str | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadInput(f"expected a time such as 2026-03-14T06:00:00+00:00, found {at[:40]!a}")
    return found
