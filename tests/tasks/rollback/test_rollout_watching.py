"""A rollout is followed to its end, whatever the API server does meanwhile."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deployments.lab.kubernetes.manifests import API, BUSYBOX, HEALTHY, MISSING, container
from tasks.domain.release_diagnosis import diagnose
from tasks.domain.rollback_plan import Planned, planned_in
from tasks.domain.rollout_status import Progress, RolloutStatus
from tasks.domain.workloads import Kind
from tasks.work import rollbacks
from tasks.work.rollout_watching import followed
from tests.flows.responding import until
from tests.tasks.rollback.releases import Releases
from tests.tasks.rollback.test_rollback_door import WISH

pytestmark = pytest.mark.components

STATEFUL = "postgresql"


def follow(
    releases: Releases, planned: Planned, meanwhile: Callable[[], None], seconds: float = 60.0
) -> tuple[RolloutStatus, list[tuple[int, int]]]:
    """How it ended, and what was told of it; `meanwhile` happens once the watch has begun."""
    told: list[tuple[int, int]] = []
    acting = threading.Thread(target=lambda: (time.sleep(0.3), meanwhile()))
    acting.start()
    site = releases.site
    ended = followed(
        site.reader(),
        site.mender(),
        planned,
        seconds,
        lambda: None,
        lambda done, due: told.append((done, due)),
    )
    acting.join()
    return ended, told


def going_back(releases: Releases) -> Planned:
    """A rollback is on its way, and its pods take a while."""
    releases.saw(2)
    releases.cluster.behave(API, ready_in=0.5, starts_in=0.2)
    plan = releases.planned(WISH)
    planned = planned_in(plan)
    releases.cluster.release(HEALTHY[1])  # the same template as the rollback would bring
    return planned


def test_its_progress_is_told_pod_by_pod_until_it_is_over(serving: Releases) -> None:
    ended, told = follow(serving, going_back(serving), lambda: None)
    assert ended.progress is Progress.DONE
    assert told[-1] == (3, 3)
    assert {due for _, due in told} == {3}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_watch_that_is_cut_or_too_old_goes_on(serving: Releases) -> None:
    def trouble() -> None:
        serving.cluster.compact()
        serving.cluster.cut_watches()
        serving.cluster.drop_connections()

    ended, _ = follow(serving, going_back(serving), trouble)
    assert ended.progress is Progress.DONE


def test_without_the_grant_to_watch_it_is_asked_again_and_again(serving: Releases) -> None:
    planned = going_back(serving)
    serving.without("diagnose", "watch", "deployments")
    ended, _ = follow(serving, planned, lambda: None)
    assert ended.progress is Progress.DONE


def test_one_that_is_deleted_or_released_once_more_has_failed(serving: Releases) -> None:
    planned = going_back(serving)
    other = replace(planned, good=replace(planned.good, template="another"))
    ended, _ = follow(serving, other, lambda: None)
    assert (ended.progress, "another template" in ended.text) == (Progress.FAILED, True)
    serving.cluster.not_ready(API)
    ended, _ = follow(serving, planned, lambda: serving.cluster.delete("deployments", API))
    assert (ended.progress, "deleted" in ended.text) == (Progress.FAILED, True)


def test_a_stateful_set_gets_over_the_broken_pod_for_which_its_controller_waits(
    serving: Releases,
) -> None:
    labels, which = {"app": STATEFUL}, (Kind.STATEFUL_SET, STATEFUL)
    serving.cluster.behave(STATEFUL, starts_in=0.1, ready_in=0.1)
    serving.cluster.add("statefulsets", _stateful(labels))
    until(lambda: _ready(serving) == 3, "three pods serve")
    serving.cluster.change("statefulsets", STATEFUL, _image(MISSING))
    until(lambda: _images(serving) == {BUSYBOX: 2, MISSING: 1}, "one pod is broken")
    until(lambda: diagnose(serving.look(*which)), "and it shows why")

    looked = serving.look(*which)
    plan = serving.approved(looked=looked)
    assert planned_in(plan).target == f"statefulset/{STATEFUL}"
    assert rollbacks.dry_run(serving.site, planned_in(plan))[1] == "replicas stay at 3"
    done = serving.carry_out(plan)

    assert done["done"], done
    assert _images(serving) == {BUSYBOX: 3}
    evictions = [each for each in serving.cluster.asked if "/eviction" in each]
    assert evictions == [
        f"POST /api/v1/namespaces/rlhf-audit-trail/pods/{STATEFUL}-2/eviction?fieldManager=runbook"
    ]


def _stateful(labels: dict[str, str]) -> dict[str, Any]:
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container("main", BUSYBOX)]},
    }
    return {
        "metadata": {"name": STATEFUL},
        "spec": {
            "serviceName": STATEFUL,
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }


def _ready(releases: Releases) -> int:
    status = releases.cluster.get("statefulsets", STATEFUL).get("status", {})
    return int(status.get("readyReplicas", 0))


def _image(name: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}


def _images(releases: Releases) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in releases.cluster.pods(STATEFUL):
        image = each["spec"]["containers"][0]["image"]
        found[image] = found.get(image, 0) + 1
    return found
