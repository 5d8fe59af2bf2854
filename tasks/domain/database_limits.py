"""From where on the diagnosis of a database calls something a cause, and how much it may end."""

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in seconds, shares (0 to 1) and bytes; the first group comes from the settings.

    `relief_share` and `relief_at_most`: of a leaking role's sessions at most this share, and never
    more than this number, are ended at once; `relief_keeps` of them stay whatever happens.
    A disk fills that is `full_share` full, or will be whole `full_within_seconds` by a growth that
    was watched for `watched_seconds`; by a shorter look it may, within `full_soon_seconds`.
    """

    lock_wait_seconds: float = 10.0
    slow_query_seconds: float = 60.0
    idle_in_transaction_seconds: float = 300.0
    idle_seconds: float = 900.0
    relief_share: float = 0.8
    relief_at_most: int = 100
    relief_keeps: int = 5
    full_share: float = 0.85
    full_within_seconds: float = 86_400.0

    crowded_share: float = 0.9
    watched_seconds: float = 600.0
    full_soon_seconds: float = 3600.0
    growth_per_second: float = GIB / 600
    lag_bytes: int = GIB
    retained_bytes: int = 5 * GIB
    xid_age: int = 1_000_000_000
    xid_age_failsafe: int = 1_600_000_000
    forced_checkpoints: int = 10
    dead_rows: int = 100_000
    prepared_seconds: float = 3600.0
    signalled_at_once: int = 20
