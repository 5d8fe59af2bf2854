"""What proves the log is damaged: a plan that lists each object, an approval, the sealer, proof."""

import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from tasks.clients.object_store import ObjectStore
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.domain.ledger import Status
from tasks.domain.rebuild_plan import REBUILD, TARGET
from tasks.domain.recovery_plan import SWAP
from tasks.settings import settings
from tasks.work import journal
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.verification import verify_log
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows


def store_status() -> Status:
    store = ObjectStore(settings().store)
    log = ObjectLog(store, *place_of(LogName.AUDIT, settings()))
    status = verify_log(log, trust_of(LogName.AUDIT, settings())).status
    store.close()
    return status


def test_deleted_segments_and_tiles_are_put_back_after_an_approval(responding: Responding) -> None:
    damage = responding.damage("segments-deleted")
    before = responding.production()
    incident = responding.alert("segments-deleted")
    plan = responding.plan(incident)
    state = journal.read(incident)
    assert state.plan is not None
    assert [(step.step, step.target, step.destroys) for step in state.plan.steps] == [
        (REBUILD, TARGET, "nothing")
    ]
    assert {f"audit-logs/{path}" for path in state.plan.observed["objects"]} == set(damage.objects)
    assert store_status() is not Status.VERIFIED, "something was changed before the approval"
    responding.decide(incident, plan, "approve")
    responding.until_fact(incident, FactKind.REPORTED)
    state = journal.read(incident)
    assert (state.stage, state.outcome) == (Stage.CLOSED, "restored")
    done = state.done(REBUILD)
    assert done is not None
    assert done["result"]["put_back"] == len(damage.objects)
    assert done["result"]["new_tree"]["size"] == responding.lab.sealed_size
    proof = state.proof
    assert proof is not None
    assert proof["holds"] is True
    assert proof["result"]["proofs"]["records"] == 1000
    assert any(
        "proofs of" in fact.data["text"] for fact in responding.facts(incident, FactKind.NOTE)
    )
    assert store_status() is Status.VERIFIED
    assert responding.production().databases == before.databases
    assert responding.lab.seal_now() > responding.lab.options.records


@pytest.mark.slow
def test_a_denied_rebuild_changes_nothing(responding: Responding) -> None:
    responding.damage("segments-deleted")
    incident = responding.alert("segments-deleted")
    responding.decide(incident, responding.plan(incident), "deny")
    responding.until_note(incident, "denied")
    responding.until_idle(incident)
    assert journal.read(incident).stage is Stage.OPEN
    assert responding.facts(incident, FactKind.STEP_STARTED) == []
    assert store_status() is not Status.VERIFIED


@pytest.mark.parametrize("verb", ["approve", pytest.param("deny", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_lost_database_is_restored_though_its_proof_cannot_be_put_back(
    responding: Responding, verb: str
) -> None:
    """The sealer, which puts it back, needs the database for its lock."""
    client = responding.lab.objects.client("operator")
    found = client.list_objects_v2(Bucket=BACKUPS, Prefix="audit-logs/tile/1/")["Contents"]
    for each in found:
        client.delete_object(Bucket=BACKUPS, Key=each["Key"])
    client.close()
    with responding.lab.patient.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    incident = responding.alert("segments-deleted")
    responding.decide(incident, responding.plan(incident), verb)
    responding.until_note(incident, "on to the restore")
    responding.plan(incident, 2)
    plan = journal.read(incident).plan
    assert plan is not None
    assert SWAP in {step.step for step in plan.steps}


@pytest.mark.slow
def test_segments_lost_and_records_altered_mend_each_other(responding: Responding) -> None:
    """Tiles first, then the table from its backup, then the segment from the mended table."""
    lab = responding.lab
    damage = responding.damage("bucket-versions-deleted")
    with lab.patient.connect(DATABASE) as connection:
        connection.execute("UPDATE audit_records SET record = record || ' ' WHERE seq = 77")
        connection.execute("DELETE FROM audit_records WHERE seq IN (1200, 1201)")
    incident = responding.alert("bucket-versions-deleted")
    responding.decide(incident, responding.plan(incident), "approve")
    responding.decide(incident, responding.plan(incident, 2), "approve")
    responding.decide(incident, responding.plan(incident, 3), "approve")
    responding.until_fact(incident, FactKind.REPORTED)
    state = journal.read(incident)
    assert (state.stage, state.outcome) == (Stage.CLOSED, "restored")
    steps = [fact.data["step"] for fact in responding.facts(incident, FactKind.STEP_DONE)]
    assert (steps[0], steps[-1]) == (REBUILD, REBUILD)
    assert SWAP in steps
    assert store_status() is Status.VERIFIED
    client = lab.objects.client("operator")
    for key in damage.objects:
        client.head_object(Bucket=BACKUPS, Key=key)
    client.close()
    lab.writer.stop()
    assert lab.seal_now() > lab.options.records
