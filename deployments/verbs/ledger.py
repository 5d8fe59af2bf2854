"""Verbs of the sealed log: verify, seal, key, prove."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import FILE, JSON, TRUST_FILE


@click.command()
@click.argument("source")
@TRUST_FILE
@click.option("--log-key", metavar="VKEY", help="The sealer's verifier key: name+hash+base64.")
@click.option("--origin", metavar="TEXT", help="First line of the checkpoints.")
@click.option(
    "--sealed-log",
    metavar="SOURCE",
    help="Where the checkpoints of a postgresql:// source are: a directory or s3://bucket/prefix.",
)
@click.option("--full", is_flag=True, help="Hash also what a head kept by --trust covers.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
@click.option("--public-key", type=FILE, help="Legacy layout: the logger's RSA key (PEM).")
@click.option("--password-file", type=FILE, help="Legacy layout: of encrypted files.")
@click.option("--manifest", type=FILE, help="Legacy layout: sha256sum of all files, kept apart.")
@click.option("--head", metavar="HEX", help="Legacy layout: hash of the last event, kept apart.")
@JSON
def verify(
    *,
    source: str,
    trust_file: Path | None,
    log_key: str | None,
    origin: str | None,
    sealed_log: str | None,
    full: bool,
    workers: int,
    public_key: Path | None,
    password_file: Path | None,
    manifest: Path | None,
    head: str | None,
    json_file: Path | None,
) -> None:
    """Verify an audit log: a directory, s3://bucket/prefix or postgresql://host/database.

    The layout is detected. With a head that was kept in --trust, what it covers is hashed again
    only in part (--full: all of it). What is not given comes from the settings
    (RUNBOOK_LEDGER__TRUST_FILE and so on).
    """
    from deployments import verify as verb

    sys.exit(
        verb.run(
            verb.Options(
                source=source,
                trust_file=trust_file,
                log_key=log_key,
                origin=origin,
                sealed_log=sealed_log,
                full=full,
                workers=workers,
                public_key=public_key,
                password_file=password_file,
                manifest=manifest,
                head=head,
                json_file=json_file,
            )
        )
    )


@click.command()
@click.option("--log", type=click.Choice(["audit", "journal"]), default="audit", show_default=True)
@JSON
def seal(*, log: str, json_file: Path | None) -> None:
    """Have new records sealed now, and verify the signed and witnessed head."""
    from deployments import seal as verb

    sys.exit(verb.run(log, json_file))


@click.command()
@click.argument("name")
@click.option("--witness", is_flag=True, help="A witness's key; else one of a log.")
@click.option(
    "--to", "to_file", type=click.Path(dir_okay=False, path_type=Path), required=True, help="New."
)
def key(*, name: str, witness: bool, to_file: Path) -> None:
    """Make a signing key called NAME (of a log: its origin) and print what verifies it.

    The private key goes into the file, readable by its owner alone, and is never printed.
    """
    from deployments.key_files import make_signer
    from tasks.domain.ledger import KeyType

    signer = make_signer(to_file, name, KeyType.WITNESS if witness else KeyType.LOG)
    click.echo(signer.verifier.encoded)


@click.command()
@click.argument("seq", type=click.IntRange(0), required=False)
@click.option("--check", "check_file", type=FILE, help="Verify this proof instead, offline.")
@click.option(
    "--since", type=click.IntRange(0), help="Prove that nothing before this size changed."
)
@click.option("--log", "source", metavar="SOURCE", help="A directory or s3://bucket/prefix.")
@click.option("--with-line", is_flag=True, help="Enclose the record itself: personal data.")
@click.option("--to", "to_file", type=click.Path(dir_okay=False, path_type=Path), help="New file.")
@click.option("--line", "line_file", type=FILE, help="With --check: the record's line.")
@click.option("--leaf", metavar="HEX", help="With --check: the record's leaf hash.")
@click.option("--old", type=FILE, help="With --check of a --since proof: the older checkpoint.")
@TRUST_FILE
@click.option("--log-key", metavar="VKEY", help="The sealer's verifier key: name+hash+base64.")
@click.option("--origin", metavar="TEXT", help="First line of the checkpoints.")
def prove(
    *,
    seq: int | None,
    check_file: Path | None,
    since: int | None,
    source: str | None,
    with_line: bool,
    to_file: Path | None,
    line_file: Path | None,
    leaf: str | None,
    old: Path | None,
    trust_file: Path | None,
    log_key: str | None,
    origin: str | None,
) -> None:
    """Prove to outsiders that record SEQ is in the sealed log (C2SP tlog-proof), or check a proof.

    The proof goes to standard output or --to; what is not given comes from the settings.
    """
    from deployments import prove as verb
    from deployments import sources

    if [seq, check_file, since].count(None) != 2:  # noqa: PLR2004  one of three
        raise click.UsageError("expected one of SEQ, --since SIZE and --check FILE")
    if check_file is None and (line_file or leaf or old):
        raise click.UsageError("--line, --leaf and --old go with --check")
    if line_file and leaf:
        raise click.UsageError("expected --line or --leaf, not both")
    trust = sources.read_trust(trust_file, log_key, origin)
    if check_file is not None:
        sys.exit(verb.check(check_file, trust, line_file=line_file, leaf=leaf, old=old))
    log = sources.open_log(source)
    if since is not None:
        sys.exit(verb.growth(log, trust, since, to=to_file))
    sys.exit(verb.record(log, trust, seq or 0, with_line=with_line, to=to_file))
