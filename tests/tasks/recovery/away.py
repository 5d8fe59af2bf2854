"""A place of backups that does not answer just now, as a whole or for one of its files."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tasks.clients.errors import Transient
from tasks.domain.backup_listing import Listed
from tasks.domain.backups import Place
from tasks.work.backup_places import BackupPlace

AT = datetime(2026, 3, 14, 2, tzinfo=UTC)
DUMP = b"--\n-- PostgreSQL database dump\n--\n"


class Away(BackupPlace):
    """A bucket. Without names it cannot be listed, with them one of its files cannot be read."""

    place = Place.STORE

    def __init__(self, root: str, prefix: str, names: Sequence[str] = (), unread: str = "") -> None:
        self.root = root
        self.prefix = prefix
        self._names = names
        self._unread = unread

    def listed(self) -> list[Listed]:
        if not self._names:
            raise Transient("the store did not answer")
        return [Listed(each, len(DUMP), AT) for each in self._names]

    def head(self, name: str, size: int) -> bytes:
        if name == self._unread:
            raise Transient("one read timed out")
        return DUMP[:size]

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        assert limit
        yield self.head(name, len(DUMP))
