"""A pgBackRest repository's own list of backups."""

from datetime import UTC, datetime

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.pgbackrest import RepositoryBackup, backups_in

INFO = b"""[backrest]
backrest-format=5
backrest-version="2.54"

[backup:current]
20261122-020000F={"backrest-format":5,"backup-info-repo-size":2048,"backup-info-size":31457280,"backup-timestamp-start":1795312800,"backup-timestamp-stop":1795312807,"backup-type":"full"}
20261122-020000F_20261123-020000I={"backup-info-size":512,"backup-timestamp-stop":1795399207}

[db]
db-id=1
20261124-020000F={"no":"backup"}
"""


def test_the_backups_that_it_names_are_listed_with_time_and_size() -> None:
    assert backups_in(INFO) == [
        RepositoryBackup("20261122-020000F", datetime.fromtimestamp(1795312807, UTC), 2048),
        RepositoryBackup(
            "20261122-020000F_20261123-020000I", datetime.fromtimestamp(1795399207, UTC), 512
        ),
    ]


def test_a_repository_without_backups_is_empty() -> None:
    assert backups_in(b"[backrest]\nbackrest-format=5\n") == []


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (b"Salted__xxxx", "encrypted"),
        (b"\xff\xfe", "text"),
        (b"[other]\n", r"section \[backrest\]"),
        (INFO.replace(b"1795312807", b'"soon"'), "time and size"),
        (INFO.replace(b"1795312807", b"9" * 30), "time and size"),
        (INFO.replace(b'{"backrest-format":5', b"{"), "time and size"),
        (INFO.replace(b"2048", b"null"), "time and size"),
    ],
)
def test_what_is_no_list_is_refused_with_the_reason(info: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        backups_in(info)


def test_labels_that_are_none_are_passed_over() -> None:
    assert backups_in(INFO.replace(b"20261122-020000F=", b"../../etc=")) == backups_in(INFO)[1:]
