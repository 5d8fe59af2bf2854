"""The verb that looks at every configured system."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import JSON


@click.command()
@JSON
def doctor(*, json_file: Path | None) -> None:
    """Look at every configured system: reachable, permitted, how fast, and what to mend."""
    from deployments import doctor as verb

    sys.exit(verb.run(json_file))
