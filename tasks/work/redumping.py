"""An archive of our own making, of what is in a throw-away instance."""

import shutil
from pathlib import Path

from tasks.clients.postgres_instance import Instance
from tasks.clients.server_user import make_server_directory

_JOBS = 2
_SECONDS = 3600.0


def redump(instance: Instance, dsn: str, place: Path, target: Path) -> Path:
    """The database of `dsn` as a directory archive at `target`, by way of the instance's `place`.

    Uncompressed: it is read once, and soon.
    """
    made = place / "made"
    make_server_directory(made)
    instance.run(
        "pg_dump",
        *("--format=directory", f"--jobs={_JOBS}", "--compress=none", "--no-sync"),
        *(f"--file={made / 'archive'}", "--no-publications", "--no-subscriptions"),
        f"--dbname={dsn}",
        seconds=_SECONDS,
    )
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(made / "archive", target)
    return target
