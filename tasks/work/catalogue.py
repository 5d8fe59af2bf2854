"""The backup catalogue: what there is, in every place that is configured, and what it is worth.

Only the first bytes of each file are read, in parallel; what a backup is says its content. A backup
is trusted when a manifest beside it (`X.manifest`) is signed by a key that we trust; one without is
listed as it is, `trusted` False. Whatever is of no use is listed with the reason, because on call
one wants to know both.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.clients.object_store import ObjectStore
from tasks.clients.pod_exec import Pod
from tasks.domain.backup_formats import (
    HEAD_BYTES,
    Recognised,
    recognise,
    recognise_directory,
)
from tasks.domain.backup_listing import Item, Shape, items
from tasks.domain.backups import Backup, Format, Kind, Layer, Proof, key_within, read_manifest
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.ledger import NoteVerifier, open_note
from tasks.domain.pgbackrest import backups_in
from tasks.settings import Settings, settings
from tasks.work import drill_records
from tasks.work.backup_places import BackupPlace, DirectoryPlace, PodPlace, StorePlace
from tasks.work.base_backups import list_base, wal_archive
from tasks.work.responder import ResponderAway

_MANIFEST_BYTES = 16 * 1024
_INFO_BYTES = 4 * 1024 * 1024
_MOST_LOOKED_INTO = 2000  # the newest of each place that have no manifest beside them
_MOST_AWAY = 20  # files that may not answer before their place counts as away
_KEY_SHOWN = 200
_ODD = (RunbookError, OSError, ValueError, OverflowError)
"""What a file or place that somebody made odd may lead to: it fails alone, the others are shown."""


def places(now: Settings) -> list[BackupPlace]:
    """Where to look: the object store, its other places, a directory, the pod."""
    store, database = now.store, now.database
    client = ObjectStore(store)
    found: list[BackupPlace] = [
        StorePlace(client, store.backups_bucket, store.database_prefix),
        *(StorePlace(client, *_bucket_and_prefix(each)) for each in store.more_backups),
    ]
    if database.backup_directory is not None:
        found.append(DirectoryPlace(database.backup_directory))
    if database.pod:
        pod = Pod.parse(database.pod)
        found.append(PodPlace(now.kubernetes, pod, database.pod_directory))
    return found


def verifiers(now: Settings) -> list[NoteVerifier]:
    """Whose signature on a manifest counts: the backups' own key, else the sealer's."""
    ledger = now.ledger
    if ledger.backup_key:
        return [NoteVerifier.parse(ledger.backup_key)]
    return [each.verifier for each in ledger.read_trust().log_keys]


def list_all(proofs: Mapping[str, Proof] | None = None) -> list[Backup]:
    """Every backup of every place that the settings name, oldest first.

    `proofs`: what drills have shown; asked of the responder if not given, and unproven is all while
    it is away. Raises Transient when no place answers for a moment.
    """
    if proofs is None:
        try:
            proofs = drill_records.proven()
        except ResponderAway:
            proofs = {}
    now = settings()
    keys = verifiers(now)
    opens = bool(now.database.gpg_program)
    listed = list_places(places(now), keys, proofs, opens_gpg=opens)
    bases = [replace(each, proven=proofs.get(each.identity)) for each in _bases(now, keys)]
    return sorted([*listed, *bases], key=_order)


def list_places(
    asked: Sequence[BackupPlace],
    keys: Sequence[NoteVerifier],
    proofs: Mapping[str, Proof],
    *,
    opens_gpg: bool,
) -> list[Backup]:
    """Every backup of these places, oldest first; `proofs` by SHA-256 or identity.

    A place that cannot be listed is an entry with the reason. Raises Transient when that is so of
    all of them, for a moment: reading again may succeed.
    """
    found: list[Backup] = []
    failed: list[Transient] = []
    for place in asked:
        try:
            found += look_at(place, keys)
        except Transient as error:
            failed.append(error)
            found.append(_unlisted(place, error))
        except _ODD as error:
            found.append(_unlisted(place, error))
    if failed and len(failed) == len(asked):
        raise failed[0]
    told = [_told(each, proofs, opens_gpg=opens_gpg) for each in found]
    return sorted(told, key=_order)


def _bases(now: Settings, keys: Sequence[NoteVerifier]) -> list[Backup]:
    """Base backups, and how far archived WAL brings them."""
    store = now.store
    bucket, client = store.backups_bucket, ObjectStore(store)
    try:
        archive = wal_archive(client, bucket, store.wal_prefix)
        return list_base(client, bucket, store.base_prefix, keys, archive)
    except (ClientError, BadInput) as error:
        return [_unlisted(StorePlace(client, bucket, store.base_prefix), error)]


def _told(backup: Backup, proofs: Mapping[str, Proof], *, opens_gpg: bool) -> Backup:
    """With what is known of it elsewhere: a drill's proof, and whether we can open it."""
    if Layer.GPG in backup.layers and not backup.unusable and not opens_gpg:
        reason = "encrypted by gpg: set RUNBOOK_DATABASE__GPG_PROGRAM and its GPG_HOME"
        return replace(backup, unusable=reason)
    return replace(backup, proven=proofs.get(backup.identity))


