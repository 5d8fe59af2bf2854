"""Any backup made loadable: an archive that pg_restore takes into production's server.

An archive that somebody we trust has signed is taken as it is, out of its layers. Everything else
(plain SQL, a dump of all databases, whatever no signature vouches for) is loaded into a throw-away
instance by a role without rights, screened, and dumped again by us: dumps can run code, and what
ran there is thrown away with its instance.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.clients import dump_tools, postgres, script_loader
from tasks.clients.gpg import Gpg
from tasks.clients.instance_limits import RESERVE_BYTES, Limits
from tasks.clients.postgres_instance import Instance, throwaway
from tasks.clients.server_user import give_to_server, make_server_directory, server_uid
from tasks.domain.backup_formats import Recognised
from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.pace import Told, pace
from tasks.domain.screening import Reference, needed_grants
from tasks.domain.sql_script import Script
from tasks.settings import Settings
from tasks.work.content_digest import content_digest
from tasks.work.instance_place import instance_place
from tasks.work.recovery import TABLE, has_readable_table, needed_privileges
from tasks.work.redumping import redump
from tasks.work.screening import read_reference, screen, shipped_reference
from tasks.work.unwrapping import as_bad_input, unwrapped, write_whole
from tasks.work.whole_archives import require_whole

_ARCHIVES = frozenset({Format.CUSTOM, Format.TAR})
_LOADER = "runbook_loader"
_SCHEMA_DATABASE = "runbook_reference"
_LOAD_SECONDS = 3600.0
_CHUNK = 1024 * 1024
_GROWTH = 3  # a table with its indexes and the archive made of it, against its text
_PACKED_GROWTH = 12  # against text that is compressed
_LEAST_ROOM = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """Something that pg_restore can load, and what must be known about it.

    `digest`: SHA-256 (hex) of what was fetched, layers and all; of a directory, of the list of its
    files' digests. `notes`: what was left out and why, for plan and report. `rows`: per table, as
    the dump names it, where the load has counted them.
    """

    path: Path
    format: Format
    digest: str
    notes: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What may come out of a dump that nobody vouches for, and how its layers are opened.

    `production` is a read-only DSN: code and grants that it has may stay, and so may what
    `schema_file` makes, and the table grants in `needed` (role -> privileges).
    """

    database: str
    production: str = field(default="", repr=False)
    schema_file: Path | None = None
    needed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gpg: Gpg | None = None
    timeout_seconds: float = 5.0


def rules_of(settings: Settings) -> Rules:
    """The rules that the settings make."""
    database = settings.database
    gpg = None
    if database.gpg_program and database.gpg_home is not None:
        gpg = Gpg(database.gpg_program, database.gpg_home, database.gpg_passphrase_file)
    return Rules(
        database=database.name,
        production=database.reader_dsn.get_secret_value(),
        schema_file=database.schema_file,
        needed=needed_privileges(database),
        gpg=gpg,
        timeout_seconds=database.timeout_seconds,
    )


