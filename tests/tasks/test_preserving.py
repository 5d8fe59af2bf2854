"""Preserving on the lab's real servers: everything that is there, in a bag that proves itself."""

import io
import json
import tarfile
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pyrage
import pytest

from deployments.lab.dataset import CANARIES
from deployments.lab.kubernetes.cluster import simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.s3 import EVIDENCE
from deployments.lab.stack import Lab
from tasks.clients import age
from tasks.clients.object_store import ObjectStore
from tasks.domain.custody import CustodyHead
from tasks.domain.facts import FactKind
from tasks.evidence import preserve_everything, preserve_volatile
from tasks.settings import settings
from tasks.work import evidence, journal, preserving
from tasks.work.bag_files import StoredBag
from tasks.work.bag_verification import BagVerdict, Proven, verify_bag
from tasks.work.collectors_cluster import cluster_objects, pod_logs
from tasks.work.evidence_bag import OpenBag
from tasks.work.preserving import LARGE, NOT_TAKEN
from tasks.work.proof_in_service import signer
from tests.tasks.api.restarts import configure

pytestmark = pytest.mark.components

OWNER = pyrage.x25519.Identity.generate()
HOLD = 3


@dataclass
class Preserved:
    """What the tasks answered, and the bag as it lies in the lab's store."""

    fact: dict[str, Any]
    store: ObjectStore
    verdict: BagVerdict

    def stored(self, item: str) -> bytes:
        (found,) = [each for each in self.verdict.collected if each.id == item]
        return self.store.get(EVIDENCE, self.fact["bag"] + found.path)

    def opened(self, item: str) -> bytes:
        plain = io.BytesIO()
        age.decrypt(io.BytesIO(self.stored(item)), plain, str(OWNER))
        return plain.getvalue()

    def ids(self) -> list[str]:
        return [each.id for each in self.verdict.collected]

    def everything(self) -> bytes:
        keys = [each.key for each in self.store.list(EVIDENCE, f"{self.fact['bag'][:-4]}")]
        return b"".join(self.store.get_many(EVIDENCE, keys))


def opened_incident() -> str:
    incident = f"INC-{uuid4().hex[:12]}"
    about = {"title": "breach", "component": "api", "procedure": "breach", "cause": "alert"}
    journal.append(incident, FactKind.OPENED, about)
    return incident


def preserved(incident: str) -> Preserved:
    fact = preserve_everything.fn(incident, "system", HOLD, "suspected breach")
    store = ObjectStore(settings().store)
    anchor = CustodyHead(fact["custody"]["entries"], fact["custody"]["hash"])
    bag = StoredBag(store, EVIDENCE, fact["bag"])
    return Preserved(fact, store, verify_bag(bag, [signer().verifier], [anchor]))


