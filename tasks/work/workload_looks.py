"""Every workload of the namespace with its revisions, read at once under one time-out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api
from tasks.domain.rollout_history import deployment_history, stateful_set_history
from tasks.domain.rollout_look import Looked
from tasks.sections.systems import KubernetesSettings
from tasks.work.at_once import at_once


@dataclass(frozen=True, slots=True)
class Looks:
    """The workloads, and what could not be read of them, each with the reason."""

    looked: tuple[Looked, ...]
    unread: tuple[str, ...]


def look_at_workloads(cluster: KubernetesSettings) -> Looks:
    """Deployments and StatefulSets; what cannot be read is named and is no error.

    Raises the ClientError when nothing can be read, BadInput when no cluster is configured.
    """
    api = Api(cluster)
    looks: dict[str, Callable[[Api], list[Any]]] = {
        "deployments": workloads.deployments,
        "replicasets": workloads.replica_sets,
        "statefulsets": workloads.stateful_sets,
        "controllerrevisions": workloads.controller_revisions,
    }
    found = at_once({name: partial(look, api) for name, look in looks.items()}, api.seconds)
    errors = [each for each in found.values() if isinstance(each, ClientError)]
    if len(errors) == len(found):
        raise errors[0]
    read = {name: None if isinstance(each, ClientError) else each for name, each in found.items()}
    return Looks(
        looked=(*_deployments(read), *_stateful_sets(read)), unread=tuple(map(str, errors))
    )


def _deployments(read: dict[str, Any]) -> list[Looked]:
    """Without their ReplicaSets nothing is known of their revisions."""
    if read["deployments"] is None or read["replicasets"] is None:
        return []
    return [
        Looked(each, deployment_history(each, read["replicasets"])) for each in read["deployments"]
    ]


def _stateful_sets(read: dict[str, Any]) -> list[Looked]:
    kept = read["controllerrevisions"]
    if read["statefulsets"] is None or kept is None:
        return []
    return [
        Looked(each, stateful_set_history(each, kept), kept=tuple(kept))
        for each in read["statefulsets"]
    ]
