"""The share that a restore has done, from what pg_restore says and has read."""

import os
import subprocess
import time
from pathlib import Path

from tasks.clients.restore_progress import LOOK_SECONDS, Progress

CONTENTS = """;
; Archive created at 2026-03-14 02:00:00 UTC
219; 1259 16388 TABLE public audit_records owner
2576; 0 16388 TABLE DATA public audit_records owner
2426; 2606 16403 CONSTRAINT public audit_records audit_records_pkey owner
2424; 1259 16404 INDEX public audit_records_event_type owner
"""


def test_what_programs_below_have_read_counts_first(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(10_000_000))
    half = tmp_path / "half"
    half.write_bytes(bytes(5_000_000))
    progress = Progress(archive, CONTENTS)

    with subprocess.Popen(
        ["sh", "-c", 'cat "$0" -; :', half], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.read(5_000_000)
        began = time.monotonic()
        share = progress.share(reader.pid)
        again = progress.share(reader.pid)
        took = time.monotonic() - began
        reader.communicate()

    assert share is not None
    assert 0.35 <= share < 0.4
    assert again is None or took > LOOK_SECONDS  # too soon


def test_after_the_data_what_is_finished_counts(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(10_000_000))
    progress = Progress(archive, CONTENTS)

    progress.heard("pg_restore: finished item 2576 TABLE DATA audit_records")
    progress.heard("pg_restore: creating TABLE x")
    progress.heard("pg_restore: finished item 2426 CONSTRAINT audit_records audit_records_pkey")

    assert progress.share(os.getpid()) == 0.85


def test_an_empty_archive_is_done_at_once(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(b"")

    assert Progress(archive, "").share(2**22 + 1) == 1.0  # nothing to read, nothing to build
