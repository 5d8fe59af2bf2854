"""How the API answers follows from its pods: releases, replicas, and pods that ail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.lab import cluster_manifests
from deployments.lab.api_ailments import ApiAilments
from deployments.lab.api_logs import ApiLogs
from deployments.lab.effects import Effect, Strain
from deployments.lab.kubernetes.cluster import simulated_cluster
from deployments.lab.kubernetes.kinds import plural_of
from deployments.lab.kubernetes.manifests import API

pytestmark = pytest.mark.components

BAD = Effect(error_share=0.8, detail="KeyError: 'annotator_id'")


@pytest.fixture
def ailments(tmp_path: Path) -> Iterator[ApiAilments]:
    """Of a cluster whose clock stands still."""
    found = ApiAilments(tmp_path / "effect.json")
    with simulated_cluster(
        releases=cluster_manifests.RELEASES,
        inhabitants=cluster_manifests.inhabitants("/data"),
        usual=cluster_manifests.USUAL,
        place=tmp_path,
    ) as cluster:
        found.cluster = cluster
        for each in cluster_manifests.governors():
            cluster.add(plural_of(each["kind"]), each)
        found.update_effect()
        yield found


def _let_pass(ailments: ApiAilments, seconds: float) -> Effect:
    ailments.cluster.advance(seconds)
    ailments.update_effect()
    return ailments.effect()


def test_a_bad_release_fails_by_its_share_of_the_ready_pods_and_not_after_an_undo(
    ailments: ApiAilments,
) -> None:
    cluster = ailments.cluster
    before = cluster.get("deployments", API)["spec"]["template"]
    assert ailments.effect().error_share == 0
    ailments.roll_out("release 1.5.0", BAD, image="registry.local/rlhf-audit-trail:1.5.0")
    seen = [_let_pass(ailments, 0.5).error_share for _ in range(20)]
    assert 0 < min(share for share in seen if share) < 0.8
    assert seen[-1] == pytest.approx(0.8)
    cluster.change("deployments", API, {"spec": {"template": before}})
    assert _let_pass(ailments, 30).error_share == 0


def test_a_release_that_does_not_start_leaves_the_old_pods_serving(ailments: ApiAilments) -> None:
    template = ailments.roll_out(
        "release 1.5.1",
        BAD,
        image="registry.local/rlhf-audit-trail:1.5.1",
        behaviour={"exits_after": 0.2, "exit_code": 1, "last_words": ("ImportError: celery",)},
    )
    assert _let_pass(ailments, 20).error_share == 0
    new = [
        each
        for each in ailments.cluster.pods(API)
        if each["metadata"]["labels"]["pod-template-hash"] == template
    ]
    assert [each["status"]["containerStatuses"][0]["ready"] for each in new] == [False]
    assert len(ailments.cluster.pods(API)) == 4


def test_a_pod_answers_badly_until_it_is_replaced(ailments: ApiAilments) -> None:
    pod = ailments.cluster.pods(API)[0]["metadata"]["name"]
    ailments.pods_answer(Effect(error_share=0.9), pod)
    assert _let_pass(ailments, 0).error_share == pytest.approx(0.3)
    ailments.cluster.crash_loop(pod)
    assert _let_pass(ailments, 5).error_share == pytest.approx(0.3), "clients still reach it"
    ailments.cluster.delete("pods", pod)
    assert _let_pass(ailments, 10).error_share == 0


def test_more_replicas_end_a_shortage_and_their_cpu_falls(ailments: ApiAilments) -> None:
    ailments.run_short(enough=5, delay_seconds=0.8)
    assert _let_pass(ailments, 0).delay_seconds == pytest.approx(1.6)
    used = ailments.cluster.controllers.behaviours.by_pod[API]["cpu"]
    assert used == "500m"
    ailments.cluster.change("horizontalpodautoscalers", API, {"spec": {"minReplicas": 5}})
    assert _let_pass(ailments, 40).delay_seconds == 0
    ailments.update_effect()
    assert ailments.cluster.controllers.behaviours.by_pod[API]["cpu"] == "350m"


def test_the_api_process_reads_what_its_pods_do(ailments: ApiAilments) -> None:
    strain = Strain(ailments.effect_file)
    assert strain.delay() == 0
    ailments.pods_answer(Effect(error_share=1.0, delay_seconds=3.0))
    ailments.update_effect()
    assert strain.failure() is not None
    assert strain.delay() > 2
    ailments.forget_ailments()
    ailments.update_effect()
    assert strain.failure() is None


def test_the_lines_of_the_process_become_logs_of_the_pods_by_turns(
    ailments: ApiAilments, tmp_path: Path
) -> None:
    file = tmp_path / "api.log"
    file.write_text("before\n")
    logs = ApiLogs(ailments.cluster, file)
    with file.open("a") as log:
        log.write("".join(f"INFO line {number}\n" for number in range(25)) + "torn")
    logs.beat()
    cluster = ailments.cluster
    found = {
        each["metadata"]["name"]: [
            text
            for _, text in cluster.controllers.kubelet.containers(each)["api"].log
            if text.startswith("INFO line")
        ]
        for each in cluster.pods(API)
    }
    assert sorted(len(lines) for lines in found.values()) == [5, 10, 10]
    with file.open("a") as log:
        log.write(" line\n")
    logs.beat()
    texts = [
        text
        for each in cluster.pods(API)
        for _, text in cluster.controllers.kubelet.containers(each)["api"].log
    ]
    assert "torn line" in texts
    assert "before" not in texts
