"""Verbs of the embedded stack: demo, up."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import JSON


@click.command()
@click.option("--scenario", default="tampered-records", show_default=True, metavar="NAME")
@click.option("--list", "list_only", is_flag=True, help="List the scenarios and stop.")
@click.option("--yes", is_flag=True, help="Approve the plan as a simulated person (lab only).")
@click.option("--records", type=click.IntRange(1_000, 5_000_000), default=50_000, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--reports", type=click.Path(file_okay=False, path_type=Path), default="reports")
@click.option("--stay", is_flag=True, help="Keep everything running afterwards, until Ctrl-C.")
@JSON
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
            click.echo(f"{name:24} {text}")
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


@click.command()
@click.option("--records", type=click.IntRange(1_000, 5_000_000), default=50_000, show_default=True)
@click.option("--reports", type=click.Path(file_okay=False, path_type=Path), default="reports")
def up(*, records: int, reports: Path) -> None:
    """Run the embedded system, the gateway and the Prefect UI until Ctrl-C."""
    from deployments.lab import demo as lab_demo

    sys.exit(lab_demo.up(records=records, reports=reports))
