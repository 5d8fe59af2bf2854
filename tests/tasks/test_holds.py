"""Holds at the door: nothing is changed before the evidence is really sealed."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.s3 import EVIDENCE
from deployments.lab.stack import ORIGIN, Lab
from tasks.clients.errors import Transient
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import Held, NotApproved
from tasks.domain.facts import FactKind
from tasks.domain.holds import Hold
from tasks.domain.ledger import Trust
from tasks.domain.plan import Plan
from tasks.settings import settings
from tasks.work import approvals, evidence, journal, statements
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tests.tasks.passing import Change, pass_with, refused, steps, through
from tests.tasks.proposals import BEA, CARL, FIRST, SECOND, TARGET, approved, proposed

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]


def hold(incident: str, scope: str = TARGET) -> None:
    data = {"scope": scope, "reason": "altered", "review_at": "", "needs": "evidence"}
    journal.append(incident, FactKind.HOLD_SET, data)


@dataclass
class Custody:
    """The lab's object store, and what stands in it for a hold."""

    lab: Lab
    store: ObjectStore

    def stands(self, hold: Hold) -> bool:
        return evidence.stands(self.store, hold)

    def seal(self, incident: str) -> list[dict[str, Any]]:
        """The product's own sealing of the production table, journaled as its task does."""
        log = ObjectLog(self.store, settings().store.backups_bucket, settings().store.audit_prefix)
        head = latest_head(log, Trust.in_key(self.lab.log_key, ORIGIN))
        sealed = evidence.seal_snapshot(
            incident, 0, self.lab.reader_dsn, log, head, self.store, settings().store
        )
        return [item.as_json() for item in sealed]


@pytest.fixture
def custody(patient: Lab) -> Iterator[Custody]:
    store = ObjectStore(settings().store)
    yield Custody(patient, store)
    store.close()


def sealed(incident: str, items: list[dict[str, Any]], scope: str = TARGET) -> None:
    data = {"scope": scope, "items": items, "bucket": EVIDENCE}
    journal.append(incident, FactKind.EVIDENCE_SEALED, data)


@pytest.mark.parametrize("scope", ["*", TARGET, "database", f"{TARGET}/audit_records"])
def test_a_hold_without_evidence_keeps_the_door_closed(scope: str) -> None:
    plan = approved()
    hold("INC-other", scope)
    refused(Held, "held by INC-other", plan.incident)


def test_a_hold_on_something_else_does_not_matter() -> None:
    plan = approved()
    hold("INC-other", "database/another")
    assert pass_with(plan.incident, Change()) == {"times": 1}


def test_a_lifted_hold_does_not_matter() -> None:
    plan = approved()
    hold("INC-other")
    journal.append("INC-other", FactKind.HOLD_LIFTED, {"scope": TARGET, "reason": "no breach"})
    assert pass_with(plan.incident, Change()) == {"times": 1}


def test_evidence_that_is_not_in_the_store_keeps_the_door_closed(custody: Custody) -> None:
    plan = approved()
    hold(plan.incident)
    nowhere = {"key": "evidence/nothing", "sha256": "ab" * 32, "size": 5, "version_id": "1"}
    sealed(plan.incident, [nowhere])
    refused(Held, "missing, unlocked or altered", plan.incident, holds=custody.stands)


def test_evidence_without_a_single_object_keeps_the_door_closed(custody: Custody) -> None:
    plan = approved()
    hold(plan.incident)
    sealed(plan.incident, [])
    refused(Held, "missing, unlocked or altered", plan.incident, holds=custody.stands)


def test_evidence_that_lies_unlocked_in_the_store_keeps_the_door_closed(custody: Custody) -> None:
    plan = approved()
    hold(plan.incident)
    key = f"evidence/{plan.incident}/table"
    custody.store.put(EVIDENCE, key, b"the table")
    head = custody.store.head(EVIDENCE, key)
    open_item = {
        "key": key, "sha256": head.sha256, "size": head.size, "version_id": head.version_id
    }  # fmt: skip
    sealed(plan.incident, [open_item])
    refused(Held, "missing, unlocked or altered", plan.incident, holds=custody.stands)


def test_evidence_of_before_the_hold_does_not_open_the_door() -> None:
    plan = approved()
    sealed(plan.incident, [{"key": "k"}])
    hold(plan.incident)
    refused(Held, "evidence is not sealed", plan.incident)


def test_evidence_of_another_incident_or_scope_does_not_open_the_door() -> None:
    plan = approved()
    hold("INC-other")
    sealed(plan.incident, [{"key": "k"}])
    sealed("INC-other", [{"key": "k"}], scope="database/another")
    refused(Held, "held by INC-other", plan.incident)