def archive_for(
    backup: Backup,
    fetched: Path,
    directory: Path,
    *,
    binaries: Path | None,
    rules: Rules,
    progress: Told | None = None,
) -> Loaded:
    """An archive (custom, directory or tar) with the content of a fetched backup.

    `fetched` has its layers on; a digest that a trusted manifest names was compared when it was
    fetched. What is made lies in `directory`, which is private. Production is only read.

    Raises BadInput for what is no whole dump (with the line), NotProven for damage and for a dump
    of another database, Refused for a bomb or a lack of room, Malformed when a statement of the
    dump fails, Denied and NotFound for gpg and programs, Transient when time ran out.
    """
    digest = backup.sha256 if backup.trusted else content_digest(fetched)
    found, content = Recognised(Format.DIRECTORY), iter(list[bytes]())
    if not fetched.is_dir():
        found, content = unwrapped(fetched, rules.gpg)
    if found.kind not in {Kind.DUMP, Kind.CLUSTER_DUMP} or found.format is Format.UNKNOWN:
        raise as_bad_input(fetched, found)
    path = fetched
    if found.format in _ARCHIVES and found.layers:
        path = directory / f"{digest}.archive"
        path.unlink(missing_ok=True)
        write_whole(content, path)
    require_whole(path, found.format)
    if found.format is not Format.PLAIN and backup.trusted:
        dump_tools.list_archive(path, binaries=binaries)  # a broken one is found out first of all
        return Loaded(path, found.format, digest)
    load = _Load(backup, rules, directory, binaries, progress)
    if found.format is Format.PLAIN:
        return load.through_instance(digest, fetched, content, packed=bool(found.layers))
    try:
        return load.archive_through_instance(digest, path)
    finally:
        if path != fetched:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Load:
    """One load by way of a throw-away instance."""

    backup: Backup
    rules: Rules
    directory: Path
    binaries: Path | None
    progress: Told | None

    def archive_through_instance(self, digest: str, archive: Path) -> Loaded:
        """An archive, read by a user who may read nothing else, as the text that it stands for."""
        with instance_place("reading", disk_bytes=0) as place:
            readable = _given_to_server(archive, place) if archive.is_dir() else archive
            with dump_tools.archive_as_script(
                readable,
                timeout_seconds=_LOAD_SECONDS,
                binaries=self.binaries,
                uid=server_uid(),
            ) as text:
                content = iter(lambda: text.read(_CHUNK), b"")
                return self.through_instance(digest, archive, content, packed=True)

    def through_instance(
        self, digest: str, source: Path, content: Iterator[bytes], *, packed: bool
    ) -> Loaded:
        """The text, loaded, screened unless it is trusted, and dumped in directory format."""
        size = _size(source) * (_PACKED_GROWTH if packed else _GROWTH)
        free = shutil.disk_usage(self.directory).free - RESERVE_BYTES
        with (
            instance_place("loading", disk_bytes=size + _LEAST_ROOM) as place,
            throwaway(
                place, binaries=self.binaries, limits=Limits(disk_bytes=max(free, _LEAST_ROOM))
            ) as instance,
        ):
            instance.create_role(_LOADER)
            instance.create_database(self.rules.database, _LOADER)
            owner = instance.dsn(self.rules.database, _LOADER)
            load = self._run(instance, owner, content, 0 if packed else _size(source))
            with postgres.connect(owner, timeout_seconds=10) as connection:
                if not has_readable_table(connection):
                    raise NotProven(
                        f"expected table {TABLE} with seq, record and leaf in {self.backup.key}, "
                        "found none: it is a dump of something else; choose another backup; "
                        "production is untouched"
                    )
            notes = load.notes
            if not self.backup.trusted:
                notes = [*notes, *screen(owner, self._reference(instance)).notes]
            path = redump(instance, owner, place, self.directory / f"{digest}.loaded")
        return Loaded(path, Format.DIRECTORY, digest, tuple(notes), dict(load.rows))

    def _run(
        self, instance: Instance, owner: str, content: Iterator[bytes], due: int
    ) -> script_loader.Load:
        target = script_loader.Target(
            owner, instance.dsn(self.rules.database), self.rules.database, seconds=_LOAD_SECONDS
        )
        try:
            return script_loader.load_script(Script(content), target, self._teller(due))
        except BadInput as error:
            raise BadInput(
                f"{self.backup.key}: {error}: choose another backup; production is untouched"
            ) from error

    def _teller(self, due: int) -> Callable[[int], None] | None:
        """Counts what goes over; `due` is 0 where nobody knows how much will come."""
        progress = self.progress
        if progress is None:
            return None
        began, done = time.monotonic(), 0

        def tell(size: int) -> None:
            nonlocal done
            done += size
            what = f"{done / 1e6:,.0f} MB of {self.backup.key[-80:]} loaded to look at it"
            progress(pace(what, done, due, time.monotonic() - began))

        return tell

    def _reference(self, instance: Instance) -> Reference:
        """Everything that is known: production's, the shipped schema's, what the settings need."""
        rules = self.rules
        known = needed_grants(TABLE, rules.needed)
        if rules.schema_file is not None:
            instance.create_database(_SCHEMA_DATABASE, _LOADER)
            known = known.joined(
                shipped_reference(
                    rules.schema_file,
                    instance.dsn(_SCHEMA_DATABASE, _LOADER),
                    instance.dsn(_SCHEMA_DATABASE),
                )
            )
        if rules.production:
            known = known.joined(
                read_reference(rules.production, timeout_seconds=rules.timeout_seconds)
            )
        return known


def _given_to_server(archive: Path, place: Path) -> Path:
    """A copy of a directory archive that the server's user can read: plain files, nothing else."""
    copy = place / "archive"
    make_server_directory(copy)
    for each in sorted(archive.iterdir()):
        if each.is_symlink() or not each.is_file():
            raise BadInput(
                f"expected plain files in {archive.name}, found {each.name!r}: choose another "
                "backup; production is untouched"
            )
        shutil.copyfile(each, copy / each.name)
        give_to_server(copy / each.name)
    return copy


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir())
    return path.stat().st_size
