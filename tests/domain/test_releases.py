"""When a revision was rolled out, by whom, and which component it serves."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.releases import RESTARTED, component_of, releases_of, rolled_out_at
from tasks.domain.rollout_history import deployment_history, stateful_set_history
from tasks.domain.workload_reading import read_deployment
from tasks.domain.workloads import Deployment, Revision, TemplateWriter
from tests.domain.cluster_values import (
    after_undo,
    body,
    changed,
    failed_release,
    replica_sets,
    stateful,
)


def history(deployment: Deployment, listed: str) -> tuple[Revision, ...]:
    found = deployment_history(deployment, replica_sets(listed))
    assert isinstance(found, tuple)
    return found


THREE, UNDONE = "04-replicasets-three-revisions.json", "14-replicasets-after-undo.json"


def test_the_newest_revision_names_the_program_that_wrote_its_template() -> None:
    deployment = failed_release()
    first, *others = releases_of("api", deployment, history(deployment, THREE))
    assert (first.workload, first.revision) == ("deployment/rlhf-audit-trail", 3)
    assert first.images == ("registry.local/missing:9",)
    assert first.who == "kubectl-set"
    assert {each.who for each in others} == {""}


def test_a_revision_that_was_returned_to_was_rolled_out_when_it_was_taken_up_again() -> None:
    deployment = after_undo()
    found = history(deployment, UNDONE)
    current = next(each for each in found if each.current)
    assert current.created_at is not None
    assert any(each.created_at > current.created_at for each in found if each.created_at)
    release = releases_of("api", deployment, found)[0]
    assert release.at == datetime(2026, 11, 23, 12, 51, 43, tzinfo=UTC)
    assert release.at > current.created_at
    assert release.who == "kubectl.1.33"


def test_a_return_of_which_nobody_kept_the_time_has_none() -> None:
    deployment = replace(after_undo(), writers=(TemplateWriter("somebody", None),))
    found = history(deployment, UNDONE)
    assert rolled_out_at(deployment, found[0], found) is None
    assert releases_of("api", deployment, found)[0].who == ""


def test_a_restart_is_called_one_and_not_by_the_change_cause_that_it_inherits() -> None:
    deployment = failed_release()
    current, before, *_ = history(deployment, THREE)
    again = replace(before, number=9, current=True, holder="again")
    found = releases_of("api", deployment, (again, replace(before, current=False)))
    assert [each.cause for each in found] == [RESTARTED, before.change_cause]
    assert releases_of("api", deployment, (current, before))[0].cause == current.change_cause


def test_a_workload_without_revisions_has_no_releases() -> None:
    assert releases_of("api", failed_release(), ()) == ()
    nothing = stateful_set_history(stateful(), ())
    assert nothing == ()


def test_a_workload_is_known_by_its_name_then_by_its_pods_labels() -> None:
    deployment = failed_release()
    assert component_of(deployment, {"rlhf-audit-trail": "workers"}) == "workers"
    assert component_of(deployment, {}) == "api"
    plain = failed_release(spec__template__metadata__labels={"app": "redis"})
    assert component_of(plain, {}) == "cache"
    assert component_of(failed_release(spec__template__metadata__labels=None), {}) == (
        "rlhf-audit-trail"
    )


def test_labels_of_other_types_serve_nobody() -> None:
    odd = replace(
        failed_release(),
        template=replace(failed_release().template, content={"metadata": {"labels": ["api"]}}),
    )
    assert component_of(odd, {}) == "rlhf-audit-trail"


def managed(fields: object) -> list[dict[str, object]]:
    return [{"manager": "x\x1b[2J\u202e" * 100, "time": "2026-11-23T12:51:43Z", "fieldsV1": fields}]


def test_a_managers_name_is_made_printable_and_bounded() -> None:
    fields = {"f:spec": {"f:template": {}}}
    value = changed(body("13-deployment-after-undo.json"), metadata__managedFields=managed(fields))
    (writer,) = read_deployment(value).writers
    assert writer.name.isprintable()
    assert len(writer.name) < 160


def test_who_wrote_something_else_than_the_template_did_not_release_it() -> None:
    for fields in ({}, {"f:spec": {}}, {"f:spec": {"f:replicas": {}}}, {"f:status": {}}, None):
        value = changed(
            body("13-deployment-after-undo.json"), metadata__managedFields=managed(fields)
        )
        assert read_deployment(value).writers == ()


@pytest.mark.parametrize("fields", ["x", 7, ["f:spec"]], ids=str)
def test_managed_fields_that_are_no_objects_are_refused_by_their_path(fields: object) -> None:
    value = changed(body("13-deployment-after-undo.json"), metadata__managedFields=managed(fields))
    with pytest.raises(BadInput, match="fieldsV1"):
        read_deployment(value)


def test_a_revision_made_before_all_others_and_not_current_keeps_its_own_time() -> None:
    deployment = after_undo()
    found = history(deployment, UNDONE)
    for each in found:
        if not each.current:
            assert rolled_out_at(deployment, each, found) == each.created_at