@pytest.fixture
def encrypted(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_EVIDENCE__RECIPIENTS", json.dumps([str(OWNER.to_public())]))
    settings.cache_clear()
    del patient


@pytest.mark.usefixtures("encrypted")
def test_what_the_servers_have_is_sealed_for_its_recipients_and_proven() -> None:
    incident = opened_incident()
    volatile = preserve_volatile.fn(incident, HOLD, "suspected breach")
    assert set(volatile) == {"cluster.pods", "cluster.events"}
    done = preserved(incident)

    assert (done.verdict.proven, done.verdict.problems) == (Proven.WHOLE, [])
    assert done.fact["encrypted"] is True
    order = done.ids()
    assert order.index("database.pg-stat-activity") < order.index("database.dump")
    assert order.index("database.dump") < order.index("audit-api.integrity")
    assert order.index("audit-api.integrity") < order.index("database.pg-roles")

    assert done.opened("database.dump").startswith(b"PGDMP")
    sessions = [json.loads(line) for line in done.opened("database.pg-stat-activity").splitlines()]
    assert "runbook" in {each["application_name"] for each in sessions}
    assert b"audit_reader" in done.opened("database.pg-roles")
    assert b"relation r" in done.opened("database.grants")
    assert b"auth_method" in done.opened("database.pg-hba-file-rules")
    with tarfile.open(fileobj=io.BytesIO(done.opened("log.sealed"))) as log:
        names = log.getnames()
        assert {name.partition("/")[0] for name in names} >= {"checkpoints", "seg", "tile"}
        newest = max((name for name in names if name.startswith("checkpoints/")), key=len)
        member = log.extractfile(newest)
        assert member is not None
        assert member.read().startswith(b"rlhf-audit-trail\n")
    assert json.loads(done.opened("redis.info"))["redis_version"]
    facts = [json.loads(line) for line in done.opened("journal.facts").splitlines()]
    assert facts[0]["data"]["title"] == "breach"
    clear = done.everything()
    for canary in CANARIES:
        assert canary.encode() not in clear
        assert canary not in json.dumps(done.fact)


@pytest.fixture
def in_clear(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_EVIDENCE__RECIPIENTS", "[]")
    settings.cache_clear()
    del patient


@pytest.mark.usefixtures("in_clear")
def test_what_could_not_be_had_is_named_and_the_fact_satisfies_the_hold_that_waits() -> None:
    incident = opened_incident()
    hold = {"scope": "system", "reason": "breach", "review_at": "", "needs": "evidence"}
    journal.append(incident, FactKind.HOLD_SET, hold)
    (held,) = journal.read(incident).held()
    store = ObjectStore(settings().store)
    assert not evidence.stands(store, held)

    done = preserved(incident)

    assert evidence.stands(store, held)
    reasons = {each.id: each.reason for each in done.verdict.skipped}
    assert reasons == {each["id"]: each["reason"] for each in done.fact["skipped"]}
    assert {part.id for part in NOT_TAKEN} < set(reasons)
    assert "RUNBOOK_KUBERNETES__CONFIG_FILE" in reasons["cluster.logs"]
    assert done.fact["encrypted"] is False
    assert done.stored("database.dump").startswith(b"PGDMP")
    assert b"Encryption: none of" in done.store.get(EVIDENCE, f"{done.fact['bag']}bag-info.txt")

    assert preserved(incident).fact == done.fact
    sealed = [f for f in journal.read(incident).facts if f.kind is FactKind.EVIDENCE_SEALED]
    assert len(sealed) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_what_is_sealed_beside_the_bag_is_not_read_again_and_the_bag_says_where_it_is() -> None:
    incident = opened_incident()
    beside = evidence.snapshot_prefix(incident, HOLD)
    fact = preserve_everything.fn(incident, "surroundings", HOLD, "altered", beside)
    reasons = {each["id"]: each["reason"] for each in fact["skipped"]}
    assert {name for name, reason in reasons.items() if beside in reason} == LARGE
    assert journal.read(incident).evidence["surroundings"]["bag"] == fact["bag"]


@pytest.mark.usefixtures("encrypted")
def test_a_cluster_gives_its_objects_images_and_whole_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_cluster(releases=HEALTHY, live=True) as cluster:
        for name, value in configure(cluster).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        known, store = settings(), ObjectStore(settings().store)
        place = preserving.bag_place(known, f"INC-{uuid4().hex[:12]}", HOLD, "breach")
        bag = OpenBag(place, store, known.store, known.evidence.item_bytes)
        assert bag.collect([*cluster_objects(known), pod_logs(known)]) == []
    store.close()
    ids = set(bag.collected)
    for kind in ("deployments", "replicasets", "statefulsets", "networkpolicies", "events"):
        assert f"cluster.{kind}" in ids

    def opened(item: str) -> Any:
        plain, path = io.BytesIO(), bag.collected[item].path
        age.decrypt(io.BytesIO(bag.store.get(EVIDENCE, place.root + path)), plain, str(OWNER))
        return json.loads(plain.getvalue())

    pods = {each["metadata"]["name"] for each in opened("cluster.pods")}
    assert {each["pod"] for each in opened("cluster.images")} <= pods
    assert any(each["digest"] for each in opened("cluster.images"))
    logged = {name.split(".")[1] for name in ids if name.startswith("logs.")}
    assert logged
    assert logged <= pods
