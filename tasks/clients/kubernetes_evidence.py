"""Objects of the namespace as the API server has them, and whole logs of containers, as evidence.

Nothing is parsed here: what a reader of ours would leave out may be what matters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.clients.kubernetes_api import Api


@dataclass(frozen=True, slots=True)
class Listing:
    """A kind of object: where the API lists it, and what the list calls itself."""

    plural: str
    kind: str
    group: str = ""


LISTINGS = (
    Listing("pods", "PodList"),
    Listing("events", "EventList"),
    Listing("deployments", "DeploymentList", "apps"),
    Listing("replicasets", "ReplicaSetList", "apps"),
    Listing("statefulsets", "StatefulSetList", "apps"),
    Listing("networkpolicies", "NetworkPolicyList", "networking.k8s.io"),
)
"""The most volatile first."""


def objects(api: Api, listing: Listing) -> list[dict[str, Any]]:
    """All of the namespace, as they are. Raises as `Api.listed`."""
    return list(api.listed(api.here(listing.plural, group=listing.group), listing.kind).items)


def log_pieces(
    api: Api, pod: str, container: str, *, previous: bool, seconds: float
) -> Iterator[bytes]:
    """A container's whole log with times, as it comes; `previous`: of the process before this one.

    Raises Rejected or NotFound where there is none, Transient when it takes longer.
    """
    wanted: Mapping[str, str] = {"container": container, "timestamps": "true"}
    if previous:
        wanted = {**wanted, "previous": "true"}
    return api.pieces(api.here("pods", pod, part="log"), wanted, seconds)