def test_really_sealed_evidence_opens_the_door_until_it_is_overwritten(custody: Custody) -> None:
    plan = approved()
    hold(plan.incident)
    items = custody.seal(plan.incident)
    sealed(plan.incident, items)
    assert pass_with(plan.incident, Change(), holds=custody.stands) == {"times": 1}

    client = custody.lab.objects.client("operator")
    client.put_object(Bucket=EVIDENCE, Key=items[0]["key"], Body=b"another")
    client.close()
    change = Change()
    with pytest.raises(Held, match="missing, unlocked or altered"):
        pass_with(plan.incident, change, SECOND, holds=custody.stands)
    assert change.made == []


def test_while_the_store_cannot_be_asked_the_door_stays_closed(custody: Custody) -> None:
    plan = approved()
    hold(plan.incident)
    sealed(plan.incident, [{"key": "k", "sha256": "ab" * 32, "size": 5}])
    custody.lab.objects.stop()
    refused(Transient, "s3", plan.incident, holds=custody.stands)


def test_a_hold_that_is_set_between_two_steps_stops_the_second() -> None:
    plan = approved()
    change = Change()
    with through(plan.incident) as passage:
        passage.carry_out(FIRST, change)
        hold("INC-other")
        with pytest.raises(Held, match="INC-other"):
            passage.carry_out(SECOND, change)
    assert change.made == ["begun"]
    assert steps(plan.incident)[-1] == ("step done", FIRST)


def break_glass(incident: str, scope: str = TARGET) -> None:
    statements.break_glass(incident, BEA, scope, "patients wait")


def test_a_persons_hold_keeps_the_door_closed_whatever_is_sealed() -> None:
    plan = approved()
    until = datetime.now(UTC) + timedelta(hours=1)
    statements.hold(plan.incident, CARL, TARGET, "I am looking", until)
    sealed(plan.incident, [{"key": "k"}])
    refused(Held, "held by carl .* have the hold lifted, or break the glass", plan.incident)


def test_a_hold_on_everything_keeps_every_door_closed_until_it_is_lifted() -> None:
    plan = approved()
    until = datetime.now(UTC) + timedelta(hours=1)
    statements.hold_everything(CARL, "nobody changes anything", until)
    refused(Held, "held by carl", plan.incident)
    statements.lift_from_everything(BEA, "go on")
    time.sleep(1.1)  # the next one's lease, which `refused` has left
    assert pass_with(plan.incident, Change()) == {"times": 1}


def test_broken_glass_opens_the_door_for_its_incident_alone() -> None:
    plan, other = approved(), approved()
    hold("INC-other")
    break_glass(plan.incident)
    refused(Held, "held by INC-other", other.incident)
    time.sleep(1.1)  # as above
    assert pass_with(plan.incident, Change()) == {"times": 1}


def test_broken_glass_needs_the_plans_approval_all_the_same() -> None:
    plan = proposed()
    hold("INC-other")
    break_glass(plan.incident)
    refused(NotApproved, "waiting", plan.incident)


def test_glass_that_ran_out_and_a_hold_of_afterwards_keep_the_door_closed() -> None:
    plan = approved()
    hold("INC-other")
    past = {"scope": TARGET, "reason": "r", "until": datetime.now(UTC).isoformat()}
    journal.append(plan.incident, FactKind.GLASS_BROKEN, past, actor="bea")
    refused(Held, "held by INC-other", plan.incident)
    break_glass(plan.incident)
    hold("INC-third")
    time.sleep(1.1)  # as above
    with pytest.raises(Held, match="held by INC-third"):
        pass_with(plan.incident, Change())


def test_a_closing_by_hand_between_two_steps_that_are_done_stops_what_follows() -> None:
    plan = approved()
    change = Change()
    with through(plan.incident) as passage:
        passage.carry_out(FIRST, change)
        journal.append(plan.incident, FactKind.CLOSED, {"outcome": "closed by hand"}, key="closed")
        with pytest.raises(NotApproved, match="closed"):
            passage.carry_out(SECOND, change)
    assert change.made == ["begun"]


def test_of_a_denial_and_a_step_that_begins_at_once_the_journal_says_which_came_first() -> None:
    for number in range(4):
        plan = approved()
        together = threading.Barrier(2)

        def deny(made: Plan = plan, start: threading.Barrier = together) -> None:
            start.wait(timeout=30)
            approvals.decide(made.incident, made.hash, "denied", CARL, "stop")

        door = through(plan.incident, target=f"cache/{number}")  # none has been mended before
        with door as passage, ThreadPoolExecutor(1) as pool:
            denied = pool.submit(deny)
            together.wait(timeout=30)
            with suppress(NotApproved):
                passage.carry_out(FIRST, Change())
            denied.result()
        kinds = [fact.kind for fact in journal.read(plan.incident).facts]
        last_word = len(kinds) - 1 - kinds[::-1].index(FactKind.PLAN_DECIDED)
        assert FactKind.STEP_STARTED not in kinds[last_word:]
