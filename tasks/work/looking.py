"""Fetching backups one after another to look into them, each in a private place of its own."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from tasks.clients.errors import ClientError, Transient
from tasks.clients.gpg import Gpg
from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backup_search import LookInside
from tasks.domain.backups import Backup, Format
from tasks.domain.errors import BadInput, NotProven, Refused
from tasks.work.backup_contents import Signed, look_inside, signed_by
from tasks.work.content_digest import content_digest
from tasks.work.log_heads import Head
from tasks.work.recovery import Site
from tasks.work.scratch import private_scratch
from tasks.work.unwrapping import unwrapped, write_whole

Fetch = Callable[[Backup, Path], Path]
"""Brings a backup into a directory; proven by its manifest, layers still on it."""

_WHY_LIMIT = 300


def looking(site: Site, head: Head, fetch: Fetch, gpg: Gpg | None = None) -> LookInside:
    """How the planner looks into backups: fetched, compared with the signed leaves, removed.

    A backup that is corrupt, cannot be decrypted, is replaced meanwhile, or unpacks to more than
    there is room for is unreadable, and the others are looked into; a store that does not answer
    is an error, because trying again may help. Each backup is fetched once.
    """

    @cache
    def signed() -> Signed:
        return signed_by(site.log, head)

    @cache
    def look(backup: Backup) -> Contents:
        compared_with = signed()  # an error of the log's own says nothing about the backup
        with private_scratch(site.incident) as directory:
            try:
                fetched = fetch(backup, directory)
                digest = "" if backup.trusted else content_digest(fetched)
                found = _inside(site, backup, fetched, compared_with, gpg)
                return replace(found, digest=digest)
            except Transient:
                raise
            except (ClientError, NotProven, BadInput, Refused) as error:
                return Contents(Inside.UNREADABLE, why=str(error)[:_WHY_LIMIT])

    return look


def _inside(site: Site, backup: Backup, path: Path, signed: Signed, gpg: Gpg | None) -> Contents:
    look = partial(
        look_inside,
        signed=signed,
        database=site.names.production,
        at_least=backup.log_size,
        binaries=site.binaries,
    )
    if not backup.layers:
        return look(path, backup.format)
    found, content = unwrapped(path, gpg)
    if found.format is Format.PLAIN:
        return look(content, Format.PLAIN)
    inner = path.with_name("inner")
    write_whole(content, inner)
    return look(inner, found.format)
