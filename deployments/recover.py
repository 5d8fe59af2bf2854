"""`runbook recover [SOURCE]`: the audit log out of the object store, whole and proven."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deployments import sources, terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.ledger import Finding, Trust
from tasks.domain.ledger.legacy_keys import MAX_KEY_BYTES, LegacyKey
from tasks.domain.ledger.legacy_manifest import MAX_MANIFEST_BYTES, parse_manifest
from tasks.domain.ledger.verdicts import INFORMATIONAL
from tasks.domain.log_rebuild import ranges_in_words
from tasks.domain.untrusted import visible
from tasks.sections.files import read_bytes
from tasks.settings import settings
from tasks.work.kept_notes import kept_notes
from tasks.work.log_mirror import Done
from tasks.work.log_recovery import Ending, Proof, Recovery, Watch, recover
from tasks.work.recovery_sources import Source

_SHOWN = 20
_SHOWN_MARKS = 150
_EXIT = {
    Ending.VERIFIED: GOOD,
    Ending.PLANNED: GOOD,
    Ending.LOST: BAD,
    Ending.UNCLEAR: COULD_NOT_TELL,
    Ending.STOPPED: COULD_NOT_TELL,
}
_MEANS = {
    Ending.VERIFIED: "All of it, up to the confirmed end, is in the target, as it was written.",
    Ending.PLANNED: "Nothing was fetched or proven.",
    Ending.LOST: "What is named here is, as it was written, in none of the copies that could be "
    "looked at. Find another copy, or a backup of the database; what is in the target is kept as "
    "far as it goes.",
    Ending.UNCLEAR: "What was fetched is in the target; do not rely on it until this is settled.",
    Ending.STOPPED: "What was fetched is whole. Make room and run the same command again.",
}
_LOST_UNNAMED = (
    "Records are lost or altered, or the log is not the one that was kept; which ones could not be "
    "told: see the reason. Find another copy, or a backup of the database; what is in the target "
    "is kept as far as it goes."
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line names; None and empty: see the settings."""

    source: str | None
    target: Path
    dry_run: bool
    trust_file: Path | None
    log_key: str | None
    origin: str | None
    table: str | None
    public_key: Path | None
    password_file: Path | None
    manifest: Path | None
    head: str | None
    workers: int
    json_file: Path | None


def run(options: Options) -> int:
    """Recover, say what came of it, write the JSON; the exit code."""
    proof = _proof(options)
    source = Source.parse(options.source, settings().store)
    with _shown() as watch:
        found = recover(
            source,
            options.target,
            settings().store,
            proof,
            progress=watch,
            dry_run=options.dry_run,
        )
    _print(found)
    terminal.write_json(options.json_file, found.as_json())
    no_room = found.ending is Ending.PLANNED and found.reason
    return COULD_NOT_TELL if no_room else _EXIT[found.ending]


def _proof(options: Options) -> Proof:
    key = options.public_key or settings().ledger.legacy_key_file
    password, manifest = options.password_file, options.manifest
    trust = _trust(options)
    notes, unread = _kept_notes(trust)
    database = settings().database
    is_set = "reader_dsn" in database.model_fields_set
    ours = database.reader_dsn.get_secret_value() if is_set else ""
    return Proof(
        trust=trust,
        notes=notes,
        unread=unread,
        table_dsn=options.table or ours,
        public_key=LegacyKey.parse(read_bytes(key, MAX_KEY_BYTES)) if key else None,
        password=read_bytes(password, MAX_KEY_BYTES).rstrip(b"\r\n") if password else None,
        manifest=parse_manifest(read_bytes(manifest, MAX_MANIFEST_BYTES)) if manifest else None,
        head=options.head,
        workers=options.workers,
    )


def _kept_notes(trust: Trust | None) -> tuple[tuple[str, ...], str]:
    """The head that the responder keeps, where the settings name its database."""
    if trust is None or "dsn" not in settings().responder.model_fields_set:
        return (), ""
    return kept_notes(trust)


def _trust(options: Options) -> Trust | None:
    """Whom to believe; None when nobody is named, which a legacy log does not need."""
    ledger = settings().ledger
    named = options.trust_file or options.log_key or options.origin
    if not named and ledger.trust_file is None and not ledger.log_key:
        return None
    return sources.read_trust(options.trust_file, options.log_key, options.origin)


