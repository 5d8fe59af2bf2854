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
from tasks.domain.roles import Role
from tasks.domain.untrusted import visible

_MESSAGE_LIMIT = 2000
_JSON = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here."
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TRUST_FILE = click.option(
    "--trust",
    "trust_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy in TOML: keys, witnesses, quorum, a head that was kept.",
)
_POLICY_FILE = click.option(
    "--policy",
    "policy_file",
    type=_FILE,
    help="Default: RUNBOOK_GATEWAY__POLICY_FILE, else the shipped one.",
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
@_TRUST_FILE
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
@click.option("--public-key", type=_FILE, help="Legacy layout: the logger's RSA key (PEM).")
@click.option("--password-file", type=_FILE, help="Legacy layout: of encrypted files.")
@click.option("--manifest", type=_FILE, help="Legacy layout: sha256sum of all files, kept apart.")
@click.option("--head", metavar="HEX", help="Legacy layout: hash of the last event, kept apart.")
@_JSON
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


@cli.command()
@click.option("--log", type=click.Choice(["audit", "journal"]), default="audit", show_default=True)
@_JSON
def seal(*, log: str, json_file: Path | None) -> None:
    """Have new records sealed now, and verify the signed and witnessed head."""
    from deployments import seal as verb

    sys.exit(verb.run(log, json_file))


@cli.command()
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


@cli.command()
@click.argument("seq", type=click.IntRange(0), required=False)
@click.option("--check", "check_file", type=_FILE, help="Verify this proof instead, offline.")
@click.option(
    "--since", type=click.IntRange(0), help="Prove that nothing before this size changed."
)
@click.option("--log", "source", metavar="SOURCE", help="A directory or s3://bucket/prefix.")
@click.option("--with-line", is_flag=True, help="Enclose the record itself: personal data.")
@click.option("--to", "to_file", type=click.Path(dir_okay=False, path_type=Path), help="New file.")
@click.option("--line", "line_file", type=_FILE, help="With --check: the record's line.")
@click.option("--leaf", metavar="HEX", help="With --check: the record's leaf hash.")
@click.option("--old", type=_FILE, help="With --check of a --since proof: the older checkpoint.")
@_TRUST_FILE
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


@cli.group()
def bundle() -> None:
    """Make a bundle of proofs for an auditor, or verify one, offline."""


@bundle.command("make")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--log", "source", metavar="SOURCE", help="A directory or s3://bucket/prefix.")
@click.option("--records", default="", metavar="A-B[,C...]", help="Records to prove one by one.")
@click.option("--with-lines", is_flag=True, help="Enclose the records themselves: personal data.")
@click.option("--full", is_flag=True, help="Enclose all leaf hashes: the root is computed anew.")
@_TRUST_FILE
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
@click.argument("path", type=click.Path(path_type=Path))
@_TRUST_FILE
@click.option("--key", "keys", multiple=True, metavar="VKEY", help="name+hash+base64; repeatable.")
@click.option("--origin", metavar="TEXT", help="The log's name, if not the key's name.")
@_JSON
def bundle_verify(
    *,
    path: Path,
    trust_file: Path | None,
    keys: tuple[str, ...],
    origin: str | None,
    json_file: Path | None,
) -> None:
    """Verify a bundle with the program that is enclosed in it as verify.py.

    Exit 3: it holds, but only under the keys that the bundle itself brings along.
    """
    from deployments import bundle as verb

    sys.exit(
        verb.verify(path, trust_file=trust_file, keys=keys, origin=origin, json_file=json_file)
    )


@cli.group()
def policy() -> None:
    """What does an alert start? Show, test and replay the routing policy."""


@policy.command("show")
def policy_show() -> None:
    """Print the shipped policy, which explains itself: one's own begins from it."""
    from tasks.domain.policy import shipped_text

    click.echo(shipped_text(), nl=False)


@policy.command("test")
@click.argument("tests", nargs=-1, type=_FILE)
@_POLICY_FILE
@_JSON
def policy_test(
    *, tests: tuple[Path, ...], policy_file: Path | None, json_file: Path | None
) -> None:
    """Decide example alerts and compare with what TESTS expect (default: the shipped examples).

    Exit 1: at least one is decided otherwise.
    """
    from deployments import policy as verb

    sys.exit(verb.run_examples(tests, policy_file, json_file))


@policy.command("replay")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@_POLICY_FILE
@click.option("--against", type=_FILE, help="Show what this policy would make differently.")
@_JSON
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


@cli.command()
@click.argument("incident")
@_GATEWAY
@_TOKEN_FILE
def acknowledge(*, incident: str, gateway: str | None, token_file: Path | None) -> None:
    """Say that you have seen the incident."""
    from deployments import console, saying

    sys.exit(saying.acknowledge(console.connect(gateway, token_file), incident))


@cli.command()
@click.argument("incident")
@click.option("--reason", required=True, help="Why it is over.")
@_GATEWAY
@_TOKEN_FILE
def close(*, incident: str, reason: str, gateway: str | None, token_file: Path | None) -> None:
    """End an incident by hand; its report is written then."""
    from deployments import console, saying

    sys.exit(saying.close(console.connect(gateway, token_file), incident, reason))


@cli.command()
@click.argument("scope")
@click.option("--reason", required=True, help="Why changes must wait, or may go on.")
@click.option("--review", default="1h", show_default=True, help="30m, 2h, 1d or an ISO instant.")
@click.option("--lift", is_flag=True, help="Let the changes go on.")
@click.option("--incident", help="Whose hold it is.  [default: the one that holds every change]")
@_GATEWAY
@_TOKEN_FILE
def hold(
    *,
    scope: str,
    reason: str,
    review: str,
    lift: bool,
    incident: str | None,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Refuse every change of SCOPE, such as database/rlhf_audit, or '*' for everything."""
    from deployments import console, saying

    client = console.connect(gateway, token_file)
    if lift:
        sys.exit(saying.lift(client, incident, scope, reason))
    sys.exit(saying.hold(client, incident, scope, reason, review))


@cli.group()
def token() -> None:
    """Who may see, respond and decide: tokens of people. Needs RUNBOOK_RESPONDER__DSN."""


@token.command("new")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--days", type=click.IntRange(1, 365), help="Validity.  [default: 90]")
@click.option(
    "--out",
    "out_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the token, readable by you alone; default: standard output.",
)
@click.option("--change-role", is_flag=True, help="A known person gets this role from now on.")
@click.option("--no-token", is_flag=True, help="No token: the trusted proxy brings them in.")
def token_new(
    *,
    name: str,
    role: str,
    days: int | None,
    out_file: Path | None,
    change_role: bool,
    no_token: bool,
) -> None:
    """Make a token for the person NAME; it is shown once, only its hash is kept."""
    from deployments import token as verb

    if no_token and (days or out_file):
        raise click.UsageError("--days and --out go with a token")
    if no_token:
        sys.exit(verb.add_proxied(name, role, change_role=change_role))
    sys.exit(verb.new(name, role, days, out=out_file, change_role=change_role))


@token.command("list")
@_JSON
def token_list(*, json_file: Path | None) -> None:
    """People, roles, validity and last use; no secrets."""
    from deployments import token as verb

    sys.exit(verb.show(json_file))


@token.command("revoke")
@click.argument("name")
def token_revoke(*, name: str) -> None:
    """End all tokens and logins of NAME at once, and their way through the proxy."""
    from deployments import token as verb

    sys.exit(verb.revoke(name))


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
