"""A lab that lives in a cluster: real servers, simulated pods, and what couples them."""

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from deployments.lab.cluster_faults import api_down
from deployments.lab.cluster_life import ClusterLife
from deployments.lab.cluster_manifests import CLAIM, POSTGRES, POSTGRES_POD, REDIS_POD
from deployments.lab.effects import Effect
from deployments.lab.errors import LabError
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts
from deployments.lab.stack import Lab, Options
from tasks.clients.pod_disk import file_system
from tasks.clients.pod_exec import Pod, output_of
from tasks.settings import settings

pytestmark = [pytest.mark.components, pytest.mark.slow]

SECONDS = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    options = Options(records=1000, prefect=False, checked_per_second=0, cluster=True)
    with Lab(options) as running:
        yield running


@pytest.fixture
def life(lab: Lab) -> Iterator[ClusterLife]:
    """As each test leaves it, it is well again."""
    found = lab.cluster_life
    yield found
    found.recover()
    assert found.until(partial(_serves, lab), SECONDS)


def _ask(lab: Lab, path: str = "/health", seconds: float = 2.0) -> int:
    headers = {"Authorization": f"Bearer {lab.api.token}"}
    try:
        url = f"{lab.api.url}{path}"
        return httpx.get(url, headers=headers, timeout=seconds, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def _serves(lab: Lab) -> bool:
    return lab.cluster_life.ready(API) == 3 and _ask(lab) == 200


def _in_pod(pod: str, *command: str) -> str:
    where = Pod.parse(f"rlhf-audit-trail/{pod}")
    return b"".join(output_of(settings().kubernetes, where, command, 4096)).decode()


def test_a_lab_without_a_cluster_says_so() -> None:
    with pytest.raises(LabError, match=r"Options\.cluster"):
        _ = Parts(Options()).cluster_life


def test_programs_in_the_pods_ask_the_real_servers(life: ClusterLife) -> None:
    assert "accepting connections" in _in_pod(POSTGRES_POD, "pg_isready")
    assert _in_pod(REDIS_POD, "redis-cli", "ping") == "PONG\n"
    life.volume.fill(0.9)
    life.volume.beat()
    where = Pod.parse(f"rlhf-audit-trail/{POSTGRES_POD}")
    found = file_system(settings().kubernetes, where, "/data")
    assert found.used / (found.used + found.free) == pytest.approx(0.9, abs=0.01)
    larger = {"spec": {"resources": {"requests": {"storage": "40Gi"}}}}
    life.cluster.change("persistentvolumeclaims", CLAIM, larger)
    assert life.until(lambda: life.volume.size_bytes == 40 * 2**30, SECONDS)


def test_the_api_hangs_in_all_pods_until_they_are_replaced(lab: Lab, life: ClusterLife) -> None:
    assert _serves(lab)
    assert api_down(lab).cause == "api.unhealthy-pods"
    assert life.until(lambda: life.ready(API) == 0, SECONDS)
    assert _ask(lab) == 0
    for pod in life.cluster.pods(API):
        life.cluster.delete("pods", pod["metadata"]["name"])
    assert life.until(partial(_serves, lab), SECONDS)


def test_a_restarted_database_pod_is_a_restarted_database(lab: Lab, life: ClusterLife) -> None:
    with lab.patient.connect() as connection:
        before = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    life.cluster.delete("pods", POSTGRES_POD)
    assert life.until(lambda: life.ready(POSTGRES) == 0, SECONDS)
    assert life.until(lambda: life.ready(POSTGRES) == 1 and lab.patient.answers(), SECONDS)
    with lab.patient.connect() as connection:
        after = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert before != after
    assert life.until(lambda: _ask(lab, "/api/v1/audit/head") == 200, SECONDS)


def test_a_bad_release_is_seen_by_users_and_in_prometheus(lab: Lab, life: ClusterLife) -> None:
    firing = partial(_firing, lab)
    assert life.until(lambda: "HighErrorRate" not in firing(), SECONDS), "of the test before"
    life.roll_out(
        "release 1.5.0", Effect(error_share=1.0), image="registry.local/rlhf-audit-trail:1.5.0"
    )
    assert life.until(lambda: _ask(lab, "/api/v1/audit/head") == 500, SECONDS)
    if lab.prometheus is None:
        pytest.skip("Prometheus is not installed")
    assert life.until(lambda: "HighErrorRate" in firing(), SECONDS)


def _firing(lab: Lab) -> set[str]:
    if lab.prometheus is None:
        return set()
    url = f"{lab.prometheus.url}/api/v1/alerts"
    answer = httpx.get(url, timeout=10, trust_env=False).json()
    alerts = answer["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
