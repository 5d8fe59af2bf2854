"""Verbs of an isolation after a suspected breach: what a person says of it."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, TOKEN_FILE


@click.group()
def isolation() -> None:
    """Confirm what was isolated after a suspected breach, or have it taken back."""


@isolation.command("confirm")
@click.argument("incident")
@click.option("--reason", required=True, help="Kept with the word, in the timeline and the report.")
@GATEWAY
@TOKEN_FILE
def confirm(incident: str, reason: str, gateway: str | None, token_file: Path | None) -> None:
    """Let the isolation stand; without this it goes back by itself.

    For approvers and security.

    Example: runbook isolation confirm INC-... --reason "the logins were not his"
    """
    from deployments import console, isolation_saying

    connected = console.connect(gateway, token_file)
    sys.exit(isolation_saying.judge(connected, incident, "confirm", reason))


@isolation.command("return")
@click.argument("incident")
@click.option("--reason", required=True, help="Kept with the word, in the timeline and the report.")
@GATEWAY
@TOKEN_FILE
def give_back(incident: str, reason: str, gateway: str | None, token_file: Path | None) -> None:
    """Take the isolation back now: the policy is deleted, locked roles may log in again.

    For approvers and security.

    Example: runbook isolation return INC-... --reason "the alert was forged"
    """
    from deployments import console, isolation_saying

    connected = console.connect(gateway, token_file)
    sys.exit(isolation_saying.judge(connected, incident, "return", reason))
