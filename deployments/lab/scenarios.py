"""Scenarios: a fault, the lab that it needs, what people do about it, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deployments.lab import (
    api_expectations,
    breach_expectations,
    cache_expectations,
    cluster_expectations,
    communication_expectations,
    expectations,
    privacy_expectations,
    queue_expectations,
    release_expectations,
    session_expectations,
    storage_expectations,
)
from deployments.lab.expectations import Check, Situation
from deployments.lab.faults import FAULTS, Fault
from deployments.lab.on_call import OnCall
from tasks.domain.facts import Fact, FactKind
from tasks.domain.recovery_target import Target, TargetKind

_SMALL, _GROWN = 40, 1024  # megabytes of disk: enough for evidence, and enough for everything
_RECORDS_PER_MEGABYTE = 10_000
_CLUSTER = {"cluster": True}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of `runbook demo --list`.

    `options`: what it changes of the lab's options. `act`: what the on-call engineer does when a
    fact of the incident is journaled; approving is not among it. `expect`: what must be true of
    this scenario, beside what must be true of each. `stays_open`: what is wrong only people can
    mend, so the response ends with an open incident. `damage_stays`: what is damaged is shown and
    not mended by this response, so that the sealer must refuse it.
    """

    fault: Fault
    options: Mapping[str, Any] = field(default_factory=dict)
    act: Callable[[OnCall, Fact], None] = lambda *_: None
    expect: Callable[[Situation], list[Check]] = lambda _: []
    stays_open: bool = False
    damage_stays: bool = False


def ask_for_the_moment_before(on_call: OnCall, fact: Fact) -> None:
    """A migration took more than the log: the engineer wants all tables as of just before it."""
    if fact.kind is FactKind.ALERT_RECEIVED and on_call.wanted is None:
        target = Target(TargetKind.TIME, time=on_call.damage.at)
        on_call.ask(target, "a migration has deleted tables: everything as of just before it")


def make_room(on_call: OnCall, fact: Fact) -> None:
    """The response has stopped for want of room: the engineer enlarges the disk and asks again."""
    disk = on_call.lab.small_disk
    if disk is not None and on_call.room_at is None and expectations.is_want_of_room(fact):
        disk.grow(_GROWN)
        on_call.room_at = datetime.now(UTC)
        target = Target(TargetKind.BEFORE_DAMAGE)
        on_call.ask(target, "the disk is larger now: go on with the restore")


def bring_the_store_back(on_call: OnCall, fact: Fact) -> None:
    """The response waits for the object store: somebody starts it again."""
    said = str(fact.data.get("text", "")) if fact.kind is FactKind.NOTE else ""
    if on_call.mended_at is None and "beginning again" in said:
        on_call.lab.objects.start()
        on_call.mended_at = datetime.now(UTC)


def options_for(scenario: Scenario, records: int) -> Mapping[str, Any]:
    """What the scenario changes of the lab's options, for a log of this size."""
    small = scenario.options.get("small_disk", 0)
    if not small:
        return scenario.options
    return {**scenario.options, "small_disk": small + records // _RECORDS_PER_MEGABYTE}


def _of(name: str, **more: Any) -> Scenario:  # noqa: ANN401  the fields of Scenario
    return Scenario(FAULTS[name], **more)


SCENARIOS = {
    scenario.fault.name: scenario
    for scenario in (
        _of("tampered-records"),
        _of(
            "tampered-and-backed-up",
            options={"checked_per_second": 0},
            expect=expectations.of_bad_backups,
        ),
        _of("table-dropped"),
        _of("corrupt-backup", expect=expectations.of_bad_backups),
        _of(
            "missing-wal",
            options={"archiving": True},
            act=ask_for_the_moment_before,
            expect=expectations.of_missing_wal,
        ),
        _of(
            "disk-full",
            options={"small_disk": _SMALL},
            act=make_room,
            expect=expectations.of_full_disk,
        ),
        _of("segments-deleted", expect=expectations.of_deleted_objects),
        _of("bucket-versions-deleted", expect=expectations.of_deleted_objects),
        _of("lock-storm", expect=session_expectations.of_sessions),
        _of("connections-exhausted", expect=session_expectations.of_sessions),
        _of("slow-queries", expect=session_expectations.of_sessions),
        _of("privacy-overspend", expect=privacy_expectations.of_privacy_overspend),
        _of("noise-broken", expect=privacy_expectations.of_noise_broken, stays_open=True),
        _of("disk-filling", options=_CLUSTER, expect=storage_expectations.of_disk_filling),
        _of("database-down", options=_CLUSTER, expect=storage_expectations.of_database_down),
        _of("redis-down", options=_CLUSTER, expect=cache_expectations.of_redis_down),
        _of("queue-backlog", options=_CLUSTER, expect=queue_expectations.of_queue_backlog),
        _of("api-down", options=_CLUSTER, expect=cluster_expectations.of_api_down),
        _of("api-slow", options=_CLUSTER, expect=api_expectations.of_api_slow),
        _of("bad-release", options=_CLUSTER, expect=release_expectations.of_bad_release),
        _of(
            "pods-crash-looping",
            options=_CLUSTER,
            expect=api_expectations.of_pods_crash_looping,
        ),
        _of(
            "breach-credential-stuffing",
            options=_CLUSTER,
            expect=breach_expectations.of_credential_stuffing,
            stays_open=True,
        ),
        _of(
            "breach-data-exfiltration",
            options=_CLUSTER,
            expect=breach_expectations.of_data_exfiltration,
            stays_open=True,
        ),
        _of(
            "insider-tampering",
            options={**_CLUSTER, "checked_per_second": 0},
            expect=breach_expectations.of_insider_tampering,
            stays_open=True,
            damage_stays=True,
        ),
        _of(
            "privacy-annotator-exposed",
            expect=privacy_expectations.of_annotator_exposed,
            stays_open=True,
        ),
        _of(
            "dpo-unreachable",
            options={"mail": True},
            expect=communication_expectations.of_dpo_unreachable,
            stays_open=True,
        ),
        _of(
            "chat-down",
            options={"mail": True},
            expect=communication_expectations.of_chat_down,
        ),
        _of(
            "evidence-store-down",
            options=_CLUSTER,
            act=bring_the_store_back,
            expect=breach_expectations.of_evidence_store_down,
            stays_open=True,
        ),
    )
}
