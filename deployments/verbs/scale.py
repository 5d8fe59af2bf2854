"""The verb that shows how far API and workers may be scaled, and asks for it."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE

_REPLICAS = click.IntRange(1, 1000)


@click.command()
@click.option("--api", type=_REPLICAS, metavar="N", help="Replicas wanted of the API.")
@click.option("--workers", type=_REPLICAS, metavar="N", help="Replicas wanted of the workers.")
@click.option("--ask", is_flag=True, help="Ask for it: opens an incident with the plan to approve.")
@click.option("--reason", default="", help="Kept with the request.")
@GATEWAY
@TOKEN_FILE
@JSON
def scale(
    *,
    api: int | None,
    workers: int | None,
    ask: bool,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show the replicas of API and workers, each bound with its reason, and what a plan would do.

    Changes nothing: with --ask the response plans it, and somebody else than you approves the plan.
    What an autoscaler governs is scaled by its minimum.

    Example: runbook scale --workers 3
    """
    from deployments import scaling

    wanted = {part: count for part, count in (("api", api), ("workers", workers)) if count}
    if ask and not wanted:
        raise click.UsageError("expected --api N or --workers N with --ask")
    code = scaling.show(wanted, json_file)
    if ask:
        from deployments import console

        client = console.connect(gateway, token_file)
        code = scaling.ask(client, wanted, reason or "runbook scale --ask")
    sys.exit(code)
