"""What doctor says of WAL archiving."""

from datetime import timedelta

import pytest

from tasks.domain.archiving import Archiver, judge
from tasks.domain.observation import Health

SEGMENT = "000000010000000000000042"


@pytest.mark.parametrize(
    ("seen", "health", "said"),
    [
        (Archiver(on=False), Health.DEGRADED, "no point in time"),
        (Archiver(on=False), Health.DEGRADED, "RPO a day"),
        (Archiver(on=True), Health.FAILED, "no segment was ever archived"),
        (
            Archiver(
                on=True,
                failures=3,
                last_failed_segment=SEGMENT,
                last_failure_age=timedelta(seconds=5),
            ),
            Health.FAILED,
            f"3 failures, the last of {SEGMENT}",
        ),
        (
            Archiver(on=True, last_segment=SEGMENT, last_age=timedelta(minutes=5)),
            Health.HEALTHY,
            f"last segment {SEGMENT} 5 min ago",
        ),
        (
            Archiver(
                on=True,
                failures=1,
                last_segment=SEGMENT,
                last_age=timedelta(hours=3),
                last_failure_age=timedelta(seconds=9),
            ),
            Health.FAILED,
            "9 s ago: it fails now",
        ),
        (
            Archiver(
                on=True,
                failures=1,
                last_segment=SEGMENT,
                last_age=timedelta(seconds=9),
                last_failure_age=timedelta(days=3),
            ),
            Health.HEALTHY,
            "1 failures",
        ),
    ],
)
def test_archiving_is_judged_by_what_would_come_back(
    seen: Archiver, health: Health, said: str
) -> None:
    found, text = judge(seen)

    assert found is health
    assert said in text
