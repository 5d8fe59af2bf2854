"""The diagnosis of a database: what is seen on one side, what is wrong and who is ended beside."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_diagnosis import assess, diagnose
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_plan import plan_database_remedy, why_manual
from tasks.domain.database_readings import (
    Archiver,
    Backups,
    Checkpoints,
    Database,
    DatabaseReadings,
    Disk,
    DiskSample,
    Prepared,
    Replication,
    Slot,
    Standby,
    Table,
    Unread,
)
from tasks.domain.errors import BadInput
from tasks.domain.mending import to_mend
from tasks.domain.observation import Health
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.severity import Severity
from tasks.domain.signals import keys_in
from tests.domain.database_sessions import NOW, ago, idle, readings, session

LIMITS = Limits()
TARGET = "database/rlhf_audit"


def causes(seen: DatabaseReadings, limits: Limits = LIMITS) -> dict[str, Cause]:
    return {each.code: each for each in diagnose(seen, TARGET, limits)}


def only(seen: DatabaseReadings, limits: Limits = LIMITS) -> Cause:
    (found,) = diagnose(seen, TARGET, limits)
    return found


def ended(cause: Cause) -> list[int]:
    return [key.pid for key in keys_in(cause.remedy.arguments)[1]] if cause.remedy else []


def waiter(pid: int, *blockers: int, seconds: float = 30) -> Any:
    return session(pid, blocked_by=blockers, query_start=ago(seconds), wait="Lock: relation")


def many(count: int, **how: Any) -> list[Any]:
    return [idle(1000 + number, how.pop("seconds", 3600), **how) for number in range(count)]


def test_a_healthy_server_has_no_cause() -> None:
    assert diagnose(readings(session(1), session(2)), TARGET, LIMITS) == ()


# Locks


def test_a_storm_names_its_root_and_ends_only_that() -> None:
    root = idle(1, 60, "idle in transaction", user="audit_migrator", query="ALTER TABLE t")
    found = only(readings(root, waiter(2, 1), waiter(3, 2), waiter(4, 1, 2)))
    assert (found.code, found.confidence) == ("db.lock-storm", Confidence.PROVEN)
    assert ended(found) == [1]
    assert "3 sessions wait" in found.summary
    assert "pid 1 of audit_migrator" in found.summary
    assert found.evidence["roots"][0]["query"] == "ALTER TABLE t"
    assert found.remedy is not None
    assert found.remedy.step == TERMINATE


def test_a_wait_that_is_short_is_no_storm_and_exactly_the_bound_is_one() -> None:
    root = session(1)
    assert diagnose(readings(root, waiter(2, 1, seconds=9.9)), TARGET, LIMITS) == ()
    assert only(readings(root, waiter(2, 1, seconds=10))).code == "db.lock-storm"


@pytest.mark.parametrize(
    "why", ["a superuser", "a backup", "replication", "autovacuum worker", "a protected role"]
)
def test_a_root_that_is_protected_is_named_and_not_ended(why: str) -> None:
    found = only(readings(session(1, protected=why), waiter(2, 1)))
    assert found.remedy is None
    assert f"which is {why} and is not ended by us" in found.summary
    assert "a person must ask" in why_manual(found)


def test_of_two_roots_only_the_one_that_may_be_is_ended() -> None:
    found = only(readings(session(1, protected="a backup"), session(2), waiter(3, 1), waiter(4, 2)))
    assert ended(found) == [2]
    assert found.evidence["waiting"] == 2


def test_a_prepared_transaction_at_the_root_is_for_who_coordinates_it() -> None:
    seen = readings(waiter(2, 0), prepared=(Prepared("tx-7", "billing", "rlhf_audit", ago(50)),))
    found = only(seen)
    assert found.remedy is None
    assert "a prepared transaction (tx-7) blocks 1" in found.summary


def test_a_blocker_that_has_gone_is_not_ended() -> None:
    found = only(readings(waiter(2, 99)))
    assert (found.code, found.remedy) == ("db.lock-storm", None)


def test_a_circle_is_left_to_postgresql() -> None:
    found = only(readings(waiter(1, 2), waiter(2, 1)))
    assert (found.code, found.confidence) == ("db.lock-circle", Confidence.POSSIBLE)
    assert found.remedy is None


def test_more_roots_than_one_plan_may_end_are_ended_up_to_the_bound() -> None:
    roots = [session(pid) for pid in range(1, 31)]
    waiting = [waiter(100 + pid, pid) for pid in range(1, 31)]
    assert len(ended(only(readings(*roots, *waiting)))) == LIMITS.signalled_at_once


# Connections


def test_exhausted_connections_name_the_leak_and_end_what_idles_of_it() -> None:
    leaked = many(180, user="dashboard")
    found = only(readings(*leaked, *[session(pid) for pid in range(1, 13)]))
    assert (found.code, found.confidence) == ("db.connections-exhausted", Confidence.PROVEN)
    assert "192 of 192" in found.summary
    assert found.evidence["by_user"] == {"dashboard": 180, "audit_api": 12}
    assert found.evidence["by_state"] == {"idle": 180, "active": 12}
    assert found.evidence["leaking"] == "dashboard"
    assert len(ended(found)) == 100
    assert found.remedy is not None
    assert found.remedy.step == RELIEVE


def test_open_transactions_are_ended_before_idle_sessions_and_the_oldest_first() -> None:
    leaked = [idle(1000 + number, 2000 + number, user="d") for number in range(170)]
    held = [idle(10 + number, 400 + number, "idle in transaction", user="d") for number in range(9)]
    found = causes(readings(*leaked, *held, *[session(pid) for pid in range(300, 313)]))
    order = ended(found["db.connections-exhausted"])
    assert order[:9] == [18, 17, 16, 15, 14, 13, 12, 11, 10]
    assert order[9:12] == [1169, 1168, 1167]


@pytest.mark.parametrize(
    ("share", "at_most", "expected"), [(0.5, 100, 90), (0.8, 30, 30), (1.0, 200, 175)]
)
def test_relief_is_bounded_by_share_by_number_and_by_what_stays(
    share: float, at_most: int, expected: int
) -> None:
    seen = readings(*many(180, user="d"), *[session(pid) for pid in range(1, 13)])
    limits = replace(LIMITS, relief_share=share, relief_at_most=at_most)
    assert len(ended(only(seen, limits))) == expected


def test_few_leaked_sessions_are_none_to_end_at_all() -> None:
    few = [idle(1000 + number, 3600, user="d") for number in range(4)]
    found = only(readings(*few, *[session(pid) for pid in range(1, 189)]))
    assert (found.code, found.remedy) == ("db.connections-exhausted", None)
    assert "find out who opens so many" in found.summary


def test_sessions_that_idle_for_a_short_time_are_not_leaked() -> None:
    short = [idle(1000 + number, 899, user="d") for number in range(192)]
    assert only(readings(*short)).remedy is None


def test_protected_idle_sessions_are_never_ended() -> None:
    kept = many(192, user="postgres", protected="a superuser")
    assert only(readings(*kept)).remedy is None


def test_a_crowd_short_of_the_limit_is_likely_unless_a_login_was_refused() -> None:
    seen = readings(*many(174, user="d"))
    assert only(seen).confidence is Confidence.LIKELY
    assert only(replace(seen, refused_for_slots=True)).confidence is Confidence.PROVEN
    assert diagnose(readings(*many(172, user="d")), TARGET, LIMITS) == ()


def test_connections_that_pile_up_behind_a_lock_are_not_the_cause() -> None:
    waiting = [waiter(pid, 1) for pid in range(2, 193)]
    found = diagnose(readings(session(1), *waiting), TARGET, LIMITS)
    assert [each.code for each in found] == ["db.lock-storm", "db.connections-exhausted"]
    assert found[1].confidence is Confidence.POSSIBLE
    assert found[1].remedy is None
    assert to_mend(found) == found[0]


def test_background_processes_and_our_own_look_take_nobodys_connection() -> None:
    others = [session(pid, kind="autovacuum worker", state="") for pid in range(500, 600)]
    own = session(1, protected="our own session")
    assert diagnose(readings(*others, own, *many(150, user="d")), TARGET, LIMITS) == ()


def test_a_transaction_that_idles_is_mentioned_and_left_alone() -> None:
    found = only(readings(idle(1, 300, "idle in transaction")))
    assert (found.code, found.confidence) == ("db.idle-in-transaction", Confidence.POSSIBLE)
    assert (found.remedy, to_mend((found,))) == (None, None)


# Slow queries


def test_slow_queries_are_cancelled_the_oldest_first() -> None:
    found = only(
        readings(
            session(1, query_start=ago(61)),
            session(2, query_start=ago(600), user="analyst", query="SELECT a FROM b"),
            session(3, query_start=ago(59)),
        )
    )
    assert (found.code, found.confidence) == ("db.slow-queries", Confidence.LIKELY)
    assert ended(found) == [2, 1]
    assert "pid 2 of analyst: SELECT a FROM b" in found.summary


@pytest.mark.parametrize(
    "seen",
    [
        idle(1, 600),
        idle(1, 100, "idle in transaction"),
        session(1, query_start=ago(600), kind="walsender"),
        session(1, query_start=ago(600), protected="a backup"),
        session(1, query_start=None),
    ],
)
def test_what_idles_serves_or_is_protected_is_not_slow(seen: Any) -> None:
    assert diagnose(readings(seen), TARGET, LIMITS) == ()


def test_who_waits_for_a_lock_or_holds_one_is_not_called_slow_too() -> None:
    found = causes(readings(session(1, query_start=ago(600)), waiter(2, 1, seconds=500)))
    assert set(found) == {"db.lock-storm"}


# The server's own upkeep


def _disk(*used: float, seconds: float = 1000, capacity: float | None = None) -> Disk:
    first = ago(seconds)
    at = [first, NOW][: len(used)]
    samples = tuple(DiskSample(when, int(size * GIB)) for when, size in zip(at, used, strict=True))
    return Disk(samples, None if capacity is None else int(capacity * GIB))


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (_disk(10, 10, capacity=20), None),
        (_disk(17, 17, capacity=20), Confidence.PROVEN),
        (_disk(16.9, 16.9, capacity=20), None),
        (_disk(9, 10, capacity=20), Confidence.PROVEN),  # full in three hours
        (_disk(10, 9, capacity=20), None),
        (_disk(9, 10), None),
        (_disk(8, 10), Confidence.POSSIBLE),
        (_disk(10), None),
        (_disk(9, 10, seconds=0), None),
        (Disk(()), None),
    ],
)
def test_a_disk_is_filling_by_share_by_rate_or_not(disk: Disk, expected: Confidence | None) -> None:
    found = causes(readings(disk=disk)).get("db.disk-filling")
    assert (found.confidence if found else None) == expected
    if found:
        assert found.remedy is None
        assert "a person must make room" in why_manual(found)


def test_the_time_until_the_disk_is_full_is_said() -> None:
    disk = _disk(9, 10, capacity=20)
    assert disk.seconds_to_full == pytest.approx(10_000)
    found = only(readings(disk=disk))
    assert "10.0 GiB in use of 20.0 GiB (50%), growing by 3.60 GiB an hour, full in 2.8 h" in (
        found.summary
    )


@pytest.mark.parametrize(
    ("change", "code", "confidence", "says"),
    [
        (
            {"replication": Replication((Standby("b", "10.0.0.2", "streaming", 2 * GIB),), ())},
            "db.replication-lag",
            Confidence.LIKELY,
            "standby b at 10.0.0.2 is 2.0 GiB behind",
        ),
        (
            {"replication": Replication((), (Slot("old", False, 6 * GIB, "extended"),))},
            "db.slot-retains-wal",
            Confidence.LIKELY,
            "nobody reads it) keeps 6.0 GiB",
        ),
        (
            {"replication": Replication((), (Slot("s", True, None, "lost"),))},
            "db.slot-retains-wal",
            Confidence.LIKELY,
            "slot s (lost, active)",
        ),
        (
            {"archiver": Archiver(9, 4, ago(60), ago(5), "0000000100000000000000AB")},
            "db.archiver-failing",
            Confidence.PROVEN,
            "WAL 0000000100000000000000AB cannot be archived (4 failures)",
        ),
        (
            {"archiver": Archiver(0, 4, None, ago(5), "W")},
            "db.archiver-failing",
            Confidence.PROVEN,
            "W cannot",
        ),
        (
            {"checkpoints": Checkpoints(5, 12, ago(3600))},
            "db.checkpoints-forced",
            Confidence.POSSIBLE,
            "max_wal_size (1.0 GiB) is small",
        ),
        (
            {"databases": (Database("d", "o", True, 1, 0, -1, 1_000_000_000, 5),)},
            "db.wraparound",
            Confidence.LIKELY,
            "of d is 1,000,000,000 old",
        ),
        (
            {"databases": (Database("d", "o", True, 1, 0, -1, 5, 1_700_000_000),)},
            "db.wraparound",
            Confidence.PROVEN,
            "of d is 1,700,000,000 old",
        ),
        (
            {"tables": (Table("public.t", GIB, 100_000, 200_000, None),)},
            "db.bloat",
            Confidence.POSSIBLE,
            "public.t holds 200,000 dead rows",
        ),
        (
            {"prepared": (Prepared("g", "o", "d", ago(3600)),)},
            "db.prepared-transactions",
            Confidence.POSSIBLE,
            "g of o in d",
        ),
        (
            {"backups": Backups(Health.FAILED, "none is usable")},
            "db.backups",
            Confidence.POSSIBLE,
            "backups: none is usable",
        ),
    ],
)
def test_each_ailment_has_its_code_its_confidence_and_no_remedy_of_ours(
    change: dict[str, Any], code: str, confidence: Confidence, says: str
) -> None:
    found = only(readings(**change))
    assert (found.code, found.confidence, found.remedy) == (code, confidence, None)
    assert says in found.summary


@pytest.mark.parametrize(
    "change",
    [
        {"replication": Replication((Standby("b", "h", "streaming", GIB - 1),), ())},
        {"replication": Replication((), (Slot("s", True, 50 * GIB, "extended"),))},
        {"replication": Replication((), (Slot("s", False, None, "reserved"),))},
        {"archiver": Archiver(9, 4, ago(5), ago(60), "W")},
        {"checkpoints": Checkpoints(0, 9, None)},
        {"checkpoints": Checkpoints(13, 12, None)},
        {"tables": (Table("t", 1, 300_000, 200_000, None),)},
        {"tables": (Table("t", 1, 0, 99_999, None),)},
        {"backups": Backups(Health.UNKNOWN, "not looked at")},
    ],
)
def test_what_is_within_its_bounds_is_no_cause(change: dict[str, Any]) -> None:
    assert diagnose(readings(**change), TARGET, LIMITS) == ()


def test_archiving_that_is_off_does_not_fail() -> None:
    server = readings().server
    off = replace(server, is_archiving=False)  # type: ignore[type-var]  # a part of the fields
    seen = readings(server=off, archiver=Archiver(0, 4, None, ago(5), "W"))
    assert diagnose(seen, TARGET, LIMITS) == ()


# What could not be read, and what follows


def test_a_server_that_is_away_is_all_that_is_said() -> None:
    found = only(DatabaseReadings(NOW, unreachable="no answer"))
    assert (found.code, found.confidence) == ("db.unreachable", Confidence.PROVEN)
    assert "a person must" in why_manual(found)


PARTS = ("server", "databases", "sessions", "prepared", "statements", "replication")
MORE_PARTS = ("archiver", "checkpoints", "tables", "disk", "backups")


@pytest.mark.parametrize("part", [*PARTS, *MORE_PARTS])
def test_a_part_that_could_not_be_read_hides_no_other(part: str) -> None:
    seen = readings(
        session(1),
        waiter(2, 1),
        archiver=Archiver(0, 4, None, ago(5), "W"),
        **{part: Unread("permission denied")} if part not in {"sessions", "archiver"} else {},
    )
    if part in {"sessions", "archiver"}:
        seen = replace(seen, **{part: Unread("permission denied")})  # type: ignore[arg-type]  # a field
    found = set(causes(seen))
    expected = {"db.lock-storm", "db.archiver-failing"}
    hidden = {"sessions": {"db.lock-storm"}, "archiver": {"db.archiver-failing"}}
    hidden["server"] = {"db.archiver-failing"}
    assert found == expected - hidden.get(part, set())
    assert seen.unread() == {part: "permission denied"}


def test_a_look_that_saw_nothing_at_all_finds_nothing_and_says_what_is_unknown() -> None:
    seen = DatabaseReadings(NOW)
    assert diagnose(seen, TARGET, LIMITS) == ()
    assert set(seen.unread()) == {*PARTS, *MORE_PARTS}


def test_users_who_wait_make_it_urgent() -> None:
    storm = diagnose(readings(session(1), waiter(2, 1)), TARGET, LIMITS)
    found = assess(storm)
    assert found is not None
    assert (found.severity, found.rule) == (Severity.P1, "class.p1.api-errors")
    assert assess(diagnose(readings(session(1, query_start=ago(99))), TARGET, LIMITS)) is None


def test_hostile_names_stay_text() -> None:
    root = session(1, user="'; DROP", application="<b>&", query="${jndi:x}")
    found = only(readings(root, waiter(2, 1)))
    plan = plan_database_remedy("INC-1", found, datetime(2026, 3, 3, tzinfo=NOW.tzinfo))
    assert plan.steps[0].target == TARGET
    assert plan.observed["sessions"][0]["user"] == "'; DROP"


# The plan


def test_a_plan_to_end_blockers_cancels_first_and_names_every_session_under_its_hash() -> None:
    found = only(readings(session(1), session(2), waiter(3, 1), waiter(4, 2)))
    plan = plan_database_remedy("INC-1", found, datetime(2026, 3, 3, tzinfo=NOW.tzinfo))
    assert [step.step for step in plan.steps] == [CANCEL, TERMINATE]
    assert not plan.destroys_nothing
    assert [each["pid"] for each in plan.observed["sessions"]] == [1, 2]
    other = replace(plan, observed={**plan.observed, "sessions": plan.observed["sessions"][:1]})
    assert other.hash != plan.hash
    assert type(plan).from_json(plan.as_json()) == plan


def test_relief_is_one_step() -> None:
    found = only(readings(*many(192, user="d")))
    plan = plan_database_remedy("INC-1", found, datetime(2026, 3, 3, tzinfo=NOW.tzinfo))
    assert [step.step for step in plan.steps] == [RELIEVE]


def test_what_has_no_remedy_has_no_plan() -> None:
    found = only(readings(waiter(2, 99)))
    with pytest.raises(BadInput, match=r"expected a remedy of db\.lock-storm"):
        plan_database_remedy("INC-1", found, NOW)
