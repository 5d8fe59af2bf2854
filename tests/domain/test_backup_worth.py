"""Whether backups are sound, and what is said to be missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.backup_worth import judge
from tasks.domain.backups import Backup, Kind, Proof
from tasks.domain.observation import Health

NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)
PROOF = Proof(NOW - timedelta(hours=11), 30.0, 42_000)
GOOD = Backup(
    "a.dump", 9_000, "ab" * 32, 42_000, NOW - timedelta(hours=12), trusted=True, proven=PROOF
)
OLD = replace(GOOD, key="old.dump", taken_at=NOW - timedelta(days=3))
UNSIGNED = replace(GOOD, key="b.sql", trusted=False, proven=None, taken_at=NOW)


@pytest.mark.parametrize(
    ("backups", "health", "said"),
    [
        ([], Health.FAILED, "none is there"),
        ([replace(GOOD, unusable="bad manifest")], Health.FAILED, "bad manifest"),
        ([replace(GOOD, kind=Kind.REPOSITORY)], Health.FAILED, "no usable backup"),
        ([GOOD], Health.HEALTHY, "the newest of 2026-11-22 02:00Z (a.dump), proven"),
        ([OLD, GOOD, UNSIGNED], Health.HEALTHY, "3 usable, the newest of 2026-11-22 02:00Z"),
        ([OLD], Health.DEGRADED, "older than 26 h"),
        ([OLD, UNSIGNED], Health.DEGRADED, "older than 26 h"),
        ([UNSIGNED], Health.DEGRADED, "none has a signed manifest; no drill has proven"),
        ([replace(GOOD, proven=None)], Health.DEGRADED, "no drill has proven any"),
        ([replace(GOOD, proven=None), OLD], Health.HEALTHY, "proven"),
        (
            [replace(GOOD, proven=replace(PROOF, at=NOW - timedelta(days=9)))],
            Health.DEGRADED,
            "the last drill that passed was 2026-11-13",
        ),
        (
            [replace(OLD, kind=Kind.BASE, covers_until=NOW - timedelta(minutes=5))],
            Health.HEALTHY,
            "the newest of 2026-11-22 13:55Z",
        ),
        ([replace(GOOD, taken_at=None)], Health.DEGRADED, "older than 26 h"),
    ],
)
def test_backups_are_judged_by_what_is_missing_from_a_sound_one(
    backups: list[Backup], health: Health, said: str
) -> None:
    found, text = judge(backups, NOW)

    assert found is health, text
    assert said in text
