"""What bounds a workload: autoscalers, disruption budgets, quotas and nodes."""

from collections.abc import Callable
from typing import TypeVar

from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api, PatchType, guarded
from tasks.clients.kubernetes_pods import pods_everywhere
from tasks.clients.kubernetes_refusals import Resource
from tasks.clients.kubernetes_workloads import read
from tasks.domain.pod_reading import read_node
from tasks.domain.pods import Node
from tasks.domain.scaling import Surroundings
from tasks.domain.workload_reading import read_hpa, read_pdb, read_quota
from tasks.domain.workloads import Hpa, Pdb, Quota

_AUTOSCALING = "autoscaling"
_HPAS = "horizontalpodautoscalers"
_Value = TypeVar("_Value")


def hpas(api: Api) -> list[Hpa]:
    """Autoscalers of the namespace."""
    found = api.listed(
        api.here(_HPAS, group=_AUTOSCALING, version="v2"), "HorizontalPodAutoscalerList"
    )
    return [read(each, read_hpa) for each in found.items]


def set_autoscaler_minimum(
    api: Api, name: str, minimum: int, resource_version: str, *, dry_run: bool
) -> Hpa:
    """Raise (or take back) an autoscaler's minimum rather than fight it."""
    body = guarded(resource_version) | {"spec": {"minReplicas": minimum}}
    found = api.patch(
        api.here(_HPAS, name, group=_AUTOSCALING, version="v2"),
        body,
        PatchType.MERGE,
        "HorizontalPodAutoscaler",
        dry_run=dry_run,
    )
    return read(found, read_hpa)


def pdbs(api: Api) -> list[Pdb]:
    """Disruption budgets of the namespace."""
    found = api.listed(api.here("poddisruptionbudgets", group="policy"), "PodDisruptionBudgetList")
    return [read(each, read_pdb) for each in found.items]


def quotas(api: Api) -> list[Quota]:
    """Quotas of the namespace."""
    found = api.listed(api.here("resourcequotas"), "ResourceQuotaList")
    return [read(each, read_quota) for each in found.items]


def nodes(api: Api) -> list[Node]:
    """All of the cluster."""
    found = api.listed(Resource("nodes"), "NodeList")
    return [read(each, read_node) for each in found.items]


def surroundings(api: Api) -> Surroundings:
    """All bounds; one that cannot be read is named with the reason and is no error."""
    unread: list[str] = []

    def tried(look: Callable[[Api], list[_Value]]) -> list[_Value] | None:
        try:
            return look(api)
        except ClientError as error:
            unread.append(str(error))
            return None

    return Surroundings(
        quotas=tried(quotas),
        nodes=tried(nodes),
        pods=tried(pods_everywhere),
        hpas=tried(hpas),
        pdbs=tried(pdbs),
        unread=tuple(unread),
    )