@contextmanager
def _shown() -> Iterator[Watch]:
    """Progress on the terminal; a pipe gets none."""
    began = time.monotonic()
    with Console(stderr=True).status("listing") as status:
        yield Watch(
            lambda done: status.update(_in_words(done, time.monotonic() - began)),
            lambda done, due: status.update(f"verifying: {done:,} of {due:,} records hashed"),
        )


def _in_words(done: Done, seconds: float) -> str:
    due = f"{done.files_due:,}" if done.listed else f"at least {done.files_due:,}"
    text = f"{done.files:,} of {due} objects, {_size(done.bytes)} of {_size(done.bytes_due)}"
    shares = [
        part / whole
        for part, whole in ((done.files, done.files_due), (done.bytes, done.bytes_due))
        if whole
    ]
    share = sum(shares) / len(shares) if shares else 0.0
    if not share or not done.listed:
        return text
    return f"{text}, {seconds / share - seconds:,.0f} s to go"


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - SI
            return f"{amount:,.0f} {unit}"
        amount /= 1000
    return f"{amount:,.2f} GB"


def _print(found: Recovery) -> None:
    console = terminal.console()

    def say(text: str) -> None:
        console.print(text, markup=False)

    done, mends = found.mirrored, found.mends
    is_named = bool(mends.lost or mends.lost_files)
    means = _MEANS[found.ending] if is_named or found.ending is not Ending.LOST else _LOST_UNNAMED
    console.print(f"[bold]{found.ending.value}[/bold]  {means}")
    say(f"source      {visible(found.source)}")
    if found.days:
        say(f"copies      {len(found.days)} by day, {found.days[0]} to {found.days[-1]}")
    say(f"target      {visible(found.target)}, {_size(found.free_bytes)} free")
    verb = "to fetch" if found.ending is Ending.PLANNED else "fetched"
    say(
        f"objects     {done.fetched:,} {verb} ({_size(done.fetched_bytes)}), "
        f"{done.unchanged:,} unchanged ({_size(done.unchanged_bytes)})"
    )
    if found.verdict is not None:
        verdict = found.verdict
        say(f"verdict     {verdict.status.value}, {verdict.records:,} records hashed")
        if verdict.root:
            say(f"signed head {visible(verdict.origin)}, size {verdict.signed:,}")
    if found.manifest:
        say(f"manifest    {visible(found.manifest)}")
    if found.reason:
        say(f"reason      {visible(found.reason, 1000)}")
    if mends.lost:
        say(f"lost        records {ranges_in_words(mends.lost, 200)}")
    _list(say, "lost", mends.lost_files)
    against = found.verdict.findings if found.verdict is not None else ()
    _list(say, "found", [_told(each) for each in against if each.code not in INFORMATIONAL])
    _list(say, "put right", [f"{each.path}: {each.why}, from {each.source}" for each in mends.put])
    refused = [f"{_escaped(each.key)}: {each.why}" for each in done.refused]
    _list(say, "refused", refused, done.refused_count)
    _list(say, "not brought", [f"{each.path}: {each.reason}" for each in done.failed])
    _list(say, "set aside", [f"{old} is now {new}" for old, new in done.aside])
    _list(say, "left as is", mends.left)
    _list(say, "not ours", done.extra)
    _list(say, "not listed any more, and kept", done.gone)


def _list(
    say: Callable[[str], None], what: str, lines: Sequence[str], count: int | None = None
) -> None:
    """`count`: how many there are, where not all are kept."""
    if not lines:
        return
    count = len(lines) if count is None else count
    say(f"{what} ({count:,}):")
    for line in lines[:_SHOWN]:
        say(f"  {visible(line, _SHOWN_MARKS * 2)}")
    if count > _SHOWN:
        say(f"  and {count - _SHOWN:,} more: see --json")


def _told(finding: Finding) -> str:
    where = ""
    if finding.first is not None:
        end = finding.first + finding.count
        where = f" records {ranges_in_words([(finding.first, end)])}"
    return f"{finding.code}{where}{f': {finding.detail}' if finding.detail else ''}"


def _escaped(key: str) -> str:
    return ascii(key)[1:-1][:_SHOWN_MARKS]
