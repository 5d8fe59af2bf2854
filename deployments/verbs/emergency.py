"""The verb of the last resort: the whole system stopped, or started again, in order."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE


@click.command()
@click.argument("what", type=click.Choice(["shut-down", "start"]))
@click.option("--ask", is_flag=True, help="Ask for it: two others must approve the plan.")
@click.option("--reason", default="", help="Kept with the request.")
@GATEWAY
@TOKEN_FILE
@JSON
def emergency(
    *,
    what: str,
    ask: bool,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show what stopping or starting the whole system would do, part by part, in order.

    Workers, API, privacy engine, Redis and PostgreSQL stop in this order; they start in the
    opposite order with exactly the replicas that they had. Changes nothing: with --ask an incident
    is opened, and two others than you approve its plan.

    Example: runbook emergency shut-down --ask --reason "keys were stolen"
    """
    from deployments import emergencies

    if ask and not reason:
        raise click.UsageError("expected --reason with --ask: two people decide on it")
    code = emergencies.show(what, json_file)
    if ask:
        from deployments import console

        code = emergencies.ask(console.connect(gateway, token_file), what, reason)
    sys.exit(code)