def _unlisted(place: BackupPlace, error: Exception) -> Backup:
    reason = f"cannot be listed: {str(error)[:300]}"
    return Backup(
        place.prefix,
        unusable=reason,
        format=Format.UNKNOWN,
        place=place.place,
        root=place.root,
        away=True,
    )


def look_at(place: BackupPlace, keys: Sequence[NoteVerifier]) -> list[Backup]:
    """Every backup of one place, by key. Raises ClientError when it cannot be listed.

    A file that does not answer is an entry that says so (`away`). Raises Transient when many do
    not: then the place does not.
    """
    listed = items(place.listed())
    old = _old(listed)
    found: list[Backup] = []
    with ThreadPoolExecutor(place.parallel) as pool:
        for some in pool.map(lambda each: _looked(place, keys, each, old=each.name in old), listed):
            found += some
            if sum(each.away for each in found) > _MOST_AWAY:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Transient(f"more than {_MOST_AWAY} files: {found[-1].unusable}")
    return found


def _old(listed: Sequence[Item]) -> set[str]:
    """Names that are not looked into. Those with a manifest always are, lest junk hides them."""
    bare = [each for each in listed if not each.manifest]
    newest = sorted(bare, key=lambda item: item.modified.timestamp() if item.modified else 0.0)
    return {item.name for item in newest[:-_MOST_LOOKED_INTO]}


def _looked(
    place: BackupPlace, keys: Sequence[NoteVerifier], item: Item, *, old: bool
) -> list[Backup]:
    bare = Backup(
        place.prefix + item.name,
        item.size,
        taken_at=item.modified,
        format=Format.UNKNOWN,
        place=place.place,
        root=place.root,
    )
    try:
        key_within(place.prefix, bare.key)
        if old:
            reason = f"older than the newest {_MOST_LOOKED_INTO} of its place: not looked into"
            return [replace(bare, unusable=reason)]
        if not item.files:
            return [replace(bare, unusable="the manifest's dump is missing")]
        if item.shape is Shape.REPOSITORY:
            return _repository(place, item, bare)
        return [_single(place, keys, item, bare)]
    except Transient as error:
        return [replace(bare, unusable=f"does not answer: {str(error)[:300]}", away=True)]
    except _ODD as error:
        return [replace(bare, key=_shown(bare.key), unusable=str(error)[:300])]


def _shown(key: str) -> str:
    """The key as it can be written anywhere: other bytes than UTF-8 and controls are escaped."""
    return key if key.isprintable() else repr(key[:_KEY_SHOWN])[1:-1]


def _single(place: BackupPlace, keys: Sequence[NoteVerifier], item: Item, bare: Backup) -> Backup:
    seen = _recognised(place, item)
    backup = replace(bare, kind=seen.kind, format=seen.format, layers=seen.layers)
    if item.manifest and item.shape is Shape.FILE:
        try:
            note = place.head(item.manifest, _MANIFEST_BYTES).decode("utf-8")
            said = read_manifest(open_note(note, keys), bare.key)
        except (BadInput, NotFound, UnicodeDecodeError) as error:
            return replace(backup, unusable=f"bad manifest: {str(error)[:300]}")
        if said.size != item.size:
            reason = f"expected {said.size} bytes (manifest), found {item.size}"
            return replace(backup, unusable=reason)
        backup = replace(
            backup,
            sha256=said.sha256,
            log_size=said.log_size,
            taken_at=said.taken_at,
            trusted=True,
        )
    return replace(backup, unusable=_useless(seen))


def _useless(seen: Recognised) -> str:
    if seen.kind is Kind.BASE:
        return "a base backup without a signed manifest beside it"
    if seen.format is Format.UNKNOWN and not seen.sealed:
        return f"not a backup that is known here: {seen}"
    return ""


def _recognised(place: BackupPlace, item: Item) -> Recognised:
    files = item.names

    def head_of(name: str, most: int = HEAD_BYTES) -> bytes:
        return place.head(files[name].name, most) if files[name].size else b""

    if item.shape is Shape.DIRECTORY:
        return recognise_directory(files, head_of)
    return recognise(head_of(item.name), lambda most: head_of(item.name, most))


def _repository(place: BackupPlace, item: Item, bare: Backup) -> list[Backup]:
    bare = replace(bare, kind=Kind.REPOSITORY)
    if "backup.info" not in item.names:
        return [replace(bare, unusable="WAL of a pgBackRest repository")]
    stanza = item.name.rpartition("/")[2]
    return [
        replace(
            bare,
            key=f"{bare.key}/{each.label}",
            size=each.size,
            taken_at=each.ended_at,
            unusable="pgBackRest itself restores it: "
            f"pgbackrest --stanza={stanza} --set={each.label} restore",
        )
        for each in backups_in(place.head(item.names["backup.info"].name, _INFO_BYTES))
    ]


def _bucket_and_prefix(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    return bucket, prefix


def _order(backup: Backup) -> tuple[float, str]:
    return backup.taken_at.timestamp() if backup.taken_at else 0.0, backup.key
