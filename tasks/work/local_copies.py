"""Files of a log that were set aside in the target, and that may be the only good copy left.

One that stands where another object must go is renamed, in its folder, to its name and `.found-`
with the beginning of its SHA-256. The proof then reads it like an older version of the file: it
counts where the signed tree, or a manifest, says that it is what was written.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import takewhile

from tasks.clients.local_folder import LocalFile, LocalFolder
from tasks.domain.errors import BadInput
from tasks.domain.local_paths import is_of_a_log
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_versions import KeptVersion, LogVersions

_MARK = "found-"
_MARK_DIGITS = 12
_ASIDE = re.compile(rf"(?P<path>.+)\.(?P<mark>{_MARK}[0-9a-f]{{{_MARK_DIGITS}}})", re.ASCII)


def set_aside(folder: LocalFolder, path: str, found: LocalFile) -> str:
    """Make way for what goes to `path`: the file there, which is `found`, is renamed; its path."""
    return folder.set_aside(path, f"{_MARK}{found.sha256[:_MARK_DIGITS]}", found)


class LocalCopies:
    """The versions that the source keeps, and behind them what was set aside in the target.

    `local`: paths in the target that may have been set aside, in this run or an earlier one.
    `missed`: objects that could not be brought: of those the newest version is like any older one.
    """

    def __init__(
        self,
        versions: LogVersions,
        folder: LocalFolder,
        local: Iterable[str],
        missed: Collection[str],
    ) -> None:
        self._versions = versions
        self._missed = missed
        self._log = DirectoryLog(folder.root)
        self._aside = sorted(_kept_aside(folder, local), key=lambda each: each.path)
        self._names = {(each.path, each.version_id) for each in self._aside}

    def are_kept(self) -> bool:
        """Whether the source keeps what is written over."""
        return self._versions.are_kept()

    def below(self, prefix: str) -> list[KeptVersion]:
        """Those of the source, then those that were set aside."""
        listed = [
            replace(each, is_latest=False)
            if each.path in self._missed and not each.is_marker
            else each
            for each in self._versions.below(prefix)
        ]
        start = bisect_left(self._aside, prefix, key=lambda each: each.path)
        behind = takewhile(lambda each: each.path.startswith(prefix), self._aside[start:])
        return [*listed, *behind]

    def read(self, path: str, version_id: str, limit: int) -> bytes:
        """The content of one of them."""
        if (path, version_id) in self._names:
            return self._log.read(f"{path}.{version_id}", limit)
        return self._versions.read(path, version_id, limit)

    def current(self, path: str) -> tuple[str, str] | None:
        """As the source says."""
        return self._versions.current(path)

    def write_over(self, path: str, data: bytes, etag: str) -> None:
        """As the source does."""
        self._versions.write_over(path, data, etag)


def _kept_aside(folder: LocalFolder, local: Iterable[str]) -> Iterable[KeptVersion]:
    for each in local:
        match = _ASIDE.fullmatch(each)
        if match is None or not is_of_a_log(match["path"]):
            continue
        try:
            found = folder.look(each)
        except BadInput:  # a link, or no plain file
            continue
        if found is not None:
            yield KeptVersion(
                match["path"], match["mark"], found.size, is_latest=False, is_marker=False
            )
