"""Verbs of the routing policy: policy show, test, replay."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import FILE, JSON, POLICY_FILE


@click.group()
def policy() -> None:
    """What does an alert start? Show, test and replay the routing policy."""


@policy.command("show")
def policy_show() -> None:
    """Print the shipped policy, which explains itself: one's own begins from it."""
    from tasks.domain.policy import shipped_text

    click.echo(shipped_text(), nl=False)


@policy.command("test")
@click.argument("tests", nargs=-1, type=FILE)
@POLICY_FILE
@JSON
def policy_test(
    *, tests: tuple[Path, ...], policy_file: Path | None, json_file: Path | None
) -> None:
    """Decide example alerts and compare with what TESTS expect (default: the shipped examples).

    Exit 1: at least one is decided otherwise.
    """
    from deployments import policy as verb

    sys.exit(verb.run_examples(tests, policy_file, json_file))


@policy.command("replay")
@click.argument("files", nargs=-1, required=True, type=FILE)
@POLICY_FILE
@click.option("--against", type=FILE, help="Show what this policy would make differently.")
@JSON
def policy_replay(
    *,
    files: tuple[Path, ...],
    policy_file: Path | None,
    against: Path | None,
    json_file: Path | None,
) -> None:
    """Show which incidents recorded notifications of Alertmanager would have started.

    Each of FILES is one body as Alertmanager posts it, or JSON lines of them, in their order.
    """
    from deployments import policy as verb

    sys.exit(verb.replay(files, policy_file, against, json_file))
