"""The rollback as a flow: from a release that does not start to one that serves, and back."""

from collections.abc import Iterator, Mapping

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import API, BUSYBOX, HEALTHY, MISSING, RECORDED
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.rollback_plan import PROCEDURE, RETURN, UNDO
from tasks.work import approvals, incidents, journal
from tests.flows.responding import Responding
from tests.tasks.proposals import BEA
from tests.tasks.rollback.releases import TARGET, Releases, configure

pytestmark = [pytest.mark.flows, pytest.mark.slow]


class Run:
    """Runs of one incident as plain processes, which know the cluster; the gateway's do not."""

    def __init__(self, responding: Responding, cluster: Cluster) -> None:
        self._responding = responding
        self.variables: Mapping[str, str] = configure(cluster)
        with incidents.durably() as connection:
            self.incident = incidents.open_in(
                connection, "Roll back", "deployment-api", PROCEDURE, "person", "anna"
            )

    def go(self) -> Incident:
        call = f"flows.incident:incident({self.incident!r})"
        ended = self._responding.flow(call, **self.variables)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return journal.read(self.incident)

    def approve(self) -> None:
        plan = journal.read(self.incident).plan_hash
        approvals.decide(self.incident, plan, "approved", BEA, "go back")

    def steps(self) -> list[str]:
        facts = journal.read(self.incident).facts
        return [fact.data["step"] for fact in facts if fact.kind is FactKind.STEP_DONE]


def images(cluster: Cluster) -> list[str]:
    spec = cluster.get("deployments", API)["spec"]["template"]["spec"]
    return [each["image"] for each in spec["containers"]]


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY, live=True) as cluster:
        for name, value in configure(cluster).items():
            monkeypatch.setenv(name, value)
        yield cluster


def test_a_release_that_cannot_start_is_found_approved_undone_and_proven_gone(
    responding: Responding,
) -> None:
    with simulated_cluster(releases=RECORDED, live=True) as cluster:
        run = Run(responding, cluster)
        waiting = run.go()
        assert waiting.stage is Stage.AWAITING_APPROVAL
        (found,) = [f for f in waiting.facts if f.kind is FactKind.CAUSES_FOUND]
        assert found.data["causes"][0]["code"] == "release.stalled"
        (shown,) = [f for f in waiting.facts if f.kind is FactKind.DRY_RUN]
        lines = "\n".join(shown.data["lines"])
        assert "the API server would take the patch of deployment/rlhf-audit-trail" in lines
        assert "template: image of api: registry.local/missing:9 ->" in lines
        assert images(cluster) == [MISSING]

        run.approve()
        ended = run.go()
        assert (ended.stage, ended.outcome) == (Stage.CLOSED, "resolved")
        assert ended.proof is not None
        assert ended.proof["holds"] is True
        assert run.steps() == [UNDO]
        assert images(cluster) == [BUSYBOX]
        seen = ended.checks["recovery.rollback.history"]["evidence"]["revisions"]
        assert [each["revision"] for each in seen] == [3, 2, 1]


def test_a_rollback_that_cannot_start_is_returned_from_and_left_to_a_person(
    responding: Responding, serving: Cluster
) -> None:
    run = Run(responding, serving)
    Releases(serving).saw(2)
    wish = {"workload": TARGET, "holder": "", "reason": "it answers 500"}
    journal.append(run.incident, FactKind.ROLLBACK_ASKED, wish, actor="rosa")
    run.go()
    run.approve()
    before, (old,) = images(serving), HEALTHY[1:2]
    serving.image_is_missing(old.image)
    serving.change("deployments", API, {"spec": {"progressDeadlineSeconds": 1}})
    ended = run.go()
    assert ended.stage is not Stage.CLOSED
    assert run.steps() == [UNDO, RETURN]
    assert images(serving) == before
    notes = [fact.data["text"] for fact in ended.facts if fact.kind is FactKind.NOTE]
    assert "no progress within 1 s" in ended.steps[UNDO]["result"]["text"]
    assert any("what was done was undone: a person must look" in note for note in notes)
