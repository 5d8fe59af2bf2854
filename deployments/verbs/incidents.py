"""Verbs by which people follow incidents and have a say in them."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE


@click.command()
@GATEWAY
@TOKEN_FILE
@JSON
def incidents(*, gateway: str | None, token_file: Path | None, json_file: Path | None) -> None:
    """What is going on, and what was not understood (quarantine)."""
    from deployments import console

    sys.exit(console.incidents(console.connect(gateway, token_file), json_file))


@click.command()
@click.argument("incident")
@click.option("--plan", "plan_hash", metavar="HASH", help="The plan that you have read.")
@click.option("--reason", default="", help="Kept with the decision.")
@GATEWAY
@TOKEN_FILE
def approve(
    *,
    incident: str,
    plan_hash: str | None,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Show the plan and approve exactly it; without --plan it asks."""
    from deployments import console

    client = console.connect(gateway, token_file)
    sys.exit(console.decide(client, incident, "approve", plan_hash, reason))


@click.command()
@click.argument("incident")
@click.option("--plan", "plan_hash", metavar="HASH", help="The plan that you have read.")
@click.option("--reason", required=True, help="Kept with the decision.")
@GATEWAY
@TOKEN_FILE
def deny(
    *,
    incident: str,
    plan_hash: str | None,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Deny the standing plan; nothing is changed."""
    from deployments import console

    client = console.connect(gateway, token_file)
    sys.exit(console.decide(client, incident, "deny", plan_hash, reason))


@click.command()
@click.argument("incident")
@GATEWAY
@TOKEN_FILE
def acknowledge(*, incident: str, gateway: str | None, token_file: Path | None) -> None:
    """Say that you have seen the incident."""
    from deployments import console, saying

    sys.exit(saying.acknowledge(console.connect(gateway, token_file), incident))


@click.command()
@click.argument("incident")
@click.option("--reason", required=True, help="Why it is over.")
@GATEWAY
@TOKEN_FILE
def close(*, incident: str, reason: str, gateway: str | None, token_file: Path | None) -> None:
    """End an incident by hand; its report is written then."""
    from deployments import console, saying

    sys.exit(saying.close(console.connect(gateway, token_file), incident, reason))


@click.command()
@click.argument("scope")
@click.option("--reason", required=True, help="Why changes must wait, or may go on.")
@click.option("--review", default="1h", show_default=True, help="30m, 2h, 1d or an ISO instant.")
@click.option("--lift", is_flag=True, help="Let the changes go on.")
@click.option("--incident", help="Whose hold it is.  [default: the one that holds every change]")
@GATEWAY
@TOKEN_FILE
def hold(
    *,
    scope: str,
    reason: str,
    review: str,
    lift: bool,
    incident: str | None,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Refuse every change of SCOPE, such as database/rlhf_audit, or '*' for everything."""
    from deployments import console, saying

    client = console.connect(gateway, token_file)
    if lift:
        sys.exit(saying.lift(client, incident, scope, reason))
    sys.exit(saying.hold(client, incident, scope, reason, review))
