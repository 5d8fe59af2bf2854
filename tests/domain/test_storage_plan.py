"""How much more room is asked for, and when a claim is not touched at all."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_plan import fits, plan_database_remedy, planned_claim, why_manual
from tasks.domain.database_readings import (
    DatabaseReadings,
    Disk,
    DiskSample,
    Trend,
    Unread,
)
from tasks.domain.errors import BadInput
from tasks.domain.mending import to_mend
from tasks.domain.plan import Plan
from tasks.domain.pod_volumes import Mount, mount_of, only_claim, read_mounts
from tasks.domain.pods import Condition
from tasks.domain.storage import RESIZE_PENDING, Claim, StorageClass
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import (
    STORAGE,
    ClaimKey,
    StoragePolicy,
    next_size,
    storage_of,
    storage_remedial,
)
from tests.domain.database_instances import instance
from tests.domain.database_sessions import NOW, readings, session

POLICY = StoragePolicy(1.5, 10 * GIB, 200 * GIB, 86_400)
CLAIM = Claim("data-postgresql-0", "7", "Bound", "fast", 20 * GIB, 20 * GIB, ())
FAST = StorageClass("fast", expandable=True)
TARGET = "database/rlhf_audit"
PENDING = Condition(RESIZE_PENDING, "True", "", "", NOW)


def disk(share: float, trend: Trend | None = None, capacity: int = 20 * GIB) -> Disk:
    used = round(capacity * share)
    looks = (DiskSample(NOW - timedelta(seconds=1), used), DiskSample(NOW, used))
    return Disk(looks, capacity, trend)


def full(**changes: object) -> DatabaseReadings:
    known = {"disk": disk(0.92), "storage": storage_of(CLAIM, FAST, 18 * GIB, 0.0, POLICY, "/data")}
    return readings(**(known | changes))


def filling(seen: DatabaseReadings) -> Cause:
    return next(each for each in diagnose(seen, TARGET, Limits()) if each.code == "db.disk-filling")


def planned(seen: DatabaseReadings) -> Plan:
    return plan_database_remedy("INC-1", filling(seen), NOW + timedelta(hours=1))


# How much


@pytest.mark.parametrize(
    ("capacity", "used", "rate", "expected"),
    [
        (20, 18, 0, 30),  # by the step
        (100, 90, 0, 150),  # by the factor
        (20, 18, 1 / 3600, 66),  # a GiB an hour: room for two days
        (180, 170, 0, 200),  # our bound is less, and helps
        (200, 190, 0, 300),  # our bound is reached: what would be wanted, which is refused
    ],
)
def test_a_claim_gets_the_step_the_factor_or_room_for_its_growth(
    capacity: int, used: int, rate: float, expected: int
) -> None:
    claim = replace(CLAIM, capacity=capacity * GIB, requested=capacity * GIB)
    assert next_size(claim, used * GIB, rate * GIB, POLICY) == expected * GIB


@given(
    st.integers(1, 2**50), st.integers(0, 2**50), st.floats(-1e9, 1e9), st.floats(1, 10),
    st.integers(1, 2**45), st.integers(1, 2**51),
)  # fmt: skip
def test_nothing_ever_shrinks_and_our_bound_is_never_passed(
    capacity: int, used: int, rate: float, factor: float, step: int, most: int
) -> None:
    claim = replace(CLAIM, capacity=capacity, requested=capacity)
    found = storage_of(claim, FAST, used, rate, StoragePolicy(factor, step, most, 86_400))
    assert found.wanted > capacity
    remedy = storage_remedial(found, TARGET)
    assert (remedy is not None) == found.may_grow
    assert remedy is None or capacity < remedy.arguments["wanted"] <= most


def test_what_was_asked_for_already_is_not_asked_for_again() -> None:
    claim = replace(CLAIM, requested=40 * GIB)
    found = storage_of(claim, FAST, 19 * GIB, 0.0, POLICY)
    assert (found.wanted, found.may_grow) == (40 * GIB, False)


# The cause and its plan


def test_a_full_disk_is_mended_by_its_claim_which_the_plan_names_with_its_version() -> None:
    plan = planned(full())
    (step,) = plan.steps
    assert (step.step, step.destroys) == (STORAGE, "nothing")
    assert "from 20.0 GiB to 30.0 GiB; it can never be made smaller again" in step.action
    assert planned_claim(plan) == ClaimKey(CLAIM.name, "7", 20 * GIB, 30 * GIB, "/data")
    assert planned_claim(Plan.from_json(plan.as_json())) == planned_claim(plan)


def test_the_hours_until_it_is_full_come_from_what_was_watched_for_long() -> None:
    slow = disk(0.5, Trend(GIB / 3600, 3600.0))
    found = filling(full(disk=slow))
    assert found.confidence is Confidence.PROVEN
    assert "full in 10.0 h at this rate" in found.summary
    assert (found.evidence["hours_to_full"], found.evidence["watched_seconds"]) == (10.0, 3600)


def test_a_second_of_writing_proves_nothing() -> None:
    looks = (DiskSample(NOW - timedelta(seconds=1), 10 * GIB), DiskSample(NOW, 10 * GIB + 2**24))
    found = filling(full(disk=Disk(looks, 20 * GIB)))
    assert (found.confidence, found.remedy) == (Confidence.POSSIBLE, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"storage": None}, "set RUNBOOK_DATABASE__POD"),
        ({"storage": Unread("grant the verb list on persistentvolumeclaims")}, "grant the verb"),
        (
            {"storage": storage_of(CLAIM, StorageClass("fast", expandable=False), 1, 0, POLICY)},
            "does not allow it: move the data",
        ),
        ({"storage": storage_of(CLAIM, None, 1, 0, POLICY)}, "does not allow it"),
        (
            {
                "storage": storage_of(
                    replace(CLAIM, capacity=200 * GIB, requested=200 * GIB), FAST, 1, 0, POLICY
                )
            },
            "more than our bound",
        ),
        (
            {"storage": replace(storage_of(CLAIM, FAST, 1, 0, POLICY), refusal="exceeded quota")},
            "would refuse it: exceeded quota",
        ),
    ],
)
def test_where_the_claim_may_not_grow_the_reason_is_said_and_nothing_is_offered(
    changes: dict[str, object], said: str
) -> None:
    seen = full(**changes)
    found = filling(seen)
    assert found.remedy is None
    assert said in found.summary
    assert "a person must make room" in why_manual(found)
    assert to_mend(diagnose(seen, TARGET, Limits())) is None


def test_a_file_system_that_waits_for_its_pod_is_mended_by_a_restart_unless_a_backup_runs() -> None:
    claim = replace(CLAIM, requested=30 * GIB, conditions=(PENDING,))
    storage = storage_of(claim, FAST, 18 * GIB, 0.0, POLICY)
    seen = full(storage=storage, instance=instance())
    found = filling(seen)
    assert found.remedy is not None
    assert found.remedy.step == RESTART_DATABASE
    assert "0 connections and 0 open transactions" in found.remedy.destroys
    assert "waits for its pod (FileSystemResizePending)" in found.summary
    busy = session(9, application="pg_dump", protected="a backup")
    found = filling(readings(busy, disk=disk(0.92), storage=storage, instance=instance()))
    assert found.remedy is None
    assert "pg_dump is running (pid 9)" in found.summary


# Whether the plan still fits


def test_a_plan_fits_while_the_claim_is_in_the_version_that_was_planned() -> None:
    plan = planned(full())
    grown = storage_of(CLAIM, FAST, 19 * GIB, 1000.0, POLICY, "/data")
    assert fits(plan, diagnose(full(storage=grown), TARGET, Limits())) == dict(plan.observed)
    other = storage_of(replace(CLAIM, resource_version="8"), FAST, 18 * GIB, 0.0, POLICY, "/data")
    for seen in (full(storage=other), full(disk=disk(0.5)), full(storage=None)):
        assert fits(plan, diagnose(seen, TARGET, Limits())) != dict(plan.observed)


@pytest.mark.parametrize(
    "observed",
    [
        {},
        {"claim": "data", "resource_version": "7"},
        {"claim": "data", "resource_version": "7", "capacity": 20, "wanted": 20},
        {"claim": "data", "resource_version": "7", "capacity": 30, "wanted": 20},
        {"claim": "data", "resource_version": "7", "capacity": True, "wanted": 20},
        {"claim": "data", "resource_version": 7, "capacity": 10, "wanted": 20},
        {"claim": "data", "resource_version": "7", "capacity": 10, "wanted": 2**70},
        {"claim": "data", "resource_version": "7", "capacity": 10, "wanted": "20"},
    ],
)
def test_a_plan_that_names_no_growth_is_refused(observed: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        ClaimKey.of(observed)


# Which claim


POD = {
    "spec": {
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-postgresql-0"}},
            {"name": "dumps", "persistentVolumeClaim": {"claimName": "dumps"}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
        "containers": [
            {
                "name": "postgres",
                "volumeMounts": [
                    {"name": "data", "mountPath": "/var/lib/postgresql"},
                    {"name": "dumps", "mountPath": "/backups"},
                    {"name": "shm", "mountPath": "/dev/shm"},
                ],
            },
            {"name": "exporter", "volumeMounts": []},
        ],
    }
}


@pytest.mark.parametrize(
    ("directory", "claim"),
    [
        ("/var/lib/postgresql/data", "data-postgresql-0"),
        ("/var/lib/postgresql", "data-postgresql-0"),
        ("/backups/daily", "dumps"),
        ("/dev/shm/x", ""),
        ("/var/lib/postgresql2", None),
        ("relative", None),
        ("/", None),
    ],
)
def test_the_claim_is_that_of_the_deepest_mount_above_the_files(
    directory: str, claim: str | None
) -> None:
    found = mount_of(read_mounts(POD), directory)
    assert (found.claim if found else None) == claim


def test_of_a_server_that_is_away_the_only_claim_is_taken_and_of_several_none() -> None:
    mounts = read_mounts(POD, "postgres")
    assert only_claim(mounts) is None
    assert only_claim(mounts, "/backups") == Mount("/var/lib/postgresql", "data-postgresql-0")
    assert only_claim(read_mounts(POD, "exporter")) is None
    assert read_mounts(POD, "--all") == ()
