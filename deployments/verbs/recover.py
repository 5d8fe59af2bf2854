"""Verb of the audit log's copies: recover."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import FILE, JSON, TRUST_FILE


@click.command()
@click.argument("source", required=False)
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    default="restored-logs",
    show_default=True,
    help="Directory to fill; made when it is not there.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@TRUST_FILE
@click.option("--log-key", metavar="VKEY", help="The sealer's verifier key: name+hash+base64.")
@click.option("--origin", metavar="TEXT", help="First line of the checkpoints.")
@click.option(
    "--table",
    metavar="URL",
    help="postgresql://... whose records make up for lost segments.  [default: the settings']",
)
@click.option("--public-key", type=FILE, help="Legacy layout: the logger's RSA key (PEM).")
@click.option("--password-file", type=FILE, help="Legacy layout: of encrypted files.")
@click.option(
    "--manifest",
    type=FILE,
    help="Legacy layout: sha256sum of all files, kept apart.  [default: the one beside the copy, "
    "which does not prove that nothing was cut off]",
)
@click.option("--head", metavar="HEX", help="Legacy layout: hash of the last event, kept apart.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="To verify with."
)
@JSON
def recover(
    *,
    source: str | None,
    target: Path,
    dry_run: bool,
    trust_file: Path | None,
    log_key: str | None,
    origin: str | None,
    table: str | None,
    public_key: Path | None,
    password_file: Path | None,
    manifest: Path | None,
    head: str | None,
    workers: int,
    json_file: Path | None,
) -> None:
    """Bring the audit log from SOURCE into a directory, make it whole and prove it there.

    SOURCE is s3://bucket/prefix; by default the settings' (the runbook's
    s3://rlhf-audit-trail-backups/audit-logs/), of copies by day the newest. Only what differs is
    fetched; run it again to go on where it stopped. Nothing is deleted, here or there.

    Exit 0: all of it is here and verified. 1: records are lost or altered, listed exactly. 2: could
    not tell, keys were refused, or the disk is full.
    """
    from deployments import recover as verb

    sys.exit(
        verb.run(
            verb.Options(
                source=source,
                target=target,
                dry_run=dry_run,
                trust_file=trust_file,
                log_key=log_key,
                origin=origin,
                table=table,
                public_key=public_key,
                password_file=password_file,
                manifest=manifest,
                head=head,
                workers=workers,
                json_file=json_file,
            )
        )
    )
