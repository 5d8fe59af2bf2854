"""Whom servers run as: PostgreSQL refuses root."""

import os
from pathlib import Path

NOBODY = 65534
"""The uid and gid that servers run as when root starts them."""


def server_uid() -> int | None:
    """The uid that PostgreSQL must run as, when it may not be ours."""
    return NOBODY if os.geteuid() == 0 else None


def give_to_server(path: Path) -> None:
    """Make it the server's user's own, where that is another one than we are."""
    uid = server_uid()
    if uid is not None:
        os.chown(path, uid, uid, follow_symlinks=False)


def make_server_directory(directory: Path) -> None:
    """A private directory of the server's user."""
    directory.mkdir(mode=0o700, parents=True)
    give_to_server(directory)
