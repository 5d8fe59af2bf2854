"""Verbs of people's tokens: token new, list, revoke."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import JSON
from tasks.domain.roles import Role


@click.group()
def token() -> None:
    """Who may see, respond and decide: tokens of people. Needs RUNBOOK_RESPONDER__DSN."""


@token.command("new")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--days", type=click.IntRange(1, 365), help="Validity.  [default: 90]")
@click.option(
    "--out",
    "out_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the token, readable by you alone; default: standard output.",
)
@click.option("--change-role", is_flag=True, help="A known person gets this role from now on.")
@click.option("--no-token", is_flag=True, help="No token: the trusted proxy brings them in.")
def token_new(
    *,
    name: str,
    role: str,
    days: int | None,
    out_file: Path | None,
    change_role: bool,
    no_token: bool,
) -> None:
    """Make a token for the person NAME; it is shown once, only its hash is kept."""
    from deployments import token as verb

    if no_token and (days or out_file):
        raise click.UsageError("--days and --out go with a token")
    if no_token:
        sys.exit(verb.add_proxied(name, role, change_role=change_role))
    sys.exit(verb.new(name, role, days, out=out_file, change_role=change_role))


@token.command("list")
@JSON
def token_list(*, json_file: Path | None) -> None:
    """People, roles, validity and last use; no secrets."""
    from deployments import token as verb

    sys.exit(verb.show(json_file))


@token.command("revoke")
@click.argument("name")
def token_revoke(*, name: str) -> None:
    """End all tokens and logins of NAME at once, and their way through the proxy."""
    from deployments import token as verb

    sys.exit(verb.revoke(name))
