"""The verb that brings the database back."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE
from tasks.domain.recovery_target import FORMS


@click.command()
@click.option("--list", "list_only", is_flag=True, help="List the backups and what they are worth.")
@click.option("--to", "text", metavar="TARGET", help=f"Which state: {FORMS}.")
@click.option("--dry-run", is_flag=True, help="Print the plan; changes nothing, asks nobody.")
@click.option("--reason", default="", help="Kept with the request.")
@click.option("--yes", is_flag=True, help="Approve the plan as a simulated person (lab only).")
@GATEWAY
@TOKEN_FILE
@JSON
def restore(
    *,
    list_only: bool,
    text: str | None,
    dry_run: bool,
    reason: str,
    yes: bool,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """Restore the database beside production, prove it, and swap it in once somebody approves.

    The audit log always comes back complete to its signed head; TARGET says what the other tables
    are as of. Nothing is destroyed: the damaged database is kept under another name.

    Example: runbook restore --to "2026-11-22 14:05Z" --dry-run
    """
    from tasks.domain.recovery_target import Target

    if list_only:
        if text or dry_run or yes:
            raise click.UsageError("--list goes with --json alone")
        from deployments import restore_list

        sys.exit(restore_list.show(json_file))
    if text is None:
        raise click.UsageError(f"expected --to TARGET ({FORMS}) or --list")
    target = Target.parse(text)
    if dry_run:
        if yes:
            raise click.UsageError("--dry-run approves nothing: leave --yes out")
        from deployments import restore_plan

        sys.exit(restore_plan.show(target, json_file))
    from deployments import console, restoring

    client = console.connect(gateway, token_file)
    words = reason or f"runbook restore --to {target}"
    sys.exit(restoring.restore(client, target, words, approve=yes, json_file=json_file))
