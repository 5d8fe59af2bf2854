"""The `runbook` command: people read what it prints, programs read `--json FILE`.

Exit 0: done and good; 1: the answer is bad (tampered, proof failed); 2: could not tell (bad input,
unreachable, refused). Verbs import late: `runbook verify --help` must not wait for Prefect.
"""

import sys
import traceback
from pathlib import Path

import click

from deployments.exits import COULD_NOT_TELL
from tasks.domain.errors import RunbookError
from tasks.domain.untrusted import visible

_MESSAGE_LIMIT = 2000
_JSON = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here."
)
_GATEWAY = click.option("--gateway", metavar="URL", help="Default: RUNBOOK_GATEWAY__URL.")
_TOKEN_FILE = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your personal token; default: the environment's RUNBOOK_TOKEN.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rlhf-audit-runbook")
def cli() -> None:
    """The incident-response runbook of the RLHF Audit Trail, executed."""


@cli.command()
@click.option("--scenario", default="tampered-records", show_default=True, metavar="NAME")
@click.option("--list", "list_only", is_flag=True, help="List the scenarios and stop.")
@click.option("--yes", is_flag=True, help="Approve the plan as a simulated person (lab only).")
@click.option("--records", type=click.IntRange(1_000, 5_000_000), default=50_000, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--reports", type=click.Path(file_okay=False, path_type=Path), default="reports")
@click.option("--stay", is_flag=True, help="Keep everything running afterwards, until Ctrl-C.")
@_JSON
def demo(
    *,
    scenario: str,
    list_only: bool,
    yes: bool,
    records: int,
    seed: int,
    reports: Path,
    stay: bool,
    json_file: Path | None,
) -> None:
    """Start the embedded system, damage it, and watch the response."""
    from deployments.lab import demo as lab_demo

    if list_only:
        for name, text in lab_demo.scenarios().items():
            click.echo(f"{name:20} {text}")
        return
    options = lab_demo.Options(
        scenario=scenario,
        yes=yes,
        records=records,
        seed=seed,
        reports=reports,
        stay=stay,
        json_file=json_file,
    )
    sys.exit(lab_demo.run(options))


@cli.command()
@click.option("--records", type=click.IntRange(1_000, 5_000_000), default=50_000, show_default=True)
@click.option("--reports", type=click.Path(file_okay=False, path_type=Path), default="reports")
def up(*, records: int, reports: Path) -> None:
    """Run the embedded system, the gateway and the Prefect UI until Ctrl-C."""
    from deployments.lab import demo as lab_demo

    sys.exit(lab_demo.up(records=records, reports=reports))


@cli.command()
@click.argument("source")
@click.option("--log-key", metavar="VKEY", help="The sealer's verifier key: name+hash+base64.")
@click.option("--origin", metavar="TEXT", help="First line of the checkpoints.")
@click.option(
    "--sealed-log",
    metavar="SOURCE",
    help="Where the checkpoints of a postgresql:// source are: a directory or s3://bucket/prefix.",
)
@_JSON
def verify(
    *,
    source: str,
    log_key: str | None,
    origin: str | None,
    sealed_log: str | None,
    json_file: Path | None,
) -> None:
    """Verify an audit log: a directory, s3://bucket/prefix or postgresql://host/database.

    What is not given comes from the settings (RUNBOOK_LEDGER__LOG_KEY and so on).
    """
    from deployments import verify as verb

    sys.exit(
        verb.run(source, log_key=log_key, origin=origin, sealed_log=sealed_log, json_file=json_file)
    )


@cli.command()
@_JSON
def doctor(*, json_file: Path | None) -> None:
    """Look at every configured system: reachable, permitted, how fast, and what to mend."""
    from deployments import doctor as verb

    sys.exit(verb.run(json_file))


@cli.command()
@_GATEWAY
@_TOKEN_FILE
@_JSON
def incidents(*, gateway: str | None, token_file: Path | None, json_file: Path | None) -> None:
    """What is going on, and what was not understood (quarantine)."""
    from deployments import console

    sys.exit(console.incidents(console.connect(gateway, token_file), json_file))


@cli.command()
@click.argument("incident")
@_GATEWAY
@_TOKEN_FILE
@click.option("--to", "directory", type=click.Path(file_okay=False, path_type=Path), default=".")
def report(*, incident: str, gateway: str | None, token_file: Path | None, directory: Path) -> None:
    """Fetch an incident's report (HTML and PDF)."""
    from deployments import console

    sys.exit(console.report(console.connect(gateway, token_file), incident, directory))


@cli.command()
@click.argument("incident")
@click.option("--plan", "plan_hash", metavar="HASH", help="The plan that you have read.")
@click.option("--reason", default="", help="Kept with the decision.")
@_GATEWAY
@_TOKEN_FILE
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


@cli.command()
@click.argument("incident")
@click.option("--plan", "plan_hash", metavar="HASH", help="The plan that you have read.")
@click.option("--reason", required=True, help="Kept with the decision.")
@_GATEWAY
@_TOKEN_FILE
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


def main() -> None:
    """Entry point: every expected error is one line and exit 2."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(COULD_NOT_TELL)
    except click.ClickException as error:
        error.show()
        sys.exit(COULD_NOT_TELL)
    except (RunbookError, OSError) as error:
        click.echo(f"runbook: {visible(error, _MESSAGE_LIMIT)}", err=True)
        sys.exit(COULD_NOT_TELL)
    except Exception:  # noqa: BLE001 - a bug of ours must not look like exit 1, "tampered"
        traceback.print_exc()
        sys.exit(COULD_NOT_TELL)


if __name__ == "__main__":
    main()
