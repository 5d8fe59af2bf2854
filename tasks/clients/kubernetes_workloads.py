"""Deployments and StatefulSets: read, scaled, restarted, taken back to a revision.

Every change names the resourceVersion that it was planned against, so that a change in between is
a Conflict and not overwritten, and says whether it is a dry run: the API server then validates and
authorises it and keeps nothing.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from tasks.clients.errors import Malformed
from tasks.clients.kubernetes_api import Api, PatchType, guarded
from tasks.clients.kubernetes_refusals import Resource
from tasks.domain.errors import BadInput
from tasks.domain.rollout import Undo
from tasks.domain.workload_reading import (
    RESTARTED_AT,
    read_controller_revision,
    read_deployment,
    read_replica_set,
    read_scale,
    read_stateful_set,
)
from tasks.domain.workloads import (
    ControllerRevision,
    Deployment,
    Kind,
    ReplicaSet,
    Scale,
    StatefulSet,
)

APPS = "apps"
_PLURALS = {Kind.DEPLOYMENT: "deployments", Kind.STATEFUL_SET: "statefulsets"}

_Value = TypeVar("_Value")


def deployments(api: Api) -> list[Deployment]:
    """All of the namespace."""
    found = api.listed(api.here("deployments", group=APPS), "DeploymentList")
    return [read(each, read_deployment) for each in found.items]


def deployment(api: Api, name: str) -> Deployment:
    """One by its name; NotFound when there is none."""
    return read(api.read(resource(api, Kind.DEPLOYMENT, name), "Deployment"), read_deployment)


def stateful_sets(api: Api) -> list[StatefulSet]:
    """All of the namespace."""
    found = api.listed(api.here("statefulsets", group=APPS), "StatefulSetList")
    return [read(each, read_stateful_set) for each in found.items]


def stateful_set(api: Api, name: str) -> StatefulSet:
    """One by its name; NotFound when there is none."""
    return read(api.read(resource(api, Kind.STATEFUL_SET, name), "StatefulSet"), read_stateful_set)


def replica_sets(api: Api, owner: Deployment | None = None) -> list[ReplicaSet]:
    """Those that match a Deployment's selector (whose they are, `deployment_history` decides).

    Without an owner, all of the namespace.
    """
    params = {"labelSelector": owner.selector.query} if owner else {}
    found = api.listed(api.here("replicasets", group=APPS), "ReplicaSetList", params)
    return [read(each, read_replica_set) for each in found.items]


def controller_revisions(api: Api, owner: StatefulSet | None = None) -> list[ControllerRevision]:
    """Those that match a StatefulSet's selector; without an owner, all of the namespace."""
    params = {"labelSelector": owner.selector.query} if owner else {}
    found = api.listed(
        api.here("controllerrevisions", group=APPS), "ControllerRevisionList", params
    )
    return [read(each, read_controller_revision) for each in found.items]


def scale(api: Api, kind: Kind, name: str) -> Scale:
    """How many replicas it is told to have."""
    found = api.read(resource(api, kind, name, part="scale"), "Scale")
    return read(found, read_scale)


def set_replicas(
    api: Api, kind: Kind, name: str, replicas: int, resource_version: str, *, dry_run: bool
) -> Scale:
    """Tell it how many replicas to have; the answer's `current` lags behind."""
    body = guarded(resource_version) | {"spec": {"replicas": replicas}}
    found = api.patch(
        resource(api, kind, name, part="scale"), body, PatchType.MERGE, "Scale", dry_run=dry_run
    )
    return read(found, read_scale)


def restart(
    api: Api, kind: Kind, name: str, at: datetime, resource_version: str, *, dry_run: bool
) -> Deployment | StatefulSet:
    """What `kubectl rollout restart` does: a new revision whose pods replace the old ones.

    `at` is the caller's own time of the decision: `template.restarted_at` tells a second attempt
    that the first one was carried out.
    """
    stamp = {"metadata": {"annotations": {RESTARTED_AT: at.strftime("%Y-%m-%dT%H:%M:%SZ")}}}
    body = guarded(resource_version) | {"spec": {"template": stamp}}
    found = api.patch(
        resource(api, kind, name), body, PatchType.STRATEGIC, kind.value, dry_run=dry_run
    )
    return _workload(kind, found)


def undo(
    api: Api, kind: Kind, name: str, decided: Undo, *, dry_run: bool
) -> Deployment | StatefulSet:
    """Carry out a decision of `tasks.domain.rollout`; its patch holds the resourceVersion."""
    patch_type = PatchType.JSON if isinstance(decided.patch, list) else PatchType.STRATEGIC
    found = api.patch(
        resource(api, kind, name), decided.patch, patch_type, kind.value, dry_run=dry_run
    )
    return _workload(kind, found)


def resource(api: Api, kind: Kind, name: str, part: str = "") -> Resource:
    """Where a workload of our namespace lies."""
    return api.here(_PLURALS[kind], name, group=APPS, part=part)


def read(value: object, reader: Callable[[object], _Value]) -> _Value:
    """What a reader of the domain makes of an object; Malformed where it cannot."""
    try:
        return reader(value)
    except BadInput as error:
        raise Malformed(f"the API server's answer is not as documented: {error}") from error


def _workload(kind: Kind, value: Mapping[str, Any]) -> Deployment | StatefulSet:
    if kind is Kind.DEPLOYMENT:
        return read(value, read_deployment)
    return read(value, read_stateful_set)
