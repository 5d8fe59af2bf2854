"""What WAL archiving means for recovery: whether there is a point in time, and how much is lost."""

from dataclasses import dataclass
from datetime import timedelta

from tasks.domain.observation import Health


@dataclass(frozen=True, slots=True)
class Archiver:
    """`pg_stat_archiver`, and whether `archive_mode` is on. Ages are None for what never was."""

    on: bool
    failures: int = 0
    last_segment: str = ""
    last_age: timedelta | None = None
    last_failed_segment: str = ""
    last_failure_age: timedelta | None = None


def judge(seen: Archiver) -> tuple[Health, str]:
    """Degraded without archiving, Failed when it is wanted and does not happen."""
    if not seen.on:
        text = (
            "off: no point in time; tables other than the audit log come back as of the newest "
            "dump, so RPO a day"
        )
        return Health.DEGRADED, text
    failed = ""
    if seen.failures:
        failed = f", {seen.failures} failures, the last of {seen.last_failed_segment or '?'}"
    if seen.last_age is None:
        return Health.FAILED, f"on, but no segment was ever archived{failed}"
    last = f"on, last segment {seen.last_segment} {_ago(seen.last_age)} ago{failed}"
    if seen.last_failure_age is not None and seen.last_failure_age < seen.last_age:
        return Health.FAILED, f"{last} {_ago(seen.last_failure_age)} ago: it fails now"
    return Health.HEALTHY, last


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    if seconds < 120:  # noqa: PLR2004  two minutes, hours and days: then the next unit says more
        return f"{seconds} s"
    if seconds < 7200:  # noqa: PLR2004
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"  # noqa: PLR2004
