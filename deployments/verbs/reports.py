"""Verbs of the post-incident report: fetch it, prove it, and write what only people know."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.verbs.options import FILE, GATEWAY, JSON, TOKEN_FILE

if TYPE_CHECKING:
    from deployments.console import Gateway

_FETCH = "fetch"
_KINDS = click.Choice(["prevent", "detect", "mitigate", "process"])


class _ReportGroup(click.Group):
    """`runbook report INC-...` is `runbook report fetch INC-...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the verb in front of an incident's id."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [_FETCH, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ReportGroup)
def report() -> None:
    """Fetch an incident's report (the default), prove it, answer what it asks.

    Example: runbook report INC-20261126-030405-a1b2 --to reports
    """


@report.command(_FETCH)
@click.argument("incident")
@GATEWAY
@TOKEN_FILE
@click.option("--to", "directory", type=click.Path(file_okay=False, path_type=Path), default=".")
def fetch(*, incident: str, gateway: str | None, token_file: Path | None, directory: Path) -> None:
    """Fetch an incident's report (HTML, PDF, JSON and their seal)."""
    from deployments import console

    sys.exit(console.report(console.connect(gateway, token_file), incident, directory))


@report.command("verify")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, metavar="VKEY", help="The responder's.  [default: our own]"
)
@JSON
def verify(*, path: Path, keys: tuple[str, ...], json_file: Path | None) -> None:
    """Prove offline that a report is as it was signed; PATH is its seal, a form, or a directory."""
    from deployments import report_proof

    sys.exit(report_proof.verify(path, keys, json_file))


@report.command("review")
@click.argument("incident")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Action items.")
@GATEWAY
@TOKEN_FILE
@JSON
def review(
    *,
    incident: str,
    markdown: Path | None,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show questions, answers and action items; write the items as Markdown."""
    from deployments import reviewing

    sys.exit(reviewing.show(_connect(gateway, token_file), incident, markdown, json_file))


@report.command("answer")
@click.argument("incident")
@click.argument("question")
@click.option("--text", help="The answer.")
@click.option("--file", "file", type=FILE, help="The answer, in a file.")
@GATEWAY
@TOKEN_FILE
def answer(
    *,
    incident: str,
    question: str,
    text: str | None,
    file: Path | None,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Answer QUESTION, such as causes; earlier answers are kept as versions."""
    from deployments import reviewing

    words = reviewing.words_of(text, file)
    sys.exit(reviewing.answer(_connect(gateway, token_file), incident, question, words))


@report.command("action")
@click.argument("incident")
@click.argument("item", required=False)
@click.option("--do", "action", required=True, help="What is to be done.")
@click.option("--type", "kind", required=True, type=_KINDS)
@click.option("--owner", required=True)
@click.option("--due", required=True, metavar="YYYY-MM-DD")
@click.option("--verify", "verification", required=True, help="How it is known to be done.")
@GATEWAY
@TOKEN_FILE
def action(
    *,
    incident: str,
    item: str | None,
    action: str,
    kind: str,
    owner: str,
    due: str,
    verification: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Add an action item, or put ITEM (such as A1) anew."""
    from deployments import reviewing

    body = {
        "action": action,
        "kind": kind,
        "owner": owner,
        "due": due,
        "verification": verification,
    }
    sys.exit(reviewing.put(_connect(gateway, token_file), incident, item, body))


@report.command("end-action")
@click.argument("incident")
@click.argument("item")
@click.option("--dropped", is_flag=True, help="It will not be done.")
@click.option("--reason", required=True, help="How it was verified, or why it is dropped.")
@GATEWAY
@TOKEN_FILE
def end_action(
    *,
    incident: str,
    item: str,
    dropped: bool,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Say that ITEM is done, or dropped."""
    from deployments import reviewing

    client = _connect(gateway, token_file)
    sys.exit(reviewing.end(client, incident, item, reason, is_dropped=dropped))


@report.command("sign-off")
@click.argument("incident")
@click.option("--reason", required=True, help="What you have looked at.")
@GATEWAY
@TOKEN_FILE
def sign_off(*, incident: str, reason: str, gateway: str | None, token_file: Path | None) -> None:
    """Say that the review is complete."""
    from deployments import reviewing

    sys.exit(reviewing.sign_off(_connect(gateway, token_file), incident, reason))


@report.command("compliance")
@click.argument("incident")
@click.argument("matter", type=click.Choice(["auditors", "breach-register", "ai-act"]))
@click.option("--yes/--no", "yes", required=True, default=None)
@click.option("--reason", required=True, help="Shown in the report.")
@GATEWAY
@TOKEN_FILE
def compliance(
    *,
    incident: str,
    matter: str,
    yes: bool,
    reason: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Decide on a matter; `auditors --yes` tells the auditors at once."""
    from deployments import reviewing

    client = _connect(gateway, token_file)
    sys.exit(reviewing.decide(client, incident, matter, reason, yes=yes))


def _connect(gateway: str | None, token_file: Path | None) -> "Gateway":
    from deployments import console

    return console.connect(gateway, token_file)
