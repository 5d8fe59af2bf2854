"""Time and disk of a restore are said before it begins, and from a drill when one has run."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.domain.backups import Backup, Format, Kind, Layer, Proof
from tasks.domain.errors import Refused
from tasks.domain.restore_estimate import (
    LOAD_RATE,
    Basis,
    duration,
    estimate,
    needs_instance,
    require_room,
    size,
)

AT = datetime(2026, 3, 14, 2, tzinfo=UTC)
ARCHIVE = Backup("a.dump", 100_000_000, "ab" * 32, 900_000, AT, trusted=True)


def test_without_a_drill_it_is_a_rule_of_thumb_and_says_so() -> None:
    found = estimate(ARCHIVE, 1_000_000, 500_000_000)
    assert found.basis is Basis.RULE
    assert 30 < found.seconds < 120
    assert "no drill has run" in str(found)
    assert found.here_bytes > ARCHIVE.size
    assert found.server_bytes > 500_000_000


def test_its_own_drill_is_believed_first_and_another_is_scaled_by_size() -> None:
    drilled = replace(ARCHIVE, proven=Proof(AT, 40.0, 900_000))
    twice = replace(ARCHIVE, key="b.dump", size=200_000_000)
    base = replace(drilled, kind=Kind.BASE, proven=Proof(AT, 1.0, 1))
    assert estimate(drilled, 1_000_000, None).seconds == 40.0
    assert estimate(twice, 1_000_000, None, [drilled, base]).seconds == 80.0
    assert "as this backup's own drill took" in str(estimate(drilled, 1_000_000, None))
    scaled = str(estimate(twice, 1_000_000, None, [drilled]))
    assert "of another backup, scaled by size" in scaled
    assert "then the carry-over, other tables and the swap" in scaled


@pytest.mark.parametrize(
    ("backup", "needs"),
    [
        (ARCHIVE, False),
        (replace(ARCHIVE, format=Format.DIRECTORY), False),
        (replace(ARCHIVE, trusted=False), True),
        (replace(ARCHIVE, format=Format.PLAIN), True),
        (replace(ARCHIVE, layers=(Layer.GPG,)), True),
        (replace(ARCHIVE, kind=Kind.CLUSTER_DUMP), True),
        (replace(ARCHIVE, kind=Kind.BASE), True),
    ],
)
def test_what_goes_through_an_instance_needs_more_disk(backup: Backup, *, needs: bool) -> None:
    assert needs_instance(backup) is needs
    plain = estimate(ARCHIVE, 1_000_000, 500_000_000)
    assert (estimate(backup, 1_000_000, 500_000_000).here_bytes > plain.here_bytes) is needs


def test_what_goes_through_an_instance_is_loaded_twice_more() -> None:
    straight = estimate(ARCHIVE, 1_000_000, 500_000_000)
    for detour in (replace(ARCHIVE, trusted=False), replace(ARCHIVE, kind=Kind.CLUSTER_DUMP)):
        found = estimate(detour, 1_000_000, 500_000_000)
        assert found.seconds - straight.seconds == pytest.approx(2 * 500_000_000 / LOAD_RATE)


def test_a_full_disk_is_found_before_the_start() -> None:
    require_room(10, 10, "/tmp")
    with pytest.raises(Refused, match=r"expected 2 GB free in /tmp.*found 340 MB.*TMPDIR"):
        require_room(2_000_000_000, 340_000_000, "/tmp")


def test_figures_are_for_people() -> None:
    assert [duration(each) for each in (0.2, 42, 750, 9_000)] == ["1 s", "42 s", "12 min", "2.5 h"]
    assert [size(each) for each in (900, 12_000, 3_400_000, 5 * 10**12)] == [
        *("0.9 kB", "12 kB"),
        *("3.4 MB", "5 TB"),
    ]
