"""Options that several verbs share."""

from pathlib import Path

import click

JSON = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here."
)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TRUST_FILE = click.option(
    "--trust",
    "trust_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy in TOML: keys, witnesses, quorum, a head that was kept.",
)
POLICY_FILE = click.option(
    "--policy",
    "policy_file",
    type=FILE,
    help="Default: RUNBOOK_GATEWAY__POLICY_FILE, else the shipped one.",
)
GATEWAY = click.option("--gateway", metavar="URL", help="Default: RUNBOOK_GATEWAY__URL.")
TOKEN_FILE = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your personal token; default: the environment's RUNBOOK_TOKEN.",
)
