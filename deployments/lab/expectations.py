"""What must be true at the end of a scenario, judged from outside, one plain sentence each."""

from collections.abc import Iterable
from dataclasses import dataclass

from deployments.lab.damage import Damage
from deployments.lab.judging import Accounted
from deployments.lab.on_call import OnCall
from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from deployments.lab.stack import Lab
from tasks.clients.object_store import ObjectStore
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work.log_store import ObjectLog
from tasks.work.verification import verify_log

_ANNOTATIONS = "SELECT event_id FROM annotations"
_ROOM = "make room"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be true, and whether it is; `found` says what is instead, or a number."""

    what: str
    holds: bool
    found: str = ""

    def __str__(self) -> str:
        """One line for people."""
        line = f"{'yes' if self.holds else 'NO '}  {self.what}"
        return f"{line}: {self.found}" if self.found else line


@dataclass(frozen=True, slots=True)
class Situation:
    """All that there is to judge by: the lab as it is now, the journal, and what was damaged.

    `resealed` is the size of the log that the sealer signed afterwards, None when it refused;
    `verified_again` whether the table reproduces that signature. `damage_stays`: mending it is no
    part of this response.
    """

    lab: Lab
    incident: Incident
    on_call: OnCall
    accounted: Accounted
    unnamed: set[int]
    misnamed: set[int]
    verified_again: bool
    resealed: int | None
    damage_stays: bool = False

    @property
    def damage(self) -> Damage:
        """What the fault has done."""
        return self.on_call.damage

    def dry_run(self) -> list[str]:
        """What looking had shown, line by line, for the plan that was approved."""
        for fact in reversed(self.incident.facts):
            if fact.kind is FactKind.DRY_RUN and fact.data["hash"] == self.incident.plan_hash:
                return [str(line) for line in fact.data["lines"]]
        return []


def of_each(now: Situation) -> list[Check]:
    """What every scenario promises."""
    proof, accounted = now.incident.proof, now.accounted
    checks = [
        Check("the response says that its own proof holds", bool(proof and proof.get("holds"))),
        _sealed_again(now),
        Check(
            "every record that a writer was told is written is in service or listed as lost",
            not accounted.missing,
            f"{accounted.acknowledged:,} records, {accounted.listed_as_lost} lost, "
            f"{len(accounted.missing)} missing",
        ),
    ]
    if now.damage.concerns_records:
        checks.append(
            Check(
                "every damaged record was named, and no other one",
                not now.unnamed and not now.misnamed,
                _misjudged(now.unnamed, now.misnamed),
            )
        )
    return checks


def _sealed_again(now: Situation) -> Check:
    if now.damage_stays:
        return Check(
            "the sealer refuses to sign what was altered, and the table proves nothing else",
            now.resealed is None and not now.verified_again,
            f"{now.resealed:,} records were signed" if now.resealed else "",
        )
    return Check(
        "the sealer signs what there is now, and the table reproduces that signature",
        now.verified_again and now.resealed is not None,
        f"{now.resealed:,} records" if now.resealed else "the sealer refused",
    )


def of_bad_backups(now: Situation) -> list[Check]:
    """The right backup was found by itself, and each wrong one is named before anybody approves."""
    plan = now.incident.plan
    restored = plan.observed.get("backup") if plan else None
    passed = [line for line in now.dry_run() if line.startswith("passed over: ")]
    unnamed = [key for key in now.damage.bad_backups if not any(key in line for line in passed)]
    return [
        Check(
            "the restore is from the newest backup that is good",
            restored == now.damage.good_backup,
            str(restored),
        ),
        Check(
            "the plan names every newer one that is not, with the reason",
            not unnamed,
            f"not named: {unnamed}" if unnamed else f"{len(now.damage.bad_backups)} named",
        ),
    ]


def of_missing_wal(now: Situation) -> list[Check]:
    """As much as the WAL before the hole brings, no more, and the plan has said so."""
    lines = now.dry_run()
    with now.lab.patient.connect(DATABASE) as connection:
        found = {event for (event,) in connection.execute(_ANNOTATIONS)}
    kept, later = now.damage.annotations, now.damage.annotations_later
    plan = now.incident.plan
    return [
        Check(
            "the plan names the missing WAL segment and the latest moment before it",
            any(now.damage.segment in line and "latest moment" in line for line in lines),
            now.damage.segment,
        ),
        Check(
            "it is for the moment that the engineer asked for, as near as can be",
            plan is not None and plan.observed.get("target") == str(now.on_call.wanted),
            str(now.on_call.wanted),
        ),
        Check(
            "annotations are as of the last WAL before the hole",
            kept <= found and not later & found,
            f"{len(found & kept):,} of {len(kept):,} back, {len(found & later):,} of the "
            f"{len(later):,} that came after it",
        ),
    ]


def of_full_disk(now: Situation) -> list[Check]:
    """Nothing had begun before there was room; then the same incident came to its end."""
    facts, room_at = now.incident.facts, now.on_call.room_at
    early = [
        fact
        for fact in facts
        if fact.kind is FactKind.STEP_STARTED and (room_at is None or fact.at < room_at)
    ]
    refused = [fact for fact in facts if is_want_of_room(fact)]
    return [
        Check(
            "the response refused to begin, and said how much room it needs",
            bool(refused),
            str(refused[0].data["text"])[:160] if refused else "it did not",
        ),
        Check("no step had begun before there was room", not early, _steps(early)),
    ]


def of_deleted_objects(now: Situation) -> list[Check]:
    """Everything that proves the log is there again, and proves it."""
    client = now.lab.objects.client("operator")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BACKUPS)
    there = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    client.close()
    gone = set(now.damage.objects) - there
    known = settings()
    store = ObjectStore(known.store)
    log = ObjectLog(store, known.store.backups_bucket, known.store.audit_prefix)
    verdict = verify_log(log, known.ledger.read_trust())
    store.close()
    return [
        Check(
            "every object that was deleted is there again",
            not gone,
            f"{len(now.damage.objects) - len(gone)} of {len(now.damage.objects)}",
        ),
        Check(
            "the sealed log alone proves all of its records",
            verdict.status is Status.VERIFIED,
            f"{verdict.signed:,} records, {verdict.status.value}",
        ),
    ]


def is_want_of_room(fact: Fact) -> bool:
    """Whether the response says here that it stops for want of disk."""
    return fact.kind is FactKind.NOTE and _ROOM in str(fact.data.get("text", ""))


def _misjudged(unnamed: Iterable[int], misnamed: Iterable[int]) -> str:
    if not unnamed and not misnamed:
        return ""
    return (
        f"damaged but not named: {sorted(unnamed)[:20]}; "
        f"named but not damaged: {sorted(misnamed)[:20]}"
    )


def _steps(facts: list[Fact]) -> str:
    return ", ".join(str(fact.data["step"]) for fact in facts)
