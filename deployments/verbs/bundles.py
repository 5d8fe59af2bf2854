"""Verbs of an auditor's bundle: bundle make, bundle verify."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import JSON, TRUST_FILE


@click.group()
def bundle() -> None:
    """Make a bundle of proofs for an auditor, or verify one, offline."""


@bundle.command("make")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--log", "source", metavar="SOURCE", help="A directory or s3://bucket/prefix.")
@click.option("--records", default="", metavar="A-B[,C...]", help="Records to prove one by one.")
@click.option("--with-lines", is_flag=True, help="Enclose the records themselves: personal data.")
@click.option("--full", is_flag=True, help="Enclose all leaf hashes: the root is computed anew.")
@TRUST_FILE
@click.option("--log-key", metavar="VKEY", help="The sealer's verifier key: name+hash+base64.")
@click.option("--origin", metavar="TEXT", help="First line of the checkpoints.")
def bundle_make(
    *,
    target: Path,
    source: str | None,
    records: str,
    with_lines: bool,
    full: bool,
    trust_file: Path | None,
    log_key: str | None,
    origin: str | None,
) -> None:
    """Write proofs about the sealed log to the new directory or .zip file TARGET.

    It verifies the log first and says how it was found. What is not given comes from the settings.
    """
    from deployments import bundle as verb
    from deployments import sources

    trust = sources.read_trust(trust_file, log_key, origin)
    sys.exit(verb.make(target, source, trust, records=records, with_lines=with_lines, full=full))


@bundle.command("verify")
@click.argument("path", metavar="PATH")
@TRUST_FILE
@click.option("--key", "keys", multiple=True, metavar="VKEY", help="name+hash+base64; repeatable.")
@click.option("--origin", metavar="TEXT", help="The log's name, if not the key's name.")
@click.option(
    "--custody",
    "heads",
    multiple=True,
    metavar="ENTRIES:HASH",
    help="Of evidence: a head of its custody log that was kept elsewhere; repeatable.",
)
@click.option(
    "--roots",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of evidence: PEM file of the certificates of time-stamp authorities.",
)
@JSON
def bundle_verify(
    *,
    path: str,
    trust_file: Path | None,
    keys: tuple[str, ...],
    origin: str | None,
    heads: tuple[str, ...],
    roots: Path | None,
    json_file: Path | None,
) -> None:
    """Verify a bundle, with the program that is enclosed in it as verify.py, or a bag of evidence.

    PATH of a bag is a directory, or s3://bucket/prefix where it was sealed. Without --key the
    responder's own key counts, if it is here. Exit 3: it holds, but only under the keys that it
    brings along itself.
    """
    from deployments import bundle as verb
    from deployments import evidence_bag

    if evidence_bag.is_one(path):
        sys.exit(
            evidence_bag.verify(path, keys=keys, heads=heads, roots=roots, json_file=json_file)
        )
    sys.exit(
        verb.verify(
            Path(path), trust_file=trust_file, keys=keys, origin=origin, json_file=json_file
        )
    )
