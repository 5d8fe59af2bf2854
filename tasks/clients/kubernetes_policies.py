"""NetworkPolicies of the namespace: read, made, and removed exactly as they were read."""

from typing import Any

from tasks.clients.kubernetes_api import Api

_GROUP = "networking.k8s.io"
_PLURAL = "networkpolicies"


def policy(api: Api, name: str) -> dict[str, Any] | None:
    """The policy as the API server has it; None when there is none.

    Found in the list, so that looking needs no grant beside that of listing.
    """
    found = api.listed(api.here(_PLURAL, group=_GROUP), "NetworkPolicyList").items
    return next((each for each in found if _metadata(each).get("name") == name), None)


def make(api: Api, body: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Make a policy. Raises AlreadyThere when one of its name exists, whatever it says."""
    return api.create(api.here(_PLURAL, group=_GROUP), body, dry_run=dry_run)


def remove(api: Api, found: dict[str, Any], *, dry_run: bool) -> None:
    """Remove exactly the policy that was read: Conflict when it was changed or made anew since."""
    metadata = _metadata(found)
    api.delete(
        api.here(_PLURAL, str(metadata.get("name", "")), group=_GROUP),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        dry_run=dry_run,
    )


def _metadata(found: dict[str, Any]) -> dict[str, Any]:
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
