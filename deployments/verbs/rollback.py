"""The verb that shows a workload's revisions and asks for one of them back."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE


@click.command()
@click.argument("workload", required=False)
@click.option(
    "--to",
    "revision",
    metavar="REVISION",
    default="",
    help="Its number, or the ReplicaSet that keeps it; else the last that was healthy by evidence.",
)
@click.option("--ask", is_flag=True, help="Ask for it: opens an incident with the plan to approve.")
@click.option("--reason", default="", help="Kept with the request.")
@GATEWAY
@TOKEN_FILE
@JSON
def rollback(
    *,
    workload: str | None,
    revision: str,
    ask: bool,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show the revisions of WORKLOAD, what is known of each, and what a rollback would do.

    WORKLOAD is deployment/NAME or statefulset/NAME, the API's without one. Changes nothing: with
    --ask the response plans it, and somebody else than you approves the plan.

    Example: runbook rollback deployment/rlhf-audit-trail
    """
    from deployments import rolling_back

    found = rolling_back.look(workload, revision)
    code = rolling_back.show(found, json_file)
    if ask:
        from deployments import console

        client = console.connect(gateway, token_file)
        words = reason or "runbook rollback --ask"
        code = rolling_back.ask(client, found, words)
    sys.exit(code)
