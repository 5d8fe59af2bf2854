"""Verbs of communication: what the public is told, and who would be called now."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, TOKEN_FILE


@click.command("status-page")
@click.argument("incident")
@click.option("--publish", "prefix", metavar="HASH", help="Make the draft public that you read.")
@click.option(
    "--draft",
    "moment",
    type=click.Choice(["opened", "update", "mitigated", "closed"]),
    help="Have the words of a moment drafted.",
)
@GATEWAY
@TOKEN_FILE
def status_page(
    *,
    incident: str,
    prefix: str | None,
    moment: str | None,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Show what the public would be told of an incident; nothing is public without your word."""
    from deployments import console, publishing

    if prefix and moment:
        raise click.UsageError("--publish is for a draft that you have read: draft first")
    client = console.connect(gateway, token_file)
    if prefix:
        sys.exit(publishing.publish(client, incident, prefix))
    if moment:
        sys.exit(publishing.ask(client, incident, moment))
    sys.exit(publishing.show(client, incident))


@click.command()
@click.option("--at", metavar="TIME", help="ISO instant with offset.  [default: now]")
def contacts(*, at: str | None) -> None:
    """Who would be called for each role, and how that is known."""
    from deployments import calling

    sys.exit(calling.show(at))
