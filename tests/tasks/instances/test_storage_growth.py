"""A claim is enlarged once, in the version that was planned, and watched until there is room."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from deployments.lab.cluster_manifests import STORAGE_CLASS
from deployments.lab.database_volume import DatabaseVolume
from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.misbehaviour import Trouble
from tasks.clients.errors import NotFound, Transient
from tasks.clients.pod_exec import Pod
from tasks.domain.database_limits import GIB
from tasks.domain.database_readings import Unread
from tasks.domain.errors import LockLost, PlanStale
from tasks.domain.pod_volumes import Mount
from tasks.domain.storage import Enlarging
from tasks.domain.storage_plan import ClaimKey, Storage, StoragePolicy, storage_remedial
from tasks.sections.systems import KubernetesSettings
from tasks.work.stateful_restart import look_at_instance, restart
from tasks.work.storage_growth import enlarge, look_at_storage
from tests.tasks.instances.conftest import CLAIM, DATA
from tests.tasks.instances.test_stateful_restart import key_of

pytestmark = pytest.mark.components

POLICY = StoragePolicy(1.5, 5 * GIB, 100 * GIB, 86_400)
MOUNT = Mount(DATA, CLAIM)
CLAIMS = "persistentvolumeclaims"


def looked(cluster: KubernetesSettings, pod: Pod, policy: StoragePolicy = POLICY) -> Storage:
    found = look_at_storage(cluster, pod, MOUNT, (18 * GIB, 0.0), policy)
    assert isinstance(found, Storage), found
    return found


def planned(cluster: KubernetesSettings, pod: Pod) -> ClaimKey:
    remedy = storage_remedial(looked(cluster, pod), "database/rlhf_audit")
    assert remedy is not None
    return ClaimKey.of(remedy.arguments)


def requested(cluster: Cluster) -> int:
    found = cluster.get(CLAIMS, CLAIM)["spec"]["resources"]["requests"]["storage"]
    return int(found.removesuffix("Gi")) * GIB if found.endswith("Gi") else int(found)


def patches(cluster: Cluster) -> list[str]:
    return [each for each in cluster.asked if each.startswith("PATCH") and "dryRun" not in each]


@contextmanager
def growing(volume: DatabaseVolume) -> Iterator[None]:
    """The kubelet: the file system follows the claim."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(0.1):
            volume.beat()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_claim_and_the_file_system_in_its_pod_grow_and_a_second_run_asks_no_more(
    cluster: Cluster,
    volume: DatabaseVolume,
    settings_of_cluster: KubernetesSettings,
    database: Pod,
) -> None:
    key = planned(settings_of_cluster, database)
    assert (key.capacity, key.wanted) == (20 * GIB, 30 * GIB)
    assert requested(cluster) == 20 * GIB  # planning has changed nothing
    with growing(volume):
        text, result = enlarge(settings_of_cluster, database, key, lambda: None, 10.0)
        assert (result["asked"], result["pending"], result["capacity"]) == (True, False, 30 * GIB)
        assert result["file_system"] == 30 * GIB
        assert "and has it; 12.0 GiB are free" in text
        again = enlarge(settings_of_cluster, database, key, lambda: None, 10.0)[1]
    assert (again["asked"], again["capacity"]) == (False, 30 * GIB)
    assert len(patches(cluster)) == 1


def test_a_claim_that_somebody_else_changed_makes_the_plan_stale(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    key = planned(settings_of_cluster, database)
    cluster.change(CLAIMS, CLAIM, {"metadata": {"labels": {"owner": "somebody"}}})
    with pytest.raises(PlanStale, match="changed since the plan"):
        enlarge(settings_of_cluster, database, key, lambda: None, 5.0)
    assert requested(cluster) == 20 * GIB


def test_a_claim_that_somebody_else_made_even_larger_is_never_made_smaller(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    key = planned(settings_of_cluster, database)
    larger = {"spec": {"resources": {"requests": {"storage": "40Gi"}}}}
    cluster.change(CLAIMS, CLAIM, larger)
    result = enlarge(settings_of_cluster, database, key, lambda: None, 2.0)[1]
    assert (result["asked"], requested(cluster)) == (False, 40 * GIB)


def test_a_run_that_lost_its_lock_asks_for_nothing(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    def lost() -> None:
        raise LockLost("expected to hold it, found a newer holder")

    key = planned(settings_of_cluster, database)
    with pytest.raises(LockLost):
        enlarge(settings_of_cluster, database, key, lost, 5.0)
    assert requested(cluster) == 20 * GIB


def test_a_file_system_that_waits_for_its_pod_is_said_and_grows_with_the_restart(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    cluster.file_systems_wait_for_pods()
    key = planned(settings_of_cluster, database)
    text, result = enlarge(settings_of_cluster, database, key, lambda: None, 2.0)
    assert (result["pending"], result["capacity"]) == (True, 20 * GIB)
    assert "waits for a restart of its pod (FileSystemResizePending)" in text
    found = looked(settings_of_cluster, database)
    assert found.claim.waits_for_pod
    assert not found.may_grow
    instance = look_at_instance(settings_of_cluster, database, keeps_files=True, directory=DATA)
    assert not isinstance(instance, Unread)
    restart(settings_of_cluster, database, key_of(instance), lambda: None, 20.0)
    assert looked(settings_of_cluster, database).claim.capacity == 30 * GIB


def test_a_class_that_does_not_allow_it_a_bound_and_a_missing_grant_forbid_it_before_any_plan(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    bounded = replace(POLICY, most=20 * GIB)
    found = looked(settings_of_cluster, database, bounded)
    assert (found.decision.verdict, found.may_grow) == (Enlarging.FORBIDDEN, False)
    account = cluster.service.accounts[cluster.tokens["remediate"]]
    cluster.grant("remediate", replace(account, rules=()))
    found = looked(settings_of_cluster, database)
    assert "the verb patch on persistentvolumeclaims" in found.refusal
    assert storage_remedial(found, "database/rlhf_audit") is None
    cluster.change("storageclasses", STORAGE_CLASS, {"allowVolumeExpansion": False})
    found = looked(settings_of_cluster, database)
    assert "does not allow it" in found.decision.text
    assert patches(cluster) == []


def test_an_api_server_that_fails_is_unread_before_and_transient_within(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    key = planned(settings_of_cluster, database)
    cluster.misbehave(Trouble.FAILS, "persistentvolumeclaims")
    found = look_at_storage(settings_of_cluster, database, MOUNT, (1, 0.0), POLICY)
    assert isinstance(found, Unread)
    with pytest.raises(Transient):
        enlarge(settings_of_cluster, database, key, lambda: None, 2.0)
    cluster.recover_api()
    assert requested(cluster) == 20 * GIB
    unknown = replace(key, name="data-of-nobody")
    with pytest.raises(NotFound):
        enlarge(settings_of_cluster, database, unknown, lambda: None, 2.0)
