"""Verbs of a data privacy incident: what a person decides."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, TOKEN_FILE


@click.group()
def privacy() -> None:
    """Decide on the risk of a breach of personal data."""


@privacy.command("decide")
@click.argument("incident")
@click.option(
    "--risk",
    required=True,
    type=click.Choice(["unlikely", "likely", "high"]),
    help="To the people concerned: GDPR Art. 33 and 34.",
)
@click.option("--reason", required=True, help="Kept with the decision, and in the notices.")
@click.option("--aware-at", metavar="TIME", help="ISO instant with offset: the law's clocks begin.")
@click.option(
    "--case", "cases", multiple=True, help="Such as death; see tasks/domain/regimes.toml."
)
@click.option("--confidentiality", help="no evidence of access, known recipients, ...")
@click.option("--integrity", help="no wrong use, ...")
@click.option("--availability", help="easily recovered, ...")
@click.option("--malicious/--not-malicious", default=None, help="Whether somebody meant it.")
@click.option("--ease", "eases", multiple=True, metavar="IDENTIFIER=EASE", help="e-mail=maximum")
@click.option("--adjust", type=click.IntRange(-3, 3), help="Whole steps of the data's context.")
@GATEWAY
@TOKEN_FILE
def decide(
    *,
    incident: str,
    risk: str,
    reason: str,
    aware_at: str | None,
    cases: tuple[str, ...],
    confidentiality: str | None,
    integrity: str | None,
    availability: str | None,
    malicious: bool | None,
    eases: tuple[str, ...],
    adjust: int | None,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Record how great the risk is; what is not corrected here is confirmed as assumed.

    For privacy officers. Clocks and drafts follow; no clock is stopped by it.

    Example: runbook privacy decide INC-... --risk likely --reason "ids were public for a day"
    """
    from deployments import console, privacy_saying

    corrections = {
        "confidentiality": confidentiality,
        "integrity": integrity,
        "availability": availability,
        "malicious": malicious,
        "ease": privacy_saying.read_eases(eases) or None,
        "adjustment": adjust,
        "reason": reason if adjust else None,
    }
    body = {
        "risk": risk,
        "reason": reason,
        "aware_at": aware_at,
        "cases": list(cases),
        "corrections": {name: each for name, each in corrections.items() if each is not None},
    }
    sys.exit(privacy_saying.decide(console.connect(gateway, token_file), incident, body))
