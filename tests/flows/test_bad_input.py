"""What an attacker or a broken disk leaves in the object store: a clear word, nothing changed."""

from typing import Any

import pytest

from deployments.lab.s3 import BACKUPS
from tasks.clients.object_store import ObjectStore
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteSigner, NoteVerifier, sign_note
from tasks.settings import settings
from tasks.work import journal
from tasks.work.backup_places import StorePlace
from tasks.work.catalogue import look_at
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows


@pytest.mark.slow
def test_a_corrupt_dump_is_refused_by_its_manifest_and_production_stays(
    responding: Responding,
) -> None:
    lab = responding.lab
    store = lab.objects.client("operator")
    size = store.head_object(Bucket=BACKUPS, Key=lab.backup_key)["ContentLength"]
    store.put_object(Bucket=BACKUPS, Key=lab.backup_key, Body=b"PGDMP" + bytes(size - 5))
    store.close()
    responding.damage()
    before = responding.production()
    name = responding.alert()
    responding.until_note(name, "backup corrupt")
    responding.until_idle(name)
    state = journal.read(name)
    assert (state.closed_at, state.plan, state.steps) == (None, None, {})
    notes = [fact.data["text"] for fact in responding.facts(name, FactKind.NOTE)]
    assert any(lab.backup_key in text for text in notes)
    assert responding.production() == before


@pytest.mark.slow
def test_a_checkpoint_that_somebody_else_signed_is_put_back_only_after_a_persons_yes(
    responding: Responding,
) -> None:
    lab = responding.lab
    prefix = settings().store.audit_prefix
    store = lab.objects.client("operator")
    newest = f"{prefix}checkpoints/{lab.sealed_size}"
    note = store.get_object(Bucket=BACKUPS, Key=newest)["Body"].read().decode()
    text = note.partition("\n\n")[0] + "\n"
    forged = sign_note(text, NoteSigner.generate(lab.sealers_signer().name))
    for key in _checkpoints(store, prefix):
        store.put_object(Bucket=BACKUPS, Key=key, Body=forged.encode())
    store.close()
    responding.damage()
    before = responding.production()
    name = responding.alert()
    responding.plan(name)
    responding.until_idle(name)
    state = journal.read(name)
    assert state.diagnosis is not None
    assert state.diagnosis["verdict"] == "unverifiable"
    assert state.plan is not None
    assert (state.plan.procedure, state.steps) == ("log_rebuild", {})
    assert state.plan.observed["objects"] == [f"checkpoints/{lab.sealed_size}"]
    assert responding.production() == before


def test_objects_that_point_outside_are_listed_as_unusable_with_the_reason(
    responding: Responding,
) -> None:
    """The server itself refuses `..` in keys; these get past it."""
    configured, genuine = settings().store, responding.lab.backup_key
    prefix = configured.database_prefix
    unprintable, outside = f"{prefix}a\n/etc/b.dump", f"{prefix}..%2f..%2fetc.dump"
    borrowed = f"{prefix}other.dump"
    operator = responding.lab.objects.client("operator")
    manifest = operator.get_object(Bucket=BACKUPS, Key=f"{genuine}.manifest")["Body"].read()
    for key in (unprintable, outside, borrowed):
        operator.put_object(Bucket=BACKUPS, Key=key, Body=b"PGDMP")
        operator.put_object(Bucket=BACKUPS, Key=f"{key}.manifest", Body=manifest)
    operator.close()
    store = ObjectStore(configured)
    keys = [NoteVerifier.parse(responding.lab.log_key)]
    found = look_at(StorePlace(store, BACKUPS, prefix), keys)
    listed = {each.key: each.unusable for each in found}
    store.close()
    shown = unprintable.replace("\n", "\\n")
    assert set(listed) == {shown, outside, borrowed, genuine}
    assert f"expected an object below {prefix!r}" in listed[shown]
    assert "expected a plain key" in listed[outside]
    assert "manifest is of another file" in listed[borrowed]
    assert listed[genuine] == ""


def _checkpoints(operator: Any, prefix: str) -> list[str]:
    listed = operator.list_objects_v2(Bucket=BACKUPS, Prefix=f"{prefix}checkpoint")
    return [each["Key"] for each in listed["Contents"]]
